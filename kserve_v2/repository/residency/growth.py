"""What loads in the server's process take of its memory: what the process has grown by meanwhile.

The system tells that of the whole process alone. So where it has to be right, because there is a budget, loads take
turns, what is given back while one is under way is added to what the process has grown by, and what was freed before
is given to the system first, where it would be taken for room that the model has not used. A load that waits for the
load of another model steps aside for it.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from kserve_v2_child.freed_memory import return_freed_memory

from kserve_v2.handlers.modules import OWN_MODULES
from kserve_v2.memory.collector import COLLECTOR
from kserve_v2.repository.residency.measuring import resident_bytes
from kserve_v2.repository.residency.waiting import any_of
from kserve_v2.scheduling.contained import on_own_thread

# How long a load waits for another one, which may hang, and for what is being given back. After that it is not known
# what is whose, and each is said to take all that it may take.
PATIENCE_S = 30.0
_CLOSING_S = 5.0
# To find what has been left in cycles stops all threads for some milliseconds. Less than this part of the budget is
# not worth that.
_WORTH_COLLECTING = 1 / 16


class ProcessMemory(Protocol):
    """What the process takes up. Blocks."""

    def resident(self) -> int:
        """Bytes; 0 where that cannot be told."""
        ...

    def libraries(self) -> int:
        """How many modules it has imported that are no model's own."""
        ...

    def return_freed(self, *, collect: bool) -> None:
        """Give the system what is not used; `collect`: also what can only be found by a search for cycles."""
        ...


class ThisProcess:
    """That of this one."""

    def resident(self) -> int:
        """See `ProcessMemory`."""
        return resident_bytes()

    def libraries(self) -> int:
        """See `ProcessMemory`."""
        return sum(not name.startswith(OWN_MODULES) for name in list(sys.modules))

    def return_freed(self, *, collect: bool) -> None:
        """See `ProcessMemory`."""
        if collect:
            COLLECTOR.collect()
        else:
            return_freed_memory()


