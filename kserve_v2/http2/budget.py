"""What a client may do only so often, on one connection: the rates of `Http2Limits`."""

from collections.abc import Callable

from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode
from kserve_v2.http2.limits import Http2Limits, Rate

Clock = Callable[[], float]
"""Seconds, from any start, that only grow."""


class Allowance:
    """A token bucket: full at first, emptied by use, filled again by time and by what was earned."""

    __slots__ = ("_clock", "_earned", "_filled_at", "_left", "_rate")

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._left: float = rate.burst
        self._filled_at = clock()
        self._earned = 0

    def take(self, count: int = 1, earned: int = 0) -> bool:
        """Use so many; False if there are not as many, and none is used. `earned`: how many more were allowed so far,
        beside those that time allows.
        """
        if self._left < count:
            now = self._clock()
            self._left += (now - self._filled_at) * self._rate.per_second + earned - self._earned
            self._left = min(self._left, self._rate.burst)
            self._filled_at, self._earned = now, earned
        if self._left < count:
            return False
        self._left -= count
        return True

    def spend(self, what: str, count: int = 1, earned: int = 0) -> None:
        """As `take`; raises ConnectionFaultError if there are not as many."""
        if not self.take(count, earned):
            raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM, f"too many {what}")


class Budget:
    """What is left of the rates.

    `answered`: streams that came to their end, to be counted by the owner. Each allows another to end otherwise.
    """

    def __init__(self, limits: Http2Limits, clock: Clock) -> None:
        self.answered = 0
        self._resets = Allowance(limits.resets, clock)
        self.overhead = Allowance(limits.overhead, clock)
        self.settings = Allowance(limits.settings, clock)
        self.pings = Allowance(limits.pings, clock)
        self.empty_data = Allowance(limits.empty_data, clock)
        self.header_fields = Allowance(limits.header_fields, clock)

    def reset(self, how: str) -> None:
        """A stream ended without an answer; `how`, for the client: it was reset, refused or failed. Raises
        ConnectionFaultError if that is too many.
        """
        self._resets.spend(f"streams {how}", earned=self.answered)
