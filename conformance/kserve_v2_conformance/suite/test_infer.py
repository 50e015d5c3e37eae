"""Every inference case, over every carrier."""

from typing import Any

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference.build import as_sent, build, closed_form, plain_request
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.cases import Carrier, InferCase, infer_cases
from kserve_v2_conformance.inference.request import Failure
from kserve_v2_conformance.inference.verify import Judge
from kserve_v2_conformance.suite.support import both, protocol, request_of, values_of
from kserve_v2_conformance.target import Target


def _parameters() -> list[Any]:
    return [
        pytest.param(
            case,
            carrier,
            id=f"{case.name}-{carrier.name}",
            marks=[
                pytest.mark.clause(*case.clauses_for(carrier)),
                *([pytest.mark.needs(carrier.extension)] if carrier.extension else []),
                *([pytest.mark.last] if "BAD-013" in case.clauses else []),
            ],
        )
        for case in infer_cases()
        for carrier in case.runs_over()
    ]


@pytest.mark.parametrize(("case", "carrier"), _parameters())
def test_case(case: InferCase, carrier: Carrier, target: Target, check: Checks) -> None:
    request, expected = build(case, target)
    outcome = infer(target, request, carrier.name, check)
    judge = Judge(check, carrier.name)
    clauses = case.clauses_for(carrier)
    if case.loose:
        judge.failure_or_one_of(outcome, request, as_sent(case, target, request), clauses)
    elif case.error:
        judge.failure(outcome, clauses, blames_client=case.error == "client")
    else:
        judge.success(outcome, request, expected, clauses)
    if "BAD-013" in case.clauses:
        _check_unharmed(case, carrier, target, check, clauses)


def _check_unharmed(
    case: InferCase, carrier: Carrier, target: Target, check: Checks, clauses: list[str]
) -> None:
    """The model still answers."""
    model = target.model(case.model)
    request = plain_request(model)
    outcome = infer(target, request, carrier.name, check)
    Judge(check, carrier.name).success(outcome, request, closed_form(model, request.inputs), clauses)


@both("INFER-015")
def test_no_version(carrier: str, target: Target, check: Checks) -> None:
    """A model with several versions, none of them named: one of them answers, or nobody does."""
    model = target.model("versions")
    outcome = infer(target, request_of(model, [5]), carrier, check)
    answers = {version: [5 + 100 * int(version)] for version in model.versions if version.isdecimal()}
    wanted = f"an error, or one of {answers}"
    if isinstance(outcome, Failure):
        check.that(f"{protocol(carrier)}-INFER-015", "answer", True, wanted, str(outcome))
        return
    got = values_of(outcome, model.outputs[0].name)
    said = outcome.model_version
    right = got in ([answers.get(said)] if isinstance(said, str) else list(answers.values()))
    check.that(f"{protocol(carrier)}-INFER-015", "answer", right, wanted, f"version {said!r}: {got}")
