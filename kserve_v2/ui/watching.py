"""Who watches the server: one task takes samples for all of them, and ends when the last one has gone."""

import asyncio
import logging
import time
from collections import deque
from types import TracebackType
from typing import Self

from kserve_v2.inference import InferenceService
from kserve_v2.ui.counting import WINDOW_NS, Counter
from kserve_v2.ui.sampling import Sample

logger = logging.getLogger(__name__)

# How often it is measured how late the event loop is: a timer that is due is late by what the loop does just then.
_LOOK_S = 0.05
# Whoever comes is shown something soon.
_FIRST_S = 0.25


class Watcher:
    """One who watches. `async with` it, and take one change after the other. On the event loop."""

    def __init__(self, watching: "Watching", interval_s: float, first_s: float) -> None:
        self.interval_s = interval_s
        self.first_s = first_s
        self.due_s = 0.0
        self.ended = False
        self._watching = watching
        self._last: Sample | None = None
        self._newest: Sample | None = None
        self._told = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._last = self._watching.join(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watching.leave(self)

    def tell(self, sample: Sample) -> None:
        """There is a new sample. Of several that nobody has taken, only the newest is kept: what was counted before it
        is part of it.
        """
        self._newest = sample
        self._told.set()

    def end(self) -> None:
        """There will be no more."""
        self.ended = True
        self._told.set()

    async def next(self) -> tuple[Sample, Sample] | None:
        """The last sample that this has returned, or the one of the beginning, and a later one. None: the server
        ends.
        """
        await self._told.wait()
        last, newest = self._last, self._newest
        if self.ended or last is None or newest is None:
            return None
        self._told.clear()
        self._last, self._newest = newest, None
        return last, newest


class Watching:
    """All who watch. Lives on the event loop."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service
        self._counter = Counter(service)
        self._watchers: set[Watcher] = set()
        self._lags: deque[tuple[int, int]] = deque(maxlen=WINDOW_NS // int(_LOOK_S * 1e9))
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Watching watchers={len(self._watchers)}>"

    def watch(self, interval_s: float, first_s: float = _FIRST_S) -> Watcher:
        """For who wants to be told so often. `first_s`: after how long for the first time, at the most."""
        return Watcher(self, interval_s, min(first_s, interval_s))

    def join(self, watcher: Watcher) -> Sample:
        """Begin to tell it. Returns what there is to begin with."""
        loop = asyncio.get_running_loop()
        watcher.due_s = loop.time() + watcher.first_s
        self._watchers.add(watcher)
        if self._task is None:
            self._task = loop.create_task(self._run())
        return self._counter.sample(tuple(self._lags))

    def leave(self, watcher: Watcher) -> None:
        """It has gone."""
        self._watchers.discard(watcher)
        if not self._watchers:
            self._stop()

    def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self._counter.stop()
        self._lags.clear()

    async def _run(self) -> None:
        try:
            while not self._service.manager.exiting:
                await self._wait()
                self._tell()
        except Exception:
            logger.exception("the server cannot be watched any more")
        for each in self._watchers:
            each.end()

    async def _wait(self) -> None:
        """Until somebody is due, or for a moment, and see how late that is over."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        until_s = min([now_s + _LOOK_S, *(each.due_s for each in self._watchers)])
        if until_s <= now_s:
            return
        await asyncio.sleep(until_s - now_s)
        self._lags.append((time.monotonic_ns(), max(0, int((loop.time() - until_s) * 1e9))))

    def _tell(self) -> None:
        now_s = asyncio.get_running_loop().time()
        due = [each for each in self._watchers if each.due_s <= now_s]
        if due:
            sample = self._counter.sample(tuple(self._lags))
            for each in due:
                each.due_s = next_due_s(now_s, each.interval_s)
                each.tell(sample)


def next_due_s(now_s: float, interval_s: float) -> float:
    """On the grid of the interval, so that those with the same are due together; but not too soon, as what is counted
    in a moment says little.
    """
    due_s = (now_s // interval_s + 1) * interval_s
    return due_s if due_s - now_s > interval_s / 2 else due_s + interval_s
