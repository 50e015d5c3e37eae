"""Which of all that was measured nothing else beats."""

from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

from kserve_v2.tuning.candidate import Candidate


class Measured(NamedTuple):
    """A candidate with so many connections. `mean_batch`: rows of its executions, None if not known."""

    candidate: Candidate
    concurrency: int
    per_second: float
    p99_ms: float
    p50_ms: float = 0.0
    mean_batch: float | None = None
    errors: int = 0


def together(measured: Iterable[Measured]) -> list[Measured]:
    """One for each candidate and number of connections, with the medians of all that were measured of it."""
    groups: dict[tuple[Candidate, int], list[Measured]] = {}
    for each in measured:
        groups.setdefault((each.candidate, each.concurrency), []).append(each)
    return [
        group[0]._replace(
            per_second=median(each.per_second for each in group),
            p99_ms=median(each.p99_ms for each in group),
            p50_ms=median(each.p50_ms for each in group),
            errors=sum(each.errors for each in group),
        )
        for group in groups.values()
    ]


def frontier(measured: Iterable[Measured]) -> list[Measured]:
    """Those for which no other one has at least the throughput and at most the p99; by throughput. Of equals, the
    first.
    """
    best: list[Measured] = []
    # From the highest throughput down, whoever has a lower latency than all before is not beaten.
    for each in sorted(measured, key=lambda one: (-one.per_second, one.p99_ms)):
        if each.per_second > 0 and (not best or each.p99_ms < best[-1].p99_ms):
            best.append(each)
    return best[::-1]
