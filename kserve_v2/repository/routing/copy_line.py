"""The line of copies before a version that is a shadow: clients come first, whatever waits in it."""

import asyncio
from collections import deque
from typing import Protocol


class Copy(Protocol):
    """A request that is executed once more, of which nobody waits for the answer."""

    @property
    def may_begin(self) -> bool:
        """Whether it would keep no client waiting that has come before it."""
        ...

    def begin(self) -> None:
        """Have it executed. `CopyLine.ended` is called at the end, perhaps before this returns."""
        ...

    def drop(self) -> None:
        """There is no room for it, or no time: it is not executed, or given up."""
        ...


class CopyLine:
    """Has the copies for one version executed, one at a time: a client's request waits for one of them at worst. One
    that waits does so behind other copies alone; as soon as clients keep the version busy, all that wait are dropped.

    Lives on the event loop. It does not know the version, which may be closed and forgotten.
    """

    def __init__(self) -> None:
        self._waiting: deque[Copy] = deque()
        self._executing: Copy | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()

    def put(self, copy: Copy) -> None:
        """Have a copy executed now, when those before it are over, or not at all."""
        self._waiting.append(copy)
        self._begin_next()

    def ended(self, copy: Copy) -> None:
        """One that has begun is over. The next one begins in a later turn of the loop, after what clients ask in this
        one.
        """
        if self._executing is copy:
            self._executing = None
            if self._waiting:
                self._loop.call_soon(self._begin_next)

    def close(self) -> bool:
        """Nothing is executed any more: what has begun is given up. Says whether there was any: it may go on for a
        while in the version, although nobody waits for it.
        """
        self._closed = True
        self._drop_waiting()
        executing, self._executing = self._executing, None
        if executing is not None:
            executing.drop()
        return executing is not None

    def _begin_next(self) -> None:
        if self._executing is not None or not self._waiting:
            return
        if self._closed or not self._waiting[0].may_begin:
            self._drop_waiting()
            return
        self._executing = self._waiting.popleft()
        self._executing.begin()

    def _drop_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft().drop()
