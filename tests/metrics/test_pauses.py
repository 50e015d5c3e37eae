"""Pauses of the garbage collector, with a clock that the tests set."""

import gc

from kserve_v2.metrics.pauses import GcPauses, added, pause_family


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def pause(pauses: GcPauses, clock: Clock, generation: int, seconds: float) -> None:
    pauses.note("start", {"generation": generation})
    clock.now_s += seconds
    pauses.note("stop", {"generation": generation})
    # Nobody is stopped between two collections.
    clock.now_s += 7


def lines(pauses: GcPauses) -> list[str]:
    text = pause_family([({"process": "0"}, pauses.figures())]).text()
    return [line.removeprefix("kserve_v2_gc_pause_seconds") for line in text.splitlines()[2:]]


def test_a_histogram_by_generation() -> None:
    pauses = GcPauses(clock := Clock())
    for generation, seconds in ((0, 0.00005), (2, 0.0001), (2, 0.003), (2, 3.0)):
        pause(pauses, clock, generation, seconds)
    said = lines(pauses)
    assert '_bucket{process="0",generation="0",le="0.0001"} 1' in said
    assert '_count{process="0",generation="0"} 1' in said
    assert '_count{process="0",generation="1"} 0' in said
    # A bucket holds what is as long as its bound.
    assert [line for line in said if 'generation="2"' in line] == [
        '_bucket{process="0",generation="2",le="0.0001"} 1',
        '_bucket{process="0",generation="2",le="0.001"} 1',
        '_bucket{process="0",generation="2",le="0.0025"} 1',
        *(
            f'_bucket{{process="0",generation="2",le="{bound}"}} 2'
            for bound in ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1")
        ),
        '_bucket{process="0",generation="2",le="+Inf"} 3',
        f'_sum{{process="0",generation="2"}} {pauses.figures()[2][-1]!r}',
        '_count{process="0",generation="2"} 3',
    ]
    assert abs(pauses.figures()[2][-1] - 3.0031) < 1e-9


def test_what_had_begun_before_it_was_asked_to_is_left_out() -> None:
    pauses = GcPauses(Clock())
    pauses.note("stop", {"generation": 2})
    assert not any(map(any, pauses.figures()))


def test_collections_of_this_process() -> None:
    pauses = GcPauses()
    pauses.start()
    try:
        gc.collect(1)
        gc.collect()
    finally:
        pauses.stop()
    _, ones, full = pauses.figures()
    assert sum(ones[:-1]) >= 1 <= sum(full[:-1])
    assert full[-1] > 0
    before = pauses.figures()
    gc.collect()
    assert pauses.figures() == before
    # Once more does no harm.
    pauses.stop()


def test_of_a_process_and_of_the_one_before_it() -> None:
    first, second = GcPauses(clock := Clock()), GcPauses(clock)
    pause(first, clock, 2, 0.5)
    pause(second, clock, 2, 0.25)
    pause(second, clock, 1, 2.0)
    both = added(first.figures(), second.figures())
    assert [sum(each[:-1]) for each in both] == [0, 1, 2]
    assert [each[-1] for each in both] == [0, 2.0, 0.75]
    assert added((), first.figures()) == added(first.figures(), ()) == first.figures()
    assert added((), ()) == ()
