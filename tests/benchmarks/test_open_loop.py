"""Which latencies count: those of the server, not those of a generator that is held up."""

import pytest

from benchmarks.load.open_loop import Latencies

Turn = tuple[list[int], bool, bool]


@pytest.mark.parametrize(
    ("turns", "counted"),
    [
        ([([1, 2], False, True), ([3], False, False)], [1, 2, 3]),
        ([([1], False, False), ([2], True, False), ([3], False, False), ([4], False, True), ([5], False, False)], [1, 5]),
        ([([1], True, True), ([2], False, True)], [2]),
        ([([], True, False), ([1], True, False), ([2], False, True), ([3], True, True), ([4], False, False)], [4]),
    ],
    ids=["never", "until all is answered", "nothing under way", "again and again"],
)  # fmt: skip
def test_what_counts_if_the_generator_was_held_up(turns: list[Turn], counted: list[int]) -> None:
    latencies = Latencies()
    for seen, held_up, all_answered in turns:
        for latency in seen:
            latencies.add(latency)
        latencies.end_turn(held_up, all_answered)
    assert list(latencies.counted_ns) == counted
    assert sorted([*latencies.left_out_ns, *counted]) == [latency for seen, _, _ in turns for latency in seen]
