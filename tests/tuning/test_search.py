"""The search and what it goes by: pure functions, on made up measurements."""

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kserve_v2.tuning.candidate import (
    NO_BATCHING,
    OWN_CHOICE,
    Candidate,
    Dimension,
    Limits,
    Space,
    space_around,
)
from kserve_v2.tuning.frontier import Measured, frontier, together
from kserve_v2.tuning.search import (
    FAILED,
    Score,
    Search,
    clearly_better,
    enough_rounds,
    next_concurrency,
    over_budget,
    rivals,
    score_of,
)

START = Candidate(1, 0, 1, 0)
SPACE = Space(
    {
        Dimension.BATCH: [1, 2, 4, 8, 16, 32],
        Dimension.DELAY: [0, 500, 1000],
        Dimension.INSTANCES: [1, 2, 4],
        Dimension.THREADS: [0, 1, 2],
    }
)


def search(score: Callable[[Candidate], Score], start: Candidate = START, space: Space = SPACE) -> Search:
    """One that has come to its end."""
    found = Search(space, start, 0.05)
    steps = found.candidates()
    asked = []
    candidate = next(steps)
    while True:
        asked.append(candidate)
        try:
            candidate = steps.send(score(candidate))
        except StopIteration:
            break
    assert len(asked) == len(set(asked))
    assert all(each in space for each in asked)
    assert set(asked) == set(found.scores)
    return found


def rate(per_second: float) -> Score:
    return Score(True, per_second, 10)


@pytest.mark.parametrize(
    ("score", "best"),
    [
        # Each execution costs the same: the larger the better.
        (lambda c: rate(100 * c.max_batch_size), Candidate(32, 0, 1, 0)),
        # Each row costs the same: nothing is better, and the current one stays.
        (lambda c: rate(100), START),
        # Gains within the margin are none.
        (lambda c: rate(100 + c.max_batch_size / 10), START),
        # The best is in the midst of each field.
        (
            lambda c: rate(
                1000 - 30 * abs(c.max_batch_size - 8) - abs(c.delay_us - 500) / 2 - 100 * abs(c.instances - 2)
            ),
            Candidate(8, 500, 2, 0),
        ),
        # A delay is worth it only with large batches, which come first.
        (lambda c: rate(c.max_batch_size * (2 if c.delay_us and c.max_batch_size == 32 else 1)), Candidate(32, 500, 1, 0)),
        # Nothing stays within the budget: the lowest latency wins.
        (lambda c: Score(False, 100 * c.max_batch_size, 100 / c.instances), Candidate(1, 0, 4, 0)),
        # Whatever stays within is better than what does not.
        (lambda c: Score(c.instances == 2, 1000 / c.instances, 50), Candidate(1, 0, 2, 0)),
        # Not even the current one can be loaded.
        (lambda _: FAILED, START),
    ],
)  # fmt: skip
def test_what_is_found(score: Callable[[Candidate], Score], best: Candidate) -> None:
    assert search(score).best == best


def test_a_search_goes_down_as_well_as_up() -> None:
    found = search(lambda c: rate(100 / c.instances), Candidate(8, 0, 4, 0))
    assert found.best.instances == 1


def test_values_behind_one_that_makes_it_worse_are_not_tried() -> None:
    found = search(lambda c: rate(100 / c.max_batch_size))
    assert {each.max_batch_size for each in found.scores} == {1, 2}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(1, 1000), min_size=6 * 3 * 3 * 3, max_size=6 * 3 * 3 * 3))
def test_a_search_ends_and_nothing_near_its_end_is_clearly_better(numbers: list[float]) -> None:
    everything = [Candidate(*values) for values in product(*SPACE.values.values())]
    table = dict(zip(everything, map(rate, numbers), strict=True))
    found = search(table.__getitem__)
    best = table[found.best]
    assert found.best == START or best.better_than(table[START], 0.05)
    for dimension in Dimension:
        for step in (1, -1):
            nearest = next(SPACE.outward(found.best, dimension, step), found.best)
            assert not table[nearest].better_than(best, 0.05)


def test_larger_batches_mean_that_requests_are_merged() -> None:
    alone = Candidate(1, NO_BATCHING, 1, 0)
    assert alone.with_value(Dimension.BATCH, 8) == Candidate(8, 0, 1, 0)
    assert alone.with_value(Dimension.INSTANCES, 2) == Candidate(1, NO_BATCHING, 2, 0)
    # A model with sequences, or whose rows must not be merged, stays as it is.
    unmerged = Candidate(8, NO_BATCHING, 1, 0)
    assert unmerged.with_value(Dimension.INSTANCES, 2) == Candidate(8, NO_BATCHING, 2, 0)
    assert Candidate(8, 0, 1, 0).with_value(Dimension.DELAY, NO_BATCHING) == Candidate(8, 0, 1, 0)


