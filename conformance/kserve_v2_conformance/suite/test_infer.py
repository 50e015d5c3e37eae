"""Every inference case, over every carrier."""

from typing import Any

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference.build import build
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.cases import Carrier, InferCase, infer_cases
from kserve_v2_conformance.inference.verify import Judge
from kserve_v2_conformance.target import Target


def _parameters() -> list[Any]:
    return [
        pytest.param(
            case,
            carrier,
            id=f"{case.name}-{carrier.name}",
            marks=pytest.mark.clause(*case.clauses_for(carrier)),
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
        judge.failure_or(outcome, request, expected, clauses)
    elif case.error:
        judge.failure(outcome, clauses, blames_client=case.error == "client")
    else:
        judge.success(outcome, request, expected, clauses)
