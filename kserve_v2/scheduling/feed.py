"""Where instances get their work from."""

from typing import NamedTuple, Protocol

from kserve_v2.scheduling.limiting.rate_limiter import Gate, Permit
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.policy import BatchRules
from kserve_v2.scheduling.statistics import BatchReason


class Batch(NamedTuple):
    """Requests that one instance has taken to execute together. `permit`: what it holds of resources meanwhile."""

    members: list[Pending]
    reason: BatchReason
    taken_ns: int
    permit: Permit | None = None


class Feed(Protocol):
    """What instances pull their batches from: the one place where the event loop and their threads meet."""

    def take(self, slot: int) -> Batch | None:
        """Block until there is a batch for the instance of this number, and take it. None: the feed is closed, and
        nothing is left in it.
        """
        ...

    def put_back(self, batch: Batch) -> bool:
        """Let others have a batch that was taken for nothing. False: the feed is closed, and it is not in it."""
        ...

    def executed(self, batch: Batch) -> None:
        """The execution of a batch is over, however it ended. May be called again."""
        ...

    def leave(self, slot: int) -> None:
        """The instance of this number takes nothing any more: it is closed, or lost."""
        ...

    def discard(self, pending: Pending) -> bool:
        """Take a request out. True: it never ran and never will. False: an instance has it, or had it."""
        ...

    def close(self) -> None:
        """Take no more requests. Instances execute what is waiting, then `take` gives them None."""
        ...

    def abandon(self) -> list[Pending]:
        """Remove and return all that is waiting."""
        ...

    def __len__(self) -> int:
        """How many requests are waiting."""
        ...


class RequestFeed(Feed, Protocol):
    """A feed as a target that fills it needs it, and as who executes in place looks at it. On the event loop's thread.

    `rules`: when a batch is complete. `gate`: whom instances ask before they take something. `sleeping`: how many
    instances sleep; `all_sleeping`: what that is when all do, -1 if it cannot be told.
    """

    rules: BatchRules
    gate: Gate | None
    sleeping: int
    all_sleeping: int

    @property
    def levels(self) -> list[int]:
        """How many requests wait on each level of priority."""
        ...

    @property
    def idle(self) -> bool:
        """Whether every instance sleeps."""
        ...

    def put(self, pending: Pending) -> bool:
        """Append a request. False: there is no room, or the feed is closed, and the request is not in it."""
        ...

    def postpone(self, pending: Pending) -> bool:
        """Move a request behind all that have not been postponed. False: an instance has it already."""
        ...