LIMITS = Limits(
    rows=1, cpus=4, on_gpu=False, budget_ms=None, thread_parameter="t", batches=True, one_group=True
)


@pytest.mark.parametrize(
    ("start", "limits", "given", "expected"),
    [
        (Candidate(1, NO_BATCHING, 1, 0), LIMITS, {},
         ([1, 2, 4, 8, 16, 32, 64], [-1, 0, 500, 1000, 2000, 5000], [1, 2, 4], [0, 1, 2, 4])),
        # Never smaller than it is, which clients may rely on; the current values are always there.
        (Candidate(24, 300, 3, 3), LIMITS, {},
         ([24, 32, 64], [0, 300, 500, 1000, 2000, 5000], [1, 2, 3, 4], [0, 1, 2, 3, 4])),
        (Candidate(1, 0, 1, 0), LIMITS._replace(rows=9), {},
         ([1, 16, 32, 64], [0, 500, 1000, 2000, 5000], [1, 2, 4], [0, 1, 2, 4])),
        # Half of a latency budget is not waited, and the server may choose for itself.
        (Candidate(64, 0, 1, 0), LIMITS._replace(budget_ms=2.0), {},
         ([64, 128, 256], [OWN_CHOICE, 0, 500, 1000], [1, 2, 4], [0, 1, 2, 4])),
        (Candidate(0, NO_BATCHING, 1, 0), LIMITS._replace(batches=False, on_gpu=True), {},
         ([0], [-1], [1, 2, 4], [0])),
        (Candidate(8, 0, 2, 0), LIMITS._replace(one_group=False, thread_parameter=""), {},
         ([8, 16, 32, 64], [0, 500, 1000, 2000, 5000], [2], [0])),
        (Candidate(8, 0, 1, 0), LIMITS, {Dimension.BATCH: [4, 2], Dimension.INSTANCES: [1]},
         ([2, 4, 8], [0, 500, 1000, 2000, 5000], [1], [0, 1, 2, 4])),
    ],
)  # fmt: skip
def test_what_is_worth_a_try(
    start: Candidate, limits: Limits, given: dict[Dimension, list[int]], expected: tuple[list[int], ...]
) -> None:
    space = space_around(start, limits, given)
    assert tuple(space.values[each] for each in Dimension) == expected
    assert start in space


@pytest.mark.parametrize(
    ("seen", "budget_ms", "then"),
    [
        ({}, 20, 4),
        ({4: (100, 5)}, 20, 8),
        ({4: (100, 5), 8: (101, 10)}, 20, 16),  # one that brings nothing is not the end
        ({4: (100, 5), 8: (101, 10), 16: (102, 15)}, 20, None),
        ({4: (100, 5), 8: (190, 10), 16: (300, 15)}, 20, 32),
        ({4: (100, 5), 8: (190, 10), 16: (300, 25)}, 20, None),  # over the budget
        ({4: (100, 25)}, 20, 2),
        ({4: (100, 25), 2: (90, 22)}, 20, 1),
        ({4: (100, 25), 2: (90, 15)}, 20, None),
        ({4: (100, 25), 2: (90, 22), 1: (80, 21)}, 20, None),
        ({64: (100, 5)}, 20, None),  # there are no more
        ({4: (100, 5000)}, None, 8),
    ],
)
def test_with_how_many_connections(
    seen: dict[int, tuple[float, float]], budget_ms: float | None, then: int | None
) -> None:
    assert next_concurrency(seen, budget_ms, first=4, most=64) == then


@pytest.mark.parametrize(
    ("seen", "budget_ms", "score", "number"),
    [
        ({1: (100, 5), 2: (180, 9), 4: (300, 21)}, 20, Score(True, 180, 9), 2),
        ({1: (100, 5), 2: (180, 9), 4: (300, 21)}, None, Score(True, 300, 21), 4),
        ({2: (180, 29), 1: (100, 25)}, 20, Score(False, 100, 25), 1),
        ({1: (0, float("inf"))}, 20, FAILED, 1),
    ],
)
def test_the_score_of_a_candidate(
    seen: dict[int, tuple[float, float]], budget_ms: float | None, score: Score, number: int
) -> None:
    assert score_of(seen, budget_ms) == (score, number)


def rounds(*pairs: tuple[float, float, float]) -> list[tuple[Score, Score]]:
    """Throughput of the old and the new one, and the new one's p99; that of the old one is 10 ms."""
    return [(rate(old), Score(p99 <= 20, new, p99)) for old, new, p99 in pairs]


