"""Saying once in a while what may happen at every request."""

import time
from collections.abc import Callable

_EVERY_S = 60.0


class Sparing:
    """Decides about one kind of line."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_s = float("-inf")
        self._unsaid = 0

    def left_out(self) -> int | None:
        """How many such lines were left out since the last one; None if this one is to be left out, too."""
        now_s = self._clock()
        if now_s - self._said_s < _EVERY_S:
            self._unsaid += 1
            return None
        unsaid, self._said_s, self._unsaid = self._unsaid, now_s, 0
        return unsaid
