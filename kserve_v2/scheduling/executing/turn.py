"""Requests that come in the same turn of the event loop, gathered to be executed together at its end.

What is done for many requests one after the other, be it reading them, executing them or answering, takes less time for
each: the CPU has the code at hand.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from kserve_v2.scheduling.pending import Pending

# After two requests in one turn of the event loop there must be several clients: the next requests, this many, wait for
# the end of their turn.
CROWD_REQUESTS = 64

# After one in this many requests that are executed alone, it is found out whether others came in the same turn of the
# loop. That takes another turn.
LOOK_EVERY = 16

# One in this many goes to the thread, so that hand-overs are still measured. Rarely, because requests that come
# meanwhile have to follow it there.
PROBE_EVERY = 4096


class Turn:
    """The turn of the event loop that is under way."""

    def __init__(self, execute: Callable[[OrderedDict[Pending, None]], None]) -> None:
        """`execute` is called with what was gathered, at the end of the turn, and takes it out."""
        self._execute = execute
        self._loop = asyncio.get_running_loop()
        self.gathered: OrderedDict[Pending, None] = OrderedDict()
        """Those that wait for the end of this turn."""
        self._ending: OrderedDict[Pending, None] = OrderedDict()
        self._decisions = 0
        self._alone = True
        self._crowd = 0

    def __repr__(self) -> str:
        return f"<Turn gathered={len(self.gathered)} crowd={self._crowd}>"

    def goes_alone(self) -> bool:
        """Whether to execute a request at once: if those before it came alone, as far as anybody has looked."""
        if self.gathered or self._crowd:
            return False
        if not self._alone:
            self._crowd = CROWD_REQUESTS
            return False
        self._decisions += 1
        if self._decisions % LOOK_EVERY == 0:
            if self._decisions % PROBE_EVERY == 0:
                return False
            self._begin()
        return True

    @property
    def crowded(self) -> bool:
        """Whether several requests are expected in a turn."""
        return self._crowd > 0

    def gather(self, pending: Pending) -> None:
        """Let a request wait for the end of the turn."""
        if self._alone:
            self._begin()
        if self._crowd:
            self._crowd -= 1
        self.gathered[pending] = None

    def discard(self, pending: Pending) -> bool:
        """Take out a request that waits for the end of the turn. False: it does not."""
        for waiting in (self.gathered, self._ending):
            if pending in waiting:
                del waiting[pending]
                return True
        return False

    def _begin(self) -> None:
        self._alone = False
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        self._alone = True
        if not self.gathered:
            return
        # Requests that come while these are executed belong to the next turn.
        self._ending, self.gathered = self.gathered, OrderedDict()
        if len(self._ending) > 1:
            self._crowd = CROWD_REQUESTS
        self._execute(self._ending)