@pytest.mark.parametrize(
    ("compared", "better"),
    [
        ([], False),
        (rounds((100, 110, 10), (100, 104, 10), (100, 102, 10)), True),
        (rounds((100, 110, 10), (100, 104, 10), (100, 99, 10)), False),  # not every time
        (rounds((100, 102, 10), (100, 101, 10), (100, 101, 10)), False),  # every time, but by too little
        (
            rounds((100, 200, 10), (100, 200, 300), (100, 200, 10)),
            True,
        ),  # a round in which something else happened
        (rounds((100, 200, 30), (100, 200, 300), (100, 200, 10)), False),  # not within the budget
        ([(rate(100), rate(200)), (rate(100), FAILED)], False),
        ([(FAILED, rate(200))] * 3, True),
    ],
)
def test_a_change_has_to_be_clearly_better(compared: list[tuple[Score, Score]], better: bool) -> None:
    assert clearly_better(compared, 20, 0.03, was_within=True) is better


@pytest.mark.parametrize(
    ("compared", "over"),
    [
        ([], False),
        (rounds((100, 200, 30), (100, 200, 300), (100, 200, 10)), True),
        (rounds((100, 200, 10), (100, 200, 300), (100, 200, 10)), False),
        ([(rate(100), FAILED)] * 3, False),  # that is another reason
    ],
)
def test_what_is_over_the_budget_in_the_end(compared: list[tuple[Score, Score]], over: bool) -> None:
    assert over_budget(compared, 20) is over
    assert not over_budget(compared, None)


def test_what_is_compared_if_the_best_is_over_the_budget_after_all() -> None:
    """Whatever was within it and faster, by more than the margin, than the current configuration at its best."""
    best, other = START._replace(max_batch_size=8), START._replace(max_batch_size=4)
    measured = [
        Measured(START, 1, 100, 5),
        Measured(START, 2, 90, 8),
        Measured(best, 2, 150, 11),
        Measured(best, 4, 200, 19),
        Measured(best, 8, 300, 21),  # over the budget
        Measured(other, 4, 170, 18),
        Measured(other, 2, 104, 18),  # no difference
    ]
    assert rivals(measured, START, (best, 4), 20, 0.05) == [(best, 4), (other, 4), (best, 2)]


@pytest.mark.parametrize(
    ("gains", "enough"),
    [
        ([], False),
        ([2, 2], False),
        ([2, 2, 2], True),
        ([2, 2, 1.1], False),  # better, but is it always?
        ([2, 2, 0.9], True),  # not always: no more can help
        ([2, 2, 1.1, 1.1, 1.1], True),
    ],
)
def test_when_more_rounds_would_change_nothing(gains: list[float], enough: bool) -> None:
    compared = rounds(*((100, 100 * gain, 10) for gain in gains))
    assert enough_rounds(compared, was_within=True) is enough
    slower = [(Score(False, 1, 100 * gain), Score(False, 1, 100)) for gain in gains]
    assert enough_rounds(slower, was_within=False) is enough


def test_whatever_stays_within_is_better_than_what_never_did() -> None:
    over = Score(False, 200, 40)
    assert clearly_better([(over, rate(100))] * 3, 20, 0.03, was_within=False)
    nearer = Score(False, 100, 30)
    assert clearly_better([(over, nearer)] * 3, 20, 0.03, was_within=False)
    assert not clearly_better([(over, over)] * 3, 20, 0.03, was_within=False)
    assert not clearly_better([(over, nearer), (nearer, over), (over, nearer)], 20, 0.03, was_within=False)


MEASURED = st.lists(
    st.builds(
        Measured,
        st.just(START),
        st.integers(1, 64),
        st.integers(0, 20).map(float),
        st.integers(1, 20).map(float),
    )
)


def beats(one: Measured, other: Measured) -> bool:
    """At least as good in both, and better in one."""
    return (one.per_second, -one.p99_ms) != (other.per_second, -other.p99_ms) and (
        one.per_second >= other.per_second and one.p99_ms <= other.p99_ms
    )


@given(MEASURED)
def test_nothing_beats_the_frontier_and_it_beats_all_else(measured: list[Measured]) -> None:
    found = frontier(measured)
    assert not any(beats(one, other) for one in measured for other in found)
    for each in measured:
        same = any((each.per_second, each.p99_ms) == (one.per_second, one.p99_ms) for one in found)
        assert each.per_second == 0 or same or any(beats(one, each) for one in found)
    assert [each.per_second for each in found] == sorted({each.per_second for each in found})


def test_what_was_measured_several_times_counts_once() -> None:
    times = [Measured(START, 2, rate, p99) for rate, p99 in ((100, 9), (110, 300), (90, 8))]
    other = Measured(START, 4, 150, 20, errors=1)
    assert together([*times, other]) == [Measured(START, 2, 100, 9), other]
