"""Every inference case, over every carrier."""

from typing import Any

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference.build import build, closed_form, plain_request
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.cases import Carrier, InferCase, infer_cases
from kserve_v2_conformance.inference.verify import Judge
from kserve_v2_conformance.target import NotCovered, Target


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
    if case.max_batch_size and case.max_batch_size != target.max_batch_size(target.model(case.model)):
        raise NotCovered(f"the max_batch_size of {request.model} is not {case.max_batch_size}")
    outcome = infer(target, request, carrier.name, check)
    judge = Judge(check, carrier.name)
    clauses = case.clauses_for(carrier)
    if case.loose:
        judge.failure_or(outcome, request, expected, clauses)
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
