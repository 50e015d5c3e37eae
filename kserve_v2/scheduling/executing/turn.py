"""Requests that come in the same turn of the event loop, gathered to be executed together at its end.

What is done for many requests one after the other, be it reading them, executing them or answering, takes less time for
each: the CPU has the code at hand.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from kserve_v2.scheduling.pending import Pending

# After two requests in one turn of the event loop there must be several clients: the next requests, this many, wait for
# the end of their turn. Then it is seen whether that has been worth while.
CROWD_REQUESTS = 64

# After one in this many requests that are executed alone, it is found out whether others came in the same turn of the
# loop. That takes another turn. Where it was not worth while to gather them, it is found out less and less often.
# Powers of two.
LOOK_EVERY, MAX_LOOK_EVERY = 16, 1024

# One in this many goes to the thread, so that hand-overs are still measured. Rarely, because requests that come
# meanwhile have to follow it there. A multiple of the above.
PROBE_EVERY = 4096


class Turn:
    """The turn of the event loop that is under way."""

    def __init__(
        self, execute: Callable[[OrderedDict[Pending, None]], None], pays: Callable[[int, int], bool]
    ) -> None:
        """`execute` is called with what was gathered, at the end of the turn, and takes it out. `pays` says whether it
        is worth while to gather so many requests for so many executions.
        """
        self._execute = execute
        self._pays = pays
        self._loop = asyncio.get_running_loop()
        self.gathered: OrderedDict[Pending, None] = OrderedDict()
        """Those that wait for the end of this turn."""
        self._ending: OrderedDict[Pending, None] = OrderedDict()
        self._decisions = 0
        self._alone = True
        self._look_every = LOOK_EVERY
        self.crowded = False
        """Whether several requests are expected in a turn, and it is worth while to gather them."""
        # What has become of the requests of this crowd so far.
        self._requests = self._executions = 0

    def __repr__(self) -> str:
        return (
            f"<Turn gathered={len(self.gathered)} crowded={self.crowded} {self._requests} requests in "
            f"{self._executions} executions>"
        )

    def goes_alone(self) -> bool:
        """Whether to execute a request at once: if those before it came alone, as far as anybody has looked."""
        if self.gathered or self.crowded:
            return False
        if not self._alone:
            self.crowded = True
            return False
        self._decisions += 1
        if self._decisions % self._look_every == 0:
            if self._decisions % PROBE_EVERY == 0:
                return False
            self._begin()
        return True

    def gather(self, pending: Pending) -> None:
        """Let a request wait for the end of the turn."""
        if self._alone:
            self._begin()
        self.gathered[pending] = None

    def discard(self, pending: Pending) -> bool:
        """Take out a request that waits for the end of the turn. False: it does not."""
        for waiting in (self.gathered, self._ending):
            if pending in waiting:
                del waiting[pending]
                return True
        return False

    def executed(self, requests: int) -> None:
        """So many of those that were gathered have been executed at a time."""
        self._requests += requests
        self._executions += 1

    def _begin(self) -> None:
        self._alone = False
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        self._alone = True
        if not self.gathered:
            return
        # Requests that come while these are executed belong to the next turn.
        self._ending, self.gathered = self.gathered, OrderedDict()
        self._execute(self._ending)
        if self._requests >= CROWD_REQUESTS:
            self._look_back()

    def _look_back(self) -> None:
        self.crowded = self._pays(self._requests, self._executions)
        self._look_every = LOOK_EVERY if self.crowded else min(2 * self._look_every, MAX_LOOK_EVERY)
        self._requests = self._executions = 0
