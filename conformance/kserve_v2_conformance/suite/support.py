"""What several files of the suite need."""

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Any

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import Failure, InferRequest, InferResponse, Outcome
from kserve_v2_conformance.rest import RestAnswer
from kserve_v2_conformance.target import ServedModel, Target
from kserve_v2_conformance.tensors import Tensor, array

UNKNOWN_MODEL = "no_such_model"
UNKNOWN_VERSION = "987654"
PATIENCE_SECONDS = 20.0


def both(*clauses: str) -> pytest.MarkDecorator:
    """Run a case over REST and over gRPC: the parameter `carrier`, with the clauses of its protocol."""
    return pytest.mark.parametrize(
        "carrier",
        [
            pytest.param("json", id="rest", marks=pytest.mark.clause(*(f"REST-{each}" for each in clauses))),
            pytest.param(
                "grpc-raw", id="grpc", marks=pytest.mark.clause(*(f"GRPC-{each}" for each in clauses))
            ),
        ],
    )


def protocol(carrier: str) -> str:
    """The prefix of a carrier's clauses."""
    return "GRPC" if carrier.startswith("grpc") else "REST"


def request_of(model: ServedModel, *values: list[object], **members: Any) -> InferRequest:
    """A request with these values for the model's inputs, one row of a batch where the model has batches."""
    inputs = tuple(
        Tensor(
            each.name, each.datatype, (1,) * (len(each.shape) - 1) + (len(data),), array(each.datatype, data)
        )
        for each, data in zip(model.inputs, values, strict=False)
    )
    return InferRequest(model.name, inputs, **members)


def succeed(
    target: Target, check: Checks, carrier: str, request: InferRequest, clause: str
) -> InferResponse | None:
    """Send a request that has to succeed; if it does not, the clause is broken and None is returned."""
    outcome = infer(target, request, carrier, check)
    kept = isinstance(outcome, InferResponse)
    check.that(clause, "a valid request", kept, "success", "success" if kept else str(outcome))
    return outcome if isinstance(outcome, InferResponse) else None


def says_yes(answer: RestAnswer, *members: str) -> bool:
    """Whether an answer about health is a yes: status 200, and none of these members of its body is false."""
    return answer.status == 200 and not any(answer.says(name, False) for name in members)


def refused(check: Checks, clause: str, answer: RestAnswer) -> None:
    """The answer has an error status and an error object."""
    check.that(clause, "status", answer.status >= 400, "an error status", str(answer.status))
    check.that(
        clause, "body", answer.error is not None, "an error object", answer.body.decode(errors="replace")
    )


def done(check: Checks, clause: str, what: str, failure: Failure | None) -> None:
    """A call that answers with nothing but success succeeded."""
    check.that(clause, what, failure is None, "success", str(failure or "success"))


def failure_of(answer: RestAnswer) -> Failure | None:
    """The error of an answer that otherwise has nothing to say."""
    return (
        None if answer.status == 200 else Failure(str(answer.status), answer.error or "", answer.status < 500)
    )


def values_of(outcome: Outcome | None, name: str) -> list[Any] | None:
    """The elements of an output, or None if there is none that can be read."""
    if not isinstance(outcome, InferResponse):
        return None
    found = [each.tensor for each in outcome.outputs if each.name == name and each.tensor is not None]
    return list(found[0].values.tolist()) if found else None


def eventually(condition: Callable[[], bool]) -> bool:
    """Ask until it holds. Servers count and unload after they have answered."""
    end = monotonic() + PATIENCE_SECONDS
    while not condition():
        if monotonic() > end:
            return False
        Event().wait(0.01)
    return True
