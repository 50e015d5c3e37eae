"""The verdict of an analysis: what is to be done, and why."""

import pytest

from kserve_v2.tuning.candidate import Candidate
from kserve_v2.tuning.report import Analysis, verdict
from kserve_v2.tuning.search import Score
from kserve_v2.tuning.trials import Findings, Terms

START, OTHER, THIRD = Candidate(1, 0, 1, 0), Candidate(8, 0, 1, 0), Candidate(4, 0, 1, 0)


def analysis(**found: object) -> Analysis:
    """Of a search in which both were within a budget of 20 ms."""
    scores = {START: Score(True, 100, 5), OTHER: Score(True, 200, 19)}
    findings = Findings(START, OTHER, scores, **found)  # type: ignore[arg-type]
    return Analysis("m", "one row", Terms(20, 1), findings, 2)


@pytest.mark.parametrize(
    ("new_ms", "over", "why"),
    [
        (19.0, [], "was not better in every round by 3% or more"),
        (25.0, [(OTHER, 25.0)], f"{OTHER} had a p99 of 25.00 ms, the median of the rounds, which is over the budget of 20 ms"),
        (19.0, [(THIRD, 25.0)], "was not better in every round by 3% or more"),
        (30.0, [(THIRD, 25.0), (OTHER, 30.0)], f"{THIRD} had a p99 of 25.00 ms, {OTHER} had a p99 of 30.00 ms, the median"),
    ],
)  # fmt: skip
def test_why_the_current_configuration_stays(
    new_ms: float, over: list[tuple[Candidate, float]], why: str
) -> None:
    rounds = [(Score(True, 100, 5), Score(new_ms <= 20, 200, new_ms))] * 3
    said = verdict(analysis(rounds=rounds, over_budget=over))
    assert said.startswith(f"Keep the current configuration ({START}): ")
    assert why in said
