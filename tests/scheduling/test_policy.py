"""The batching decision, as tables. Meanings are those of Triton's dynamic batcher."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules, Run, WaitUntil, decide
from kserve_v2.scheduling.statistics import BatchReason

NOW = 1_000_000


@dataclass(frozen=True)
class Entry:
    rows: int
    key: str = "a"
    enqueued_ns: int = NOW


def rows(*counts: int) -> list[Entry]:
    return [Entry(count) for count in counts]


no_delay = BatchRules(max_rows=8, preferred_rows=frozenset({8}))
preferring = BatchRules(max_rows=8, preferred_rows=frozenset({2, 4}))
patient = BatchRules(max_rows=8, preferred_rows=frozenset({8}), max_delay_ns=100)
patient_preferring = BatchRules(max_rows=8, preferred_rows=frozenset({4}), max_delay_ns=100)
WAIT = NOW + 100


@pytest.mark.parametrize(
    ("rules", "waiting", "expected"),
    [
        # Without dynamic batching: one request, however many wait.
        (ONE_AT_A_TIME, rows(1), Run(1, BatchReason.NOT_BATCHABLE)),
        (ONE_AT_A_TIME, rows(3, 1), Run(1, BatchReason.NOT_BATCHABLE)),
        # Delay 0: whatever is queued runs at once, up to the maximum, counted in rows.
        (no_delay, rows(1), Run(1, BatchReason.NO_DELAY)),
        (no_delay, rows(1, 2, 3), Run(3, BatchReason.NO_DELAY)),
        (no_delay, rows(8), Run(1, BatchReason.FULL)),
        (no_delay, rows(4, 4), Run(2, BatchReason.FULL)),
        (no_delay, rows(4, 4, 1), Run(2, BatchReason.FULL)),
        (no_delay, rows(5, 4), Run(1, BatchReason.FULL)),
        (no_delay, rows(*[1] * 20), Run(8, BatchReason.FULL)),
        # A preferred size runs, and leaves the rest for the next batch.
        (preferring, rows(1, 1), Run(2, BatchReason.PREFERRED)),
        (preferring, rows(1, 1, 1), Run(2, BatchReason.PREFERRED)),
        (preferring, rows(1, 1, 1, 1, 1), Run(4, BatchReason.PREFERRED)),
        (preferring, rows(3), Run(1, BatchReason.NO_DELAY)),
        (preferring, rows(3, 3), Run(2, BatchReason.NO_DELAY)),
        # Unequal keys never share a batch; what is before the odd one runs at once.
        (no_delay, [Entry(1), Entry(1, "b")], Run(1, BatchReason.SHAPE_MISMATCH)),
        (patient, [Entry(1), Entry(1), Entry(1, "b")], Run(2, BatchReason.SHAPE_MISMATCH)),
        (patient, [Entry(1, "b"), Entry(1), Entry(1, "b")], Run(1, BatchReason.SHAPE_MISMATCH)),
        # With a delay an incomplete batch waits, until the time of its oldest request or enough rows.
        (patient, rows(1), WaitUntil(WAIT, 8)),
        (patient, rows(3, 4), WaitUntil(WAIT, 8)),
        (patient, rows(4, 4), Run(2, BatchReason.FULL)),
        (patient, rows(7, 2), Run(1, BatchReason.FULL)),
        (patient, [Entry(1, enqueued_ns=NOW - 99), Entry(1)], WaitUntil(NOW + 1, 8)),
        (patient, [Entry(1, enqueued_ns=NOW - 100), Entry(1)], Run(2, BatchReason.DELAY_EXPIRED)),
        # The oldest need not stand first, where there are priorities; nor be in this batch at all.
        (patient, [Entry(1), Entry(1, enqueued_ns=NOW - 99)], WaitUntil(NOW + 1, 8)),
        (patient, [Entry(1), Entry(1, enqueued_ns=NOW - 100)], Run(2, BatchReason.DELAY_EXPIRED)),
        (patient, [Entry(1), Entry(1, "b", NOW - 100)], Run(1, BatchReason.SHAPE_MISMATCH)),
        (patient_preferring, rows(1, 1, 1), WaitUntil(WAIT, 4)),
        (patient_preferring, rows(1, 1, 1, 1, 1), Run(4, BatchReason.PREFERRED)),
        # Beyond the largest preferred size there is nothing to wait for.
        (patient_preferring, rows(5), Run(1, BatchReason.PREFERRED)),
        # When the delay is over, a preferred size is no reason to leave requests behind.
        (
            patient_preferring,
            [Entry(1, enqueued_ns=NOW - 100), *rows(1, 1, 1, 1)],
            Run(5, BatchReason.DELAY_EXPIRED),
        ),
    ],
)
def test_decision(rules: BatchRules, waiting: list[Entry], expected: Run | WaitUntil) -> None:
    assert decide(waiting, rules, NOW) == expected


entries = st.lists(
    st.builds(Entry, st.integers(1, 8), st.sampled_from("ab"), st.integers(NOW - 300, NOW)), min_size=1
).map(lambda made: sorted(made, key=lambda entry: entry.enqueued_ns))
all_rules = st.builds(
    BatchRules, st.just(8), st.frozensets(st.integers(1, 8)), st.sampled_from([0, 100])
) | st.just(ONE_AT_A_TIME)


@given(entries, all_rules)
def test_every_decision_is_lawful(waiting: list[Entry], rules: BatchRules) -> None:
    decision = decide(waiting, rules, NOW)
    if isinstance(decision, WaitUntil):
        assert NOW < decision.at_ns <= waiting[0].enqueued_ns + rules.max_delay_ns
        assert decision.rows <= rules.max_rows
        return
    members = waiting[: decision.requests]
    assert 1 <= len(members) == decision.requests
    assert len({entry.key for entry in members}) == 1
    assert rules.max_rows == 0 or sum(entry.rows for entry in members) <= rules.max_rows


@pytest.mark.parametrize(
    ("waiting", "batches"),
    [
        (rows(3, 4, 2, 1, 8), [2, 2, 1]),
        ([Entry(1, shape) for shape in "12211"], [1, 2, 2]),
        ([Entry(1, names) for names in ("", "", "opt", "opt", "")], [2, 2, 1]),
    ],
)
def test_a_queue_is_cut_into_batches_from_its_head_only(waiting: list[Entry], batches: list[int]) -> None:
    """scheduling.md 1.1: the first that does not fit ends a batch, and nothing behind it is pulled forward."""
    taken = []
    while waiting:
        decision = decide(waiting, no_delay, NOW)
        assert isinstance(decision, Run)
        taken.append(decision.requests)
        waiting = waiting[decision.requests :]
    assert taken == batches
