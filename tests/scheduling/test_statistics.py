"""Counters that clients could make grow."""

import pytest

from kserve_v2.scheduling.statistics import (
    MAX_RESPONSE_POSITIONS,
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
