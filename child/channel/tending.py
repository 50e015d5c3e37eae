"""One thread for all channels of a process: while nobody sends, memory is given back all the same."""

from __future__ import annotations

import _thread
import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol
from weakref import WeakSet

# Soon enough for memory, and seldom enough to cost nothing where messages take the notices along anyway.
_SOONEST_S = 0.05
_LATEST_S = 1.0


class Tended(Protocol):
    """What wants to be called from time to time."""

    def tend(self, now: float) -> bool:
        """Do what there is to do, without waiting for anybody; whether there will be more."""
        ...


class Tender:
    """Its thread begins when there is something to tend, and sleeps when there is not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tended: WeakSet[Tended] = WeakSet()
        self._started = False
        # Released by `wake`: a lock of this kind, other than an event, is never held in the midst of Python code, so
        # that finalizers may release it.
        self._awake = _thread.allocate_lock()
        self._awake.acquire()

    def watch(self, tended: Tended) -> None:
        """Tend it as long as it lives, beginning now."""
        with self._lock:
            self._tended.add(tended)
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, name="channel memory", daemon=True).start()
        self.wake()

    def wake(self) -> None:
        """There is something to do. May be called by a finalizer."""
        # Most of the time it has been woken already.
        if self._awake.locked():
            with contextlib.suppress(RuntimeError):  # by somebody else, meanwhile
                self._awake.release()

    def _run(self) -> None:
        while True:
            self._awake.acquire()
            delay = _SOONEST_S
            while True:
                time.sleep(delay)
                if not self._tend():
                    break
                delay = _SOONEST_S if self._awake.acquire(False) else min(2 * delay, _LATEST_S)

    def _tend(self) -> bool:
        with self._lock:
            all_tended = list(self._tended)
        now = time.monotonic()
        more = [tended.tend(now) for tended in all_tended]
        return any(more)


TENDER = Tender()


class Notices:
    """What is to be told to the other side about memory. Any thread appends, and finalizers do."""

    def __init__(self, tender: Tender) -> None:
        self.waiting: deque[bytes] = deque()
        """Those that have not been told."""
        self._tender = tender

    def append(self, notice: Any, /) -> None:
        """Tell it with the next message, or soon."""
        self.waiting.append(notice)
        self._tender.wake()

    def take(self, count: int) -> list[bytes]:
        """Up to so many of them."""
        taken: list[bytes] = []
        while self.waiting and len(taken) < count:
            taken.append(self.waiting.popleft())
        return taken

    def put_back(self, notices: Sequence[bytes]) -> None:
        """They have not been told after all."""
        self.waiting.extendleft(reversed(notices))
