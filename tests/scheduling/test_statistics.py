"""Counters that clients could make grow."""

import pytest

from kserve_v2.scheduling.statistics import (
    MAX_RESPONSE_POSITIONS,
    Duration,
    ModelStatistics,
    ResponseFate,
    ResponseTimes,
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
