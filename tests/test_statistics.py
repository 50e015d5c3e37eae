"""Counters that clients could make grow."""

from kserve_v2.statistics import MAX_RESPONSE_POSITIONS, ModelStatistics, ResponseTimes


def test_positions_of_a_stream_without_end_are_counted_in_bounded_memory() -> None:
    statistics = ModelStatistics()
    for index in range(MAX_RESPONSE_POSITIONS + 10):
        statistics.record_response(index, ResponseTimes(infer_ns=2, output_ns=1, empty=False))
    assert len(statistics.responses) == MAX_RESPONSE_POSITIONS
    assert statistics.responses[0].success.count == 1
    last = statistics.responses[MAX_RESPONSE_POSITIONS - 1]
    assert (last.success.count, last.success.ns) == (11, 33)
