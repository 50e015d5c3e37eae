"""Searches a space by coordinates: one field after the other, from the current configuration outward.

From the best candidate so far, the larger values of a field are tried as long as they do not make things worse by more
than the margin, then the smaller ones; and so on through the fields, until a whole pass has changed nothing. A
candidate takes the place of the best one only if it is better by more than the margin, so of two that are alike the one
that was there first stays: the current configuration before all others. Nothing is measured twice.

This finds the best of all if the fields do not depend on each other much. What it can miss is a combination of changes
each of which makes things worse by itself; instances and threads are like that, and so their defaults go together:
threads that nobody sets are the machine's, divided among the instances.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from kserve_v2.tuning.candidate import Candidate, Dimension, Space
from kserve_v2.tuning.frontier import Measured, together


class Score(NamedTuple):
    """How good a candidate is. `within`: whether it answers within the budget at all. `per_second`: the most rows that
    it does so for. `p99_ms`: at that load; if it never stays within, the least there was. A candidate that could not be
    loaded has neither.
    """

    within: bool
    per_second: float = 0.0
    p99_ms: float = float("inf")

    def better_than(self, other: "Score", margin: float) -> bool:
        """By more than the margin: 0.05 is 5 %."""
        if self.within != other.within:
            return self.within
        if self.within:
            return self.per_second > other.per_second * (1 + margin)
        return self.p99_ms * (1 + margin) < other.p99_ms


FAILED = Score(within=False)


class Search:
    """A search under way; `best` and `scores` hold at any time."""

    def __init__(self, space: Space, start: Candidate, margin: float) -> None:
        self.best = start
        self.scores: dict[Candidate, Score] = {}
        self.passes = 0
        self._space, self._margin = space, margin

    def candidates(self) -> Generator[Candidate, Score, None]:
        """What to measure next; the answer is its score."""
        self.scores[self.best] = yield self.best
        while True:
            before = self.best
            for dimension in Dimension:
                for step in (1, -1):
                    yield from self._outward(dimension, step)
            self.passes += 1
            if self.best == before:
                return

    def _outward(self, dimension: Dimension, step: int) -> Generator[Candidate, Score, None]:
        for candidate in self._space.outward(self.best, dimension, step):
            if candidate not in self.scores:
                self.scores[candidate] = yield candidate
            score, best = self.scores[candidate], self.scores[self.best]
            if score.better_than(best, self._margin):
                self.best = candidate
            elif best.better_than(score, self._margin):
                return


def next_concurrency(
    seen: Mapping[int, tuple[float, float]], budget_ms: float | None, first: int, most: int
) -> int | None:
    """How many connections to measure a candidate with next; None if it is enough. `seen`: by connections, what was
    measured: rows per second, and the p99 in milliseconds.

    From `first`, which was the best number for the candidate before, up by doubling while latency stays within the
    budget and throughput still grows, by 5 % or more with four times the number; if `first` is too many already, down
    by halves until it is within.
    """
    if not seen:
        return min(first, most)
    largest, smallest = max(seen), min(seen)
    rate, p99_ms = seen[largest]
    if budget_ms is None or p99_ms <= budget_ms:
        grown = largest // 4 not in seen or rate > _GROWS * seen[largest // 4][0]
        if grown and 2 * largest <= most:
            return 2 * largest
        return None
    within = any(p99 <= budget_ms for _, p99 in seen.values())
    return smallest // 2 if not within and smallest > 1 else None


_GROWS = 1.05
_OBVIOUS = 1.2
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 5


def score_of(seen: Mapping[int, tuple[float, float]], budget_ms: float | None) -> tuple[Score, int]:
    """Of a candidate, by what `next_concurrency` has had measured; and with how many connections that was."""
    within = {
        number: each
        for number, each in seen.items()
        if each[0] > 0 and (budget_ms is None or each[1] <= budget_ms)
    }
    if within:
        number = max(within, key=lambda each: within[each][0])
        return Score(True, *within[number]), number
    answered = {number: each for number, each in seen.items() if each[0] > 0}
    if not answered:
        return FAILED, 1
    number = min(answered, key=lambda each: answered[each][1])
    return Score(False, *answered[number]), number


def clearly_better(
    rounds: Sequence[tuple[Score, Score]], budget_ms: float | None, least: float, *, was_within: bool
) -> bool:
    """Whether the second of two candidates, which were measured in turn, is to take the place of the first.
    `was_within`: whether the first one has stayed within the budget in the search.

    Whether the second one stays within the budget is told by the median of its p99: a round in which the machine did
    something else tells nothing. If both do, it has to be faster in every round, and by `least` or more in the median
    of them. If the first one never did, it is enough that the second one does; and if neither does, its p99 has to be
    lower in every round, and by as much. Anything else may be noise, and then what is there stays.
    """
    if not rounds or any(new == FAILED for _, new in rounds):
        return False
    within = budget_ms is None or median(new.p99_ms for _, new in rounds) <= budget_ms
    if not was_within and within:
        return True
    found = _gains(rounds, was_within=was_within)
    return (within or not was_within) and min(found) > 1 and median(found) >= 1 + least


def over_budget(rounds: Sequence[tuple[Score, Score]], budget_ms: float | None) -> bool:
    """Whether the second of two candidates has not stayed within the budget when they were measured in turn, as
    `clearly_better` has it.
    """
    if budget_ms is None or not rounds or any(new == FAILED for _, new in rounds):
        return False
    return median(new.p99_ms for _, new in rounds) > budget_ms


def rivals(
    measured: Iterable[Measured],
    start: Candidate,
    best: tuple[Candidate, int],
    budget_ms: float,
    margin: float,
) -> list[tuple[Candidate, int]]:
    """What to compare with the current candidate, which stays within the budget, each with its connections: the best
    one, and should that turn out to be over the budget, whatever else was within it and faster in the search, also the
    same with fewer connections. The fastest come first.
    """
    rows = [each for each in together(measured) if each.p99_ms <= budget_ms]
    current = max((each.per_second for each in rows if each.candidate == start), default=0.0)
    faster = [each for each in rows if each.candidate != start and each.per_second > current * (1 + margin)]
    faster.sort(key=lambda each: -each.per_second)
    return list(dict.fromkeys([best, *((each.candidate, each.concurrency) for each in faster)]))


def enough_rounds(rounds: Sequence[tuple[Score, Score]], *, was_within: bool) -> bool:
    """Whether more rounds would change nothing: there are three, and the second candidate was not better in one of
    them, or better by a fifth in each; or there are five.
    """
    if len(rounds) < _LEAST_ROUNDS:
        return False
    least = min(_gains(rounds, was_within=was_within))
    return least <= 1 or least >= _OBVIOUS or len(rounds) >= _MOST_ROUNDS


def _gains(rounds: Sequence[tuple[Score, Score]], *, was_within: bool) -> list[float]:
    """How many times better the second candidate was, in throughput, or in latency if that is what is wanting."""
    if was_within:
        pairs = [(new.per_second, old.per_second) for old, new in rounds]
    else:
        pairs = [(old.p99_ms, new.p99_ms) for old, new in rounds]
    return [large / small if small else float("inf") for large, small in pairs]
