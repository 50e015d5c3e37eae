"""Statistics that travel to another process, and are added up there."""

from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.scheduling.counts import Counts, add_counts, counts_of, since
from kserve_v2.scheduling.statistics import BatchReason, FailureReason, ModelStatistics, PaddedElements

NS = st.integers(0, 10**12)


def succeed(statistics: ModelStatistics, rows: int, start_ns: int, reason: BatchReason) -> None:
    times = (start_ns + 5, start_ns + 7, start_ns + 20, start_ns + 21)
    statistics.record_success(rows, 1, start_ns, times, reason, now_ms=start_ns // 10**6)
    statistics.record_waits(start_ns + 5, [start_ns])


EVENTS = st.one_of(
    st.tuples(st.just("success"), st.integers(1, 5), NS, st.sampled_from(BatchReason)),
    st.tuples(st.just("failure"), st.sampled_from(FailureReason), NS),
    # To look it up is part of the time that it takes.
    st.tuples(NS, NS).map(lambda times: ("hit", sum(times), times[0])),
    st.tuples(st.just("padding"), st.integers(1, 9), st.integers(0, 9)),
    # Whoever counts reports, and whoever adds up takes it.
    st.just(("report",)),
)


def happen(statistics: ModelStatistics, event: tuple) -> None:
    match event:
        case "success", rows, start_ns, reason:
            succeed(statistics, rows, start_ns, reason)
        case "failure", reason, took_ns:
            statistics.record_failure(reason, took_ns)
        case "hit", took_ns, lookup_ns:
            statistics.record_cached(took_ns, lookup_ns)
        case "padding", given_, padding:
            assert statistics.padded is not None
            statistics.padded.add(given_, padding)


@given(st.lists(st.tuples(st.booleans(), EVENTS), max_size=30))
def test_the_sum_is_what_one_process_would_have_counted(events: list[tuple[bool, tuple]]) -> None:
    here, there, alone = (ModelStatistics(padded=PaddedElements()) for _ in range(3))
    told: Counts = {}
    for elsewhere, event in [*events, (True, ("report",))]:
        if event[0] == "report":
            counts = counts_of(there)
            add_counts(here, since(counts, told), there.last_inference_ms)
            told = counts
        else:
            happen(there if elsewhere else here, event)
            happen(alone, event)
    assert counts_of(here) == counts_of(alone)
    assert here.batch_reasons == alone.batch_reasons
    assert here.waited.up_to() == alone.waited.up_to()


def test_the_last_execution_is_the_later_one() -> None:
    statistics = ModelStatistics(last_inference_ms=5)
    for last_ms in (4, 7):
        add_counts(statistics, {}, last_ms)
        assert statistics.last_inference_ms == max(5, last_ms)


def test_nothing_new_is_nothing() -> None:
    statistics = ModelStatistics()
    assert counts_of(statistics) == {}
    succeed(statistics, 2, 10**9, BatchReason.FULL)
    counts = counts_of(statistics)
    assert since(counts, counts) == {}
    assert counts["batches.2.reasons.full"] == 1
