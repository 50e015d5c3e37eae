"""RPCs as data: what a server answers, free of any transport. `typed` makes some whose requests and answers are
messages, and no bytes.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kserve_v2.errors import ServingError
from kserve_v2.scheduling.replies import OneOutcome

Metadata = Sequence[tuple[str, str | bytes]]


class Context(Protocol):
    """What an RPC may ask about its call."""

    @property
    def metadata(self) -> Metadata:
        """The metadata that the client has sent."""
        ...

    def on_end(self, callback: Callable[[int, str], None]) -> None:
        """`callback` is called with the status code and its details when the answer is sent, or the client has left."""
        ...


class StreamContext(Context, Protocol):
    """The same, of a call with any number of messages."""

    def on_message(self, callback: Callable[[], None]) -> None:
        """`callback` is called as soon as a message of the client has been read, which waits until the RPC takes it;
        now, for each that waits already.
        """
        ...


Serialized = bytes | memoryview
"""A message; a large one may be a view, whose end is aligned (`raw_tensor.aligned_memory`)."""

Parts = Sequence[Serialized]
"""A message in pieces, so that large ones need not be copied."""

OnAnswer = Callable[[Parts | ServingError], None]
"""Takes the one outcome of a call: the answer, or the error."""


class Asked(OneOutcome):
    """A request that is under way. Its outcome comes in a later turn of the event loop, to what `on_answer` was set to
    in this one; nothing comes if it has been given up.
    """

    __slots__ = ("on_answer",)

    on_answer: OnAnswer


def none_recalled(_: Serialized) -> None:
    """For an RPC that has to know about each call."""


@dataclass(frozen=True, slots=True)
class Direct:
    """One message each way. `start` takes the request's bytes and returns the answer, or the request that is under way.
    `recall` does the same for a request that is like an earlier one, without asking about the call; None if it is not,
    and then nothing has happened. Both raise ServingError. `keeps_message`: the message stays in memory until the
    answer is there, and nobody else counts it.
    """

    path: str
    start: Callable[[Serialized, Context], Parts | Asked]
    recall: Callable[[Serialized], Parts | Asked | None] = none_recalled
    keeps_message: bool = False


@dataclass(frozen=True, slots=True)
class Streaming:
    """Any number of messages each way. `answer` raises ServingError for another status than OK."""

    path: str
    answer: Callable[[AsyncIterator[Serialized], StreamContext], AsyncIterator[Parts]]


Rpc = Direct | Streaming
