"""How busy an event loop is: the share of time that its thread is at work, of the last minute.

What is measured is the thread's CPU time, so what runs on the loop costs nothing more for it. On a machine that has no
CPU left, the share is that of what the thread has been given.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

EVERY_S = 5.0
WINDOW_S = 60.0


class LoopBusy:
    """Made, started and stopped on the thread of the event loop."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """`cpu_clock`: CPU time of the calling thread, in seconds."""
        self._clock = clock
        self._cpu_clock = cpu_clock
        # Time and CPU time of each look.
        self._looks = deque([(clock(), cpu_clock())], maxlen=round(WINDOW_S / EVERY_S) + 1)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look from now on."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            self.look()
            self._timer = loop.call_later(EVERY_S, look)

        self._timer = loop.call_later(EVERY_S, look)

    def stop(self) -> None:
        """Look no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Note how much CPU time the thread has had so far."""
        self._looks.append((self._clock(), self._cpu_clock()))

    @property
    def ratio(self) -> float:
        """The share, of what has been seen of the last minute: from 0 to 1."""
        (began_s, began_cpu_s), (ended_s, ended_cpu_s) = self._looks[0], self._looks[-1]
        if ended_s <= began_s:
            return 0.0
        return min(max((ended_cpu_s - began_cpu_s) / (ended_s - began_s), 0.0), 1.0)

    @property
    def seen(self) -> bool:
        """Whether a whole minute has been seen."""
        return len(self._looks) == self._looks.maxlen
