"""Counters that clients could make grow."""

from collections import deque

import pytest

from kserve_v2.scheduling.statistics import (
    MAX_RESPONSE_POSITIONS,
    BatchReason,
    ComputeTimes,
    Duration,
    ModelStatistics,
    ResponseFate,
    ResponseTimes,
    WaitingTimes,
)


def test_positions_of_a_stream_without_end_are_counted_in_bounded_memory() -> None:
    statistics = ModelStatistics()
    for index in range(MAX_RESPONSE_POSITIONS + 10):
        statistics.record_response(index, ResponseTimes(infer_ns=2, output_ns=1, fate=ResponseFate.SUCCESS))
    assert len(statistics.responses) == MAX_RESPONSE_POSITIONS
    assert statistics.responses[0].success.count == 1
    last = statistics.responses[MAX_RESPONSE_POSITIONS - 1]
    assert (last.success.count, last.success.ns) == (11, 33)


@pytest.mark.parametrize("fate", ResponseFate)
def test_a_response_is_counted_as_what_became_of_it(fate: ResponseFate) -> None:
    statistics = ModelStatistics()
    statistics.record_response(3, ResponseTimes(infer_ns=2, output_ns=1, fate=fate))
    (response,) = statistics.responses.values()
    computed = {} if fate is ResponseFate.CANCEL else {"compute_infer": (1, 2), "compute_output": (1, 1)}
    expected = {**computed, fate.value: (1, 3)}
    assert response.durations() == {
        name: Duration(*expected.get(name, (0, 0))) for name in response.durations()
    }


def test_waiting_times_are_counted_by_the_first_bound_that_holds_them() -> None:
    waited = WaitingTimes()
    bounds = waited.BOUNDS_US
    assert list(bounds) == sorted(bounds)
    for waited_ns in (0, 100_000, 100_001, 200_000, 10_000_000_000, 10_000_000_001):
        waited.add(waited_ns)
    up_to = dict(zip([*bounds, None], waited.up_to(), strict=True))
    assert (up_to[100], up_to[200], up_to[5_000_000], up_to[10_000_000], up_to[None]) == (2, 4, 4, 5, 6)
    assert waited.ns == 20_000_400_002


def test_every_request_of_an_execution_has_its_own_waiting_time() -> None:
    statistics = ModelStatistics()
    statistics.record_waits(5_000_000, [0, 4_950_000])
    assert statistics.waited.up_to()[0] == 1
    assert (statistics.waited.up_to()[-1], statistics.waited.ns) == (2, 5_050_000)


def test_a_batch_is_counted_by_its_size_and_its_reason() -> None:
    statistics = ModelStatistics()
    for rows, reason in ((2, BatchReason.FULL), (2, BatchReason.NO_DELAY), (1, BatchReason.NO_DELAY)):
        statistics.record_success(rows, 1, 0, (0, 1, 3, 6), reason, 1)
    found = {
        size: {reason.value: count for reason, count in batch.reasons.items() if count}
        for size, batch in statistics.batches.items()
    }
    assert found == {2: {"full": 1, "no_delay": 1}, 1: {"no_delay": 1}}
    assert {reason: count for reason, count in statistics.batch_reasons.items() if count} == {
        BatchReason.FULL: 1,
        BatchReason.NO_DELAY: 2,
    }
    assert statistics.busy_ns == 3 * 6


def test_how_long_requests_took_is_noted_while_somebody_watches() -> None:
    statistics = ModelStatistics()

    def answer_one_of_each_kind() -> None:
        statistics.record_answers(100, [0, 90])
        statistics.record_joined(10, 20, 40, ComputeTimes())
        statistics.record_composed(1, 5, 55, 1, 1, 1)
        statistics.record_cached(7, 3)

    answer_one_of_each_kind()
    statistics.latencies = deque()
    answer_one_of_each_kind()
    assert list(statistics.latencies) == [100, 10, 30, 50, 7]
