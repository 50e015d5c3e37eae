"""Notices that the event loop is stuck: nobody is answered then, and nothing on the loop itself can say so.

The loop makes a mark every now and then, and a thread looks at it. If the mark is old, the thread logs where the loop
is: usually in a model that is executed where it should not be. Ending the process is left to Python's `faulthandler`,
whose watchdog runs without the interpreter's lock, as what holds up the loop may hold that as well.

A probe needs neither: a server whose loop is stuck does not answer it, which is what liveness probes look for.
"""

import asyncio
import faulthandler
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

logger = logging.getLogger(__name__)

# Parts of the shortest limit: how often a mark is made and looked at.
_PARTS = 4
_MOST_FRAMES = 12


class StallWatch:
    """Made, started and stopped on the event loop's thread."""

    def __init__(
        self, log_after_s: float, exit_after_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """When the loop counts as stuck, so that it is logged, and so that the process is ended; 0 for never."""
        self._log_after_s = log_after_s
        self._exit_after_s = exit_after_s
        self._clock = clock
        self._every_s = min([each for each in (log_after_s, exit_after_s) if each], default=0) / _PARTS
        self._marked_s = clock()
        self._stop = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._loop_thread = threading.get_ident()

    def start(self) -> None:
        """Watch from now on."""
        if not self._every_s:
            return
        self._mark(asyncio.get_running_loop())
        if self._log_after_s:
            threading.Thread(target=self._watch, name="stall-watch", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._exit_after_s:
            faulthandler.cancel_dump_traceback_later()

    def _mark(self, loop: asyncio.AbstractEventLoop) -> None:
        self._marked_s = self._clock()
        if self._exit_after_s:
            # In the place of the one before.
            faulthandler.dump_traceback_later(self._exit_after_s, exit=True, file=sys.__stderr__ or 2)
        self._timer = loop.call_later(self._every_s, self._mark, loop)

    def _watch(self) -> None:
        stuck_since = None
        while not self._stop.wait(self._every_s):
            marked_s = self._marked_s
            if stuck_since is not None and marked_s != stuck_since:
                logger.warning("the event loop is at work again, after %.1f s", marked_s - stuck_since)
                stuck_since = None
            late_s = self._clock() - marked_s
            if stuck_since is None and late_s >= self._log_after_s:
                stuck_since = marked_s
                logger.error(
                    "the event loop has answered nobody for %.1f s; it is here:\n%s", late_s, self._where()
                )

    def _where(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)[-_MOST_FRAMES:]).rstrip() if frame is not None else "?"
