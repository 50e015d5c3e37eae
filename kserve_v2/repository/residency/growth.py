"""What loads in the server's process take of its memory: what the process has grown by meanwhile.

The system tells that of the whole process alone. So where it has to be right, because there is a budget, loads take
turns, what is given back while one is under way is added to what the process has grown by, and what was freed before
is given to the system first, where it would be taken for room that the model has not used.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from kserve_v2_child.freed_memory import return_freed_memory

from kserve_v2.memory.collector import COLLECTOR
from kserve_v2.repository.residency.measuring import resident_bytes
from kserve_v2.repository.residency.waiting import any_of

# How long a load waits for another one, which may hang, and for models that are being closed. After that it is not
# known what is whose, and each is said to take all that it may take.
_PATIENCE_S = 30.0
_CLOSING_S = 5.0
# To find what has been left in cycles stops all threads for some milliseconds. Less than this part of the budget is
# not worth that.
_WORTH_COLLECTING = 1 / 16


class ProcessMemory(Protocol):
    """What the process takes up. Blocks."""

    def resident(self) -> int:
        """Bytes; 0 where that cannot be told."""
        ...

    def return_freed(self, *, collect: bool) -> None:
        """Give the system what is not used; `collect`: also what can only be found by a search for cycles."""
        ...


class ThisProcess:
    """That of this one."""

    def resident(self) -> int:
        """See `ProcessMemory`."""
        return resident_bytes()

    def return_freed(self, *, collect: bool) -> None:
        """See `ProcessMemory`."""
        if collect:
            COLLECTOR.collect()
        else:
            return_freed_memory()


@dataclass(slots=True, eq=False)
class LoadWatch:
    """One load. `before`: what the process took up when it began. `given_back`: by models that were closed meanwhile.
    `most`: how many loads were under way at a time. `bytes`: what it has taken, once it is over; None if that cannot be
    told.
    """

    began_s: float
    before: int = 0
    given_back: int = 0
    most: int = 1
    bytes: int | None = None


class InProcessLoads:
    """Those that are under way. Lives on the event loop."""

    def __init__(
        self,
        budget: int | None,
        memory: ProcessMemory | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`budget`: bytes that models may take up; None if nobody has said, and what each takes is only shown."""
        self._budget = budget
        self._memory = memory or ThisProcess()
        self._clock = clock
        self._under_way: dict[LoadWatch, None] = {}
        # What is being closed, and how much of it was in use.
        self._closing: dict[object, int] = {}
        # How often that has begun or ended.
        self._closings = 0
        # What of it nobody waits for any more.
        self._slow: set[object] = set()
        # What may have been left in cycles.
        self._left = 0
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def watch(self, given_up: asyncio.Event) -> AsyncIterator[LoadWatch]:
        """While a version is loaded. `given_up`: nobody wants it any more, so that it need not wait."""
        await self._turn(given_up)
        watch = LoadWatch(self._clock())
        self._under_way[watch] = None
        for each in self._under_way:
            each.most = max(each.most, len(self._under_way))
        try:
            await self._begin(watch)
            yield watch
            await self._end(watch)
        except BaseException:
            # It may be kept by the error.
            self._left += self._budget or 0
            raise
        finally:
            del self._under_way[watch]
            self._tell()

    async def _turn(self, given_up: asyncio.Event) -> None:
        """Wait until no other load is under way."""
        while self._budget is not None and self._under_way and not given_up.is_set():
            left_s = min(each.began_s for each in self._under_way) + _PATIENCE_S - self._clock()
            if left_s <= 0:
                return
            await any_of(self._changed.wait(), given_up.wait(), timeout_s=left_s)

    async def _begin(self, watch: LoadWatch) -> None:
        if self._budget is not None:
            await self._settle(self._budget)
        watch.before, watch.given_back = self._memory.resident(), 0

    async def _end(self, watch: LoadWatch) -> None:
        if self._budget is not None:
            slow = await self._settle(self._budget)
            watch.given_back += slow
        if not watch.before:
            return
        grown = max(0, self._memory.resident() - watch.before + watch.given_back)
        # Where there is a budget, all of it may be this one's.
        watch.bytes = grown if self._budget is not None else grown // watch.most

    async def _settle(self, budget: int) -> int:
        """Give the system what is not used, with nothing being closed before it is done: that may have given back its
        own already, or not. Returns the size of what takes too long, the first time.
        """
        deadline = self._clock() + _CLOSING_S
        while True:
            while self._closing.keys() - self._slow and self._clock() < deadline:
                await any_of(self._changed.wait(), timeout_s=deadline - self._clock())
            closings, left = self._closings, self._left
            collect = left > budget * _WORTH_COLLECTING
            await asyncio.to_thread(self._memory.return_freed, collect=collect)
            if collect:
                self._left -= left
            if closings == self._closings or self._clock() >= deadline:
                break
        late = self._closing.keys() - self._slow
        self._slow |= late
        return sum(self._closing[each] for each in late)

    def closing(self, what: object, size: int) -> None:
        """Something begins to give back so many bytes of this process."""
        self._closing[what] = size
        self._closings += 1

    def closed(self, what: object) -> None:
        """It has, if it has begun."""
        size = self._closing.pop(what, 0)
        self._slow.discard(what)
        self._closings += 1
        self._left += size
        for each in self._under_way:
            each.given_back += size
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
