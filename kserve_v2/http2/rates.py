"""Counting what a client may do only so often."""

from collections.abc import Callable

from kserve_v2.http2.limits import Rate

Clock = Callable[[], float]
"""Seconds, from any start, that only grow."""


class Allowance:
    """A token bucket: full at first, emptied by use, filled again by time and by `give`."""

    __slots__ = ("_clock", "_filled_at", "_left", "_rate")

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._left: float = rate.burst
        self._filled_at = clock()

    def take(self, count: int = 1) -> bool:
        """Use so many; False if there are not as many, and none is used."""
        if self._left < count:
            now = self._clock()
            self._left += (now - self._filled_at) * self._rate.per_second
            self._left = min(self._left, self._rate.burst)
            self._filled_at = now
        if self._left < count:
            return False
        self._left -= count
        return True

    def give(self, more: int = 1) -> None:
        """Allow some more, up to what may happen at once."""
        self._left = min(self._left + more, self._rate.burst)
