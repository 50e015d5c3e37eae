"""Freed memory that is kept for what comes next, given back once nothing comes for a while."""

from __future__ import annotations

from typing import Callable

from .channel.channel import IDLE_S
from .channel.tending import TENDER, Tender
from .freed_memory import return_freed_memory


class IdleMemory:
    """That of this process. From any thread."""

    def __init__(self, give_back: Callable[[], None] = return_freed_memory, tender: Tender = TENDER) -> None:
        """`tender` calls `tend`."""
        self._give_back = give_back
        self._tender = tender
        self._uses = 0
        # What it was when it was last looked, since when that has not changed, and whether there may be any.
        self._seen = 0
        self._since_s = 0.0
        self._kept = False
        tender.watch(self)

    def used(self) -> None:
        """Something is done that may need memory, or is over and has left some."""
        self._uses += 1
        self._tender.wake()

    def tend(self, now: float) -> bool:
        """Give it back if it is time, as of `now` on the monotonic clock. Whether there will be more to do."""
        uses = self._uses
        if uses != self._seen:
            self._seen, self._since_s, self._kept = uses, now, True
        elif self._kept and now - self._since_s >= IDLE_S:
            # Once: others that are tended may have this called again and again.
            self._kept = False
            self._give_back()
        return self._kept
