"""The deadlines of one connection, by a clock that stands still until it is told to go on."""

import gc
import heapq
import random
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from kserve_v2.rpc.transport.deadlines import LOOK_S, Deadlines


class Timer:
    """What the clock has been asked for."""

    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """The part of an event loop that is asked. What a callback raises is noted, as a loop would log it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.made = 0
        self.raised: list[Exception] = []
        self._timers: list[tuple[float, int, Timer, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        self.made += 1
        timer = Timer()
        heapq.heappush(self._timers, (when, self.made, timer, callback))
        return timer

    @property
    def waiting(self) -> int:
        """How many timers have not been called yet, nor cancelled."""
        return sum(not timer.cancelled for _, _, timer, _ in self._timers)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer, callback = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled:
                try:
                    callback()
                except ZeroDivisionError as error:
                    self.raised.append(error)
        self.now = end


class Waiting:
    """A call that notes when its deadline has passed."""

    def __init__(self, clock: Clock, then: Callable[[], object] = lambda: None) -> None:
        self.passed: list[float] = []
        self._clock = clock
        self._then = then

    def deadline_passed(self) -> None:
        self.passed.append(self._clock.now)
        self._then()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deadlines(clock: Clock) -> Deadlines:
    loop: Any = clock
    return Deadlines(loop)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_each_passes_when_it_is_due_and_once_unless_it_is_removed(
    clock: Clock, deadlines: Deadlines, share: float
) -> None:
    """`share`: of those that are over before."""
    numbers = random.Random(18)  # noqa: S311 - nothing secret
    calls = []
    for _ in range(1000):
        call, timeout_s = Waiting(clock), numbers.choice((0.0, 0.001, 1.0, numbers.random() * 5))
        due = clock.now + timeout_s
        deadlines.add(call, timeout_s)
        over = numbers.random() < share
        calls.append((call, due, over and timeout_s > 0))
        if over and timeout_s:
            deadlines.remove(call)
        clock.advance(numbers.random() * 0.01)
    clock.advance(10)
    for call, due, over in calls:
        assert len(call.passed) == (not over)
        assert all(due <= passed <= due + LOOK_S * len(calls) for passed in call.passed)
    assert clock.waiting == 0
    assert repr(deadlines) == "<Deadlines 0 calls>"


def test_looks_at_many_take_little_time(clock: Clock, deadlines: Deadlines) -> None:
    """Each of them is due at a time of its own."""
    calls = [Waiting(clock) for _ in range(10_000)]
    for number, call in enumerate(calls):
        deadlines.add(call, 1 + number * 1e-6)
    clock.advance(2)
    assert all(call.passed for call in calls)
    assert clock.made < 5


def test_calls_that_are_answered_share_a_timer_and_leave_nothing(clock: Clock, deadlines: Deadlines) -> None:
    numbers = random.Random(1)  # noqa: S311 - nothing secret
    for _ in range(10_000):
        call = Waiting(clock)
        deadlines.add(call, 4 + numbers.random())
        deadlines.remove(call)
    assert clock.made < 50
    clock.advance(10)
    assert clock.waiting == 0


def test_a_call_that_is_over_is_not_kept(clock: Clock, deadlines: Deadlines) -> None:
    call = Waiting(clock)
    gone = weakref.ref(call)
    deadlines.add(call, 5)
    deadlines.remove(call)
    del call
    gc.collect()
    assert gone() is None


def test_one_that_passes_may_remove_others_and_add_some(clock: Clock, deadlines: Deadlines) -> None:
    later, other = Waiting(clock), Waiting(clock)

    def change() -> None:
        deadlines.remove(other)
        deadlines.remove(this)
        deadlines.add(later, 0.5)

    this = Waiting(clock, change)
    deadlines.add(this, 1)
    deadlines.add(other, 1)
    clock.advance(3)
    assert later.passed == [101.5]
    assert not other.passed
    assert len(this.passed) == 1


def test_one_that_fails_does_not_keep_the_others(clock: Clock, deadlines: Deadlines) -> None:
    others = [Waiting(clock) for _ in range(3)]
    deadlines.add(Waiting(clock, lambda: 1 / 0), 1)
    for number, other in enumerate(others):
        deadlines.add(other, 1 + number)
    clock.advance(5)
    assert [round(other.passed[0], 3) for other in others] == [101.0, 102.0, 103.0]
    assert len(clock.raised) == 1


def test_an_earlier_one_does_not_wait_for_the_first(clock: Clock, deadlines: Deadlines) -> None:
    late, soon = Waiting(clock), Waiting(clock)
    deadlines.add(late, 5)
    deadlines.add(soon, 1)
    clock.advance(2)
    assert (soon.passed, late.passed) == ([101.0], [])


def test_nothing_is_left_of_a_connection_that_is_gone(clock: Clock, deadlines: Deadlines) -> None:
    """The longest time-out that a client can ask for: 99,999,999 hours."""
    call = Waiting(clock)
    deadlines.add(call, 99_999_999 * 3600.0)
    deadlines.stop()
    assert clock.waiting == 0
    deadlines.remove(call)
    clock.advance(1e12)
    assert not call.passed
