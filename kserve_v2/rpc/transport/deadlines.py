"""The deadlines of the calls of one connection. There is one timer for all of them: nearly every call is answered long
before its own, and to start and stop a timer costs more than to note when it would have been due.
"""

import asyncio
from math import inf
from typing import Protocol

# All are looked at when the first is due. So that this takes but a small share of the time, however many there are, the
# next look comes so many seconds later for each of them, at the earliest.
LOOK_S = 1e-6


class Call(Protocol):
    """What has a deadline."""

    def deadline_passed(self) -> None:
        """It is to be over."""
        ...


class Deadlines:
    """Those of the calls that are not over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[Call, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = inf

    def __repr__(self) -> str:
        return f"<Deadlines {len(self._due)} calls>"

    def add(self, call: Call, timeout_s: float) -> None:
        """Have `call` told after so many seconds, unless it is removed before."""
        due = self._due[call] = self._loop.time() + timeout_s
        if due < self._timer_due:
            self._start_timer(due)

    def remove(self, call: Call) -> None:
        """The call is over."""
        self._due.pop(call, None)

    def stop(self) -> None:
        """The connection is gone, and its calls are over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_timer(self, due: float) -> None:
        self.stop()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        """The first deadline has passed, unless its call is over."""
        self._timer_due = inf
        now = self._loop.time()
        try:
            for call in [call for call, due in self._due.items() if due <= now]:
                # Those before it may have ended it.
                if self._due.pop(call, None) is not None:
                    call.deadline_passed()
        finally:
            # Also if one has failed: the others are not to wait for ever.
            if self._due:
                self._start_timer(max(min(self._due.values()), now + LOOK_S * len(self._due)))