@dataclass(slots=True, eq=False)
class LoadWatch:
    """One load, of a model of that `name`. `before`: what the process took up when it began. `given_back`: by models
    that were closed meanwhile, less what was taken by those that it has waited for. `libraries`: how many there were
    before. `waiting`: the loads that have done nothing else all the time. `most`: how many loads were under way at a
    time.

    Once it is over: `bytes`: what it has taken; None if that cannot be told. `own`: whether all of that is the model's
    own. `imported`: whether libraries are in it, which stay when the model goes.
    """

    name: str
    began_s: float
    before: int = 0
    given_back: int = 0
    libraries: int = 0
    waiting: set["LoadWatch"] = field(default_factory=set)
    most: int = 1
    bytes: int | None = None
    own: bool = True
    imported: bool = False


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
        # Who waits for a turn, in the order in which they came; set for the first of them when it may have come.
        self._line: dict[asyncio.Event, None] = {}
        # How often each model waits for the load of another one.
        self._aside: Counter[str] = Counter()
        # What is being closed, how much of it was in use, and whether all of that is given back.
        self._closing: dict[object, tuple[int, bool]] = {}
        # How often that has begun or ended.
        self._closings = 0
        # What of it nobody waits for any more.
        self._slow: set[object] = set()
        # What may have been left in cycles, and the search for that.
        self._left = 0
        self._collecting: asyncio.Future[None] | None = None
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def watch(self, name: str, given_up: asyncio.Event) -> AsyncIterator[LoadWatch]:
        """While a version of a model is loaded. `given_up`: nobody wants it any more, so that it need not wait."""
        if self._budget is not None:
            await self._turn(given_up)
        watch = LoadWatch(
            name, self._clock(), waiting={each for each in self._under_way if self._is_aside(each)}
        )
        self._beside(watch)
        self._under_way[watch] = None
        for each in self._under_way:
            each.most = max(each.most, len(self._under_way))
        try:
            await self._begin(watch, given_up)
            yield watch
            await self._end(watch)
        except BaseException:
            # It may be kept by the error.
            self._left += self._budget or 0
            raise
        finally:
            del self._under_way[watch]
            self._call_next()

    @contextmanager
    def aside(self, names: Collection[str]) -> Iterator[None]:
        """While models of these names wait until another one is loaded: if they are being loaded themselves, that one
        would wait for them.
        """
        self._aside.update(names)
        self._call_next()
        try:
            yield
        finally:
            self._aside.subtract(names)
            self._aside = +self._aside
            for each in self._under_way:
                if each.name in names and not self._is_aside(each):
                    self._go_on(each)

    def _beside(self, watch: LoadWatch) -> None:
        """A load begins, or goes on, while others may be under way: nobody knows what is whose."""
        for each in self._under_way:
            if each is not watch and not self._is_aside(each):
                each.own = watch.own = False

    def _is_aside(self, watch: LoadWatch) -> bool:
        return self._aside[watch.name] > 0

    def _go_on(self, watch: LoadWatch) -> None:
        """A load does something else again than wait for others, which may not be over."""
        watch.began_s = self._clock()
        for each in self._under_way:
            each.waiting.discard(watch)
        self._beside(watch)

    async def _turn(self, given_up: asyncio.Event) -> None:
        """Wait until no other load is under way that anybody waits for."""
        called = asyncio.Event()
        self._line[called] = None
        try:
            while not given_up.is_set():
                is_first = next(iter(self._line)) is called
                left_s = self._busy_s() if is_first else None
                if left_s == 0:
                    return
                called.clear()
                await any_of(called.wait(), given_up.wait(), timeout_s=left_s)
        finally:
            del self._line[called]
            self._call_next()

    def _busy_s(self) -> float:
        """How long to wait at most for the loads that are under way, if none of them ends."""
        now_s = self._clock()
        busy = [each.began_s + PATIENCE_S - now_s for each in self._under_way if not self._is_aside(each)]
        return max([0.0, *busy])

    def _call_next(self) -> None:
        if self._line:
            next(iter(self._line)).set()

    async def _begin(self, watch: LoadWatch, given_up: asyncio.Event) -> None:
        if self._budget is not None and not given_up.is_set():
            await self._settle(self._budget)
        watch.libraries = self._memory.libraries()
        watch.before, watch.given_back = self._memory.resident(), 0

    async def _end(self, watch: LoadWatch) -> None:
        if self._budget is not None:
            slow = await self._settle(self._budget)
            watch.given_back += slow
            watch.own &= not slow
        watch.imported = self._memory.libraries() > watch.libraries
        watch.own &= not watch.imported
        if not watch.before:
            return
        grown = max(0, self._memory.resident() - watch.before + watch.given_back)
        # Where there is a budget, all of it may be this one's.
        watch.bytes = grown if self._budget is not None else grown // watch.most
        for each in watch.waiting & self._under_way.keys():
            each.given_back -= watch.bytes

    async def _settle(self, budget: int) -> int:
        """Give the system what is not used, with nothing being closed before it is done: that may have given back its
        own already, or not. Returns the size of what takes too long, the first time.
        """
        deadline = self._clock() + _CLOSING_S
        while True:
            while self._closing.keys() - self._slow and self._clock() < deadline:
                await any_of(self._changed.wait(), timeout_s=deadline - self._clock())
            closings = self._closings
            await self._return_freed(collect=self._left > budget * _WORTH_COLLECTING)
            if closings == self._closings or self._clock() >= deadline:
                break
        late = self._closing.keys() - self._slow
        self._slow |= late
        return sum(self._closing[each][0] for each in late)

    async def _return_freed(self, *, collect: bool) -> None:
        """A search for cycles executes finalizers of models, which may hang: so it has a thread of its own, is not
        waited for for ever, and no other one begins meanwhile.
        """
        if not collect or (self._collecting is not None and not self._collecting.done()):
            await asyncio.to_thread(self._memory.return_freed, collect=False)
            return
        left = self._left
        self._collecting = on_own_thread(partial(self._memory.return_freed, collect=True), "freed-memory")
        if await any_of(self._collecting, timeout_s=_CLOSING_S):
            self._left = max(0, self._left - left)

    def closing(self, what: object, size: int, *, whole: bool = True) -> None:
        """Something begins to give back so many bytes of this process; if not `whole`, some of that may stay."""
        self._closing[what] = size, whole
        self._closings += 1

    def closed(self, what: object) -> None:
        """It has, if it has begun."""
        size, whole = self._closing.pop(what, (0, True))
        self._slow.discard(what)
        self._closings += 1
        self._left += size
        for each in self._under_way:
            each.given_back += size
            each.own &= whole
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
