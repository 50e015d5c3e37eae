"""The messages of a call of which some are compressed: one after the other, each in slices."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from kserve_v2.http2.stream_state import Bytes
from kserve_v2.rpc.calls import Serialized
from kserve_v2.rpc.options import GrpcOptions
from kserve_v2.rpc.transport.messages import Compressed, decompressed
from kserve_v2.scheduling.slices import Slicer, Work


class Holder(Protocol):
    """A connection, which counts what its calls keep."""

    options: GrpcOptions
    slicer: Slicer

    def buffer(self, size: int) -> None:
        """`size` bytes of messages more are kept, or fewer."""
        ...

    def check_buffered(self) -> None:
        """Raise ServingError if more is kept than may be: ResourceExhaustedError if the client has begun more than it
        may leave unfinished, OverloadedError if all requests of the server together are too large.
        """
        ...


class Decompressing:
    """Messages that wait for their turn. They count as kept by the connection, and so does what has come of the one
    that is being decompressed.
    """

    def __init__(
        self, owner: Holder, encoding: bytes, take: Callable[[Serialized | Exception], None]
    ) -> None:
        """`take` is called with a message that `next` did not return, or with what is wrong with it."""
        self.unread_bytes = 0
        """What the client has sent meanwhile: it may send no more than a window."""
        self.ended = False
        """Whether the client has sent its last message meanwhile."""
        self._owner = owner
        self._encoding = encoding
        self._take = take
        self._waiting: deque[Serialized | Compressed] = deque()
        self._work: Work[Serialized] | None = None
        # Of all messages that are here, and of the one that is being decompressed.
        self._held_bytes = 0
        self._its_bytes = 0

    @property
    def busy(self) -> bool:
        """Whether a message is being decompressed."""
        return self._work is not None

    def add(self, message: Serialized | Compressed) -> None:
        """One more."""
        self._hold(_size(message))
        self._waiting.append(message)

    def next(self) -> Serialized | None:
        """The next message; None if there is none, or `take` gets it. Raises ServingError."""
        if self._work is not None or not self._waiting:
            return None
        message = self._waiting.popleft()
        if isinstance(message, Compressed):
            return self._begin(message.data)
        self._hold(-len(message))
        return message

    def _begin(self, data: Bytes) -> Serialized | None:
        self._its_bytes = len(data)
        slices = decompressed(data, self._encoding, self._owner.options.max_request_bytes, self._room)
        try:
            # Most are small, and there after the first slice.
            next(slices)
        except StopIteration as end:
            self._forget()
            message: Serialized = end.value
            return message
        self._work = self._owner.slicer.begin(slices, self._done)
        return None

    def _room(self, size: int) -> bool:
        """See `slices.Room`. Raises ServingError where there is none: the message would not be taken either."""
        self._its_bytes += size
        self._hold(size)
        self._owner.check_buffered()
        return True

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        self._owner.buffer(size)

    def _forget(self) -> None:
        """The message is no longer held here."""
        self._hold(-self._its_bytes)
        self._its_bytes = 0

    def _done(self, outcome: Serialized | Exception) -> None:
        self._work = None
        self._forget()
        self._take(outcome)

    def all_taken(self) -> int:
        """How much more the client may send, once nothing is here any more."""
        unread, self.unread_bytes = self.unread_bytes, 0
        return unread

    def close(self) -> None:
        """The call is over."""
        if self._work is not None:
            self._work.give_up()
            self._work = None
        self._waiting.clear()
        self._hold(-self._held_bytes)


def _size(message: Serialized | Compressed) -> int:
    return len(message.data if isinstance(message, Compressed) else message)
