"""The deadlines of the calls of one connection. There is one timer for all of them: nearly every call is answered long
before its own, and to start and stop a timer costs more than to note when it would have been due.
"""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

# So many that are over may be noted on top of as many as are not, before they are removed.
_SPARE = 64


@dataclass(slots=True)
class Deadline:
    """What is called when a call is to be over; None once that has been, or is not to be."""

    passed: Callable[[], None] | None


class Deadlines:
    """Those that have not passed yet, and some that are over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # The numbers are those of the calls in their order, so that deadlines themselves need no order.
        self._heap: list[tuple[float, int, Deadline]] = []
        self._numbers = count()
        self._live = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_when = 0.0

    def __repr__(self) -> str:
        return f"<Deadlines {self._live} live, {len(self._heap)} noted>"

    def add(self, timeout_s: float, passed: Callable[[], None]) -> Deadline:
        """Have `passed` called after so many seconds, unless the deadline is removed before."""
        when = self._loop.time() + timeout_s
        deadline = Deadline(passed)
        heapq.heappush(self._heap, (when, next(self._numbers), deadline))
        self._live += 1
        if self._timer is None or when < self._timer_when:
            self._start_timer(when)
        return deadline

    def remove(self, deadline: Deadline) -> None:
        """The call is over. Nothing happens if the deadline has passed."""
        if deadline.passed is None:
            return
        deadline.passed = None
        self._live -= 1
        if len(self._heap) > 2 * self._live + _SPARE:
            self._heap = [each for each in self._heap if each[2].passed is not None]
            heapq.heapify(self._heap)

    def stop(self) -> None:
        """The connection is gone, and its calls are over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_timer(self, when: float) -> None:
        self.stop()
        self._timer_when = when
        self._timer = self._loop.call_at(when, self._due)

    def _due(self) -> None:
        """The first deadline has passed, unless its call is over."""
        self._timer = None
        now = self._loop.time()
        try:
            while self._heap and (self._heap[0][0] <= now or self._heap[0][2].passed is None):
                deadline = heapq.heappop(self._heap)[2]
                passed, deadline.passed = deadline.passed, None
                if passed is not None:
                    self._live -= 1
                    passed()
        finally:
            # Also if one has failed: the others are not to wait for ever.
            if self._heap:
                self._start_timer(self._heap[0][0])
