"""The parameters extension: what of a request's parameters reaches the model."""

import json
from typing import Any

from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import Failure, Outcome
from kserve_v2_conformance.suite.support import both, protocol, request_of, succeed, values_of
from kserve_v2_conformance.target import Target


def _echoed(outcome: Outcome | None) -> Any:
    """The parameters that the model saw."""
    values = values_of(outcome, "OUTPUT0")
    if not values:
        raise UnreadableAnswer(f"the model that echoes its parameters answered {outcome}")
    return json.loads(values[0])


@both("PARAM-001")
def test_custom_parameters(carrier: str, target: Target, check: Checks) -> None:
    """A string, an integer, a boolean."""
    clause = f"{protocol(carrier)}-PARAM-001"
    sent: dict[str, object] = {
        "text": "ünï",
        "empty": "",
        "count": -7,
        "large": 2**53 + 1,
        "yes": True,
        "no": False,
    }
    request = request_of(target.model("echo_parameters"), [1], parameters=sent)
    response = succeed(target, check, carrier, request, clause)
    if response is not None:
        got = _echoed(response)
        for name, value in sent.items():
            check.equal(clause, f"parameter {name}", got.get(name), value)


@both("PARAM-001")
def test_no_parameters(carrier: str, target: Target, check: Checks) -> None:
    """Parameters of an earlier request do not stay."""
    clause, model = f"{protocol(carrier)}-PARAM-001", target.model("echo_parameters")
    succeed(target, check, carrier, request_of(model, [1], parameters={"earlier": 1}), clause)
    response = succeed(target, check, carrier, request_of(model, [1]), clause)
    check.that(clause, "parameters", "earlier" not in _echoed(response), "none", str(_echoed(response)))


@both("PARAM-002")
def test_reserved_prefix(carrier: str, target: Target, check: Checks) -> None:
    """A key that starts with triton_."""
    clause = f"{protocol(carrier)}-PARAM-002"
    request = request_of(target.model("echo_parameters"), [1], parameters={"triton_conformance": 1})
    outcome = infer(target, request, carrier, check)
    refused = isinstance(outcome, Failure)
    got = f"an error {outcome.status}" if isinstance(outcome, Failure) else str(_echoed(outcome))
    kept = refused or "triton_conformance" not in _echoed(outcome)
    check.that(clause, "answer", kept, "an error, or the model does not see it", got)


@both("PARAM-003")
def test_reserved_parameters(carrier: str, target: Target, check: Checks) -> None:
    """Priority and timeout are the scheduler's."""
    clause = f"{protocol(carrier)}-PARAM-003"
    sent: dict[str, object] = {"priority": 0, "timeout": 0, "custom": 1}
    request = request_of(target.model("echo_parameters"), [1], parameters=sent)
    response = succeed(target, check, carrier, request, clause)
    if response is not None:
        check.equal(clause, "parameters that the model saw", sorted(_echoed(response)), ["custom"])


@both("PARAM-005")
def test_parameters_of_others(carrier: str, target: Target, check: Checks) -> None:
    """What is for the sequence scheduler, and for the form of the outputs."""
    clause = f"{protocol(carrier)}-PARAM-005"
    sent: dict[str, object] = {"sequence_id": 4005, "sequence_start": True, "sequence_end": True, "custom": 1}
    # Over gRPC outputs have no other form that it could ask for.
    sent |= {"binary_data_output": False} if carrier == "json" else {}
    request = request_of(target.model("echo_parameters"), [1], parameters=sent)
    response = succeed(target, check, carrier, request, clause)
    if response is not None:
        check.equal(clause, "parameters that the model saw", sorted(_echoed(response)), ["custom"])


@both("PARAM-004")
def test_parameters_of_a_response(carrier: str, target: Target, check: Checks) -> None:
    """A string, an integer and a boolean that the model gives its response."""
    clause = f"{protocol(carrier)}-PARAM-004"
    response = succeed(target, check, carrier, request_of(target.model("answer_parameters"), [1]), clause)
    if response is not None:
        for name, value in (("answer_text", "as told"), ("answer_count", 3), ("answer_flag", True)):
            check.equal(clause, f"parameter {name}", response.parameters.get(name), value)
