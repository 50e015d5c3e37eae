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
        # What it was when it was last looked, and since when that has not changed.
        self._seen = 0
        self._since_s = 0.0
        tender.watch(self)

    def used(self) -> None:
        """Something is done that may need memory."""
        self._uses += 1
        self._tender.wake()

    def tend(self, now: float) -> bool:
        """Give it back if it is time, as of `now` on the monotonic clock. Whether there will be more to do."""
        uses = self._uses
        if uses == self._seen:
            if not uses or now - self._since_s < IDLE_S:
                return uses > 0
            self._give_back()
            return False
        self._seen, self._since_s = uses, now
        return True
