"""When enough was measured. The rule is that of perf_analyzer, so that its numbers and ours can be compared.

A load is measured in rounds of equal length. It is stable when each of the last three rounds has a throughput and a
mean latency within 10 % of the average of the three (`--stability`), and had answers at all. What is reported is those
three rounds taken together; earlier ones count as warm-up. If that does not happen within `--max-rounds`, the last
three are reported all the same, and said to be unstable.
"""

from collections.abc import Sequence
from typing import NamedTuple

ROUNDS = 3
"""The last ones, which are compared and reported."""


class RoundFigures(NamedTuple):
    """What the rule looks at. `mean_latency`: in any unit; of rounds without answers, 0."""

    per_second: float
    mean_latency: float


def stable(rounds: Sequence[RoundFigures], tolerance: float, needed: int = ROUNDS) -> bool:
    """Whether the last `needed` of these are close to each other. `tolerance`: 0.1 for 10 %."""
    last = rounds[-needed:]
    if len(last) < needed or not all(each.per_second > 0 for each in last):
        return False
    return all(_close(values, tolerance) for values in zip(*last, strict=True))


def _close(values: Sequence[float], tolerance: float) -> bool:
    average = sum(values) / len(values)
    return all(abs(value - average) <= tolerance * average for value in values)
