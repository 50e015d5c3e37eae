"""The messages of a call of which some are compressed: one after the other, each in slices."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from kserve_v2.rpc.calls import Serialized
from kserve_v2.rpc.options import GrpcOptions
from kserve_v2.rpc.transport.messages import Compressed, decompressed
from kserve_v2.scheduling.slices import Slicer, Slices, Work


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
        self,
        owner: Holder,
        encoding: bytes,
        take: Callable[[Serialized], None],
        over: Callable[[Exception | None], None],
    ) -> None:
        """`take` is called with each message; it may raise ServingError. `over`: with that, or None when all are taken,
        if that was not so when `add` returned.
        """
        self.unread_bytes = 0
        """What the client has sent meanwhile: it may send no more than a window."""
        self.ended = False
        """Whether the client has sent its last message meanwhile."""
        self._owner = owner
        self._encoding = encoding
        self._take = take
        self._over = over
        self._waiting: deque[Serialized | Compressed] = deque()
        self._work: Work[None] | None = None
        # Of all messages that are here, and of the one that is being decompressed.
        self._held_bytes = 0
        self._its_bytes = 0

    @property
    def busy(self) -> bool:
        """Whether a message is being decompressed."""
        return self._work is not None

    def add(self, message: Serialized | Compressed) -> None:
        """One more. Raises ServingError."""
        self._hold(_size(message))
        self._waiting.append(message)
        if self._work is None:
            slices = self._take_all()
            try:
                # Most are small, and there after the first slice.
                next(slices)
            except StopIteration:
                return
            self._work = self._owner.slicer.begin(slices, self._done)

    def _take_all(self) -> Slices[None]:
        while self._waiting:
            message = self._waiting.popleft()
            self._its_bytes = _size(message)
            if isinstance(message, Compressed):
                max_bytes = self._owner.options.max_request_bytes
                message = yield from decompressed(message.data, self._encoding, max_bytes, self._room)
            # It is no longer held here.
            self._hold(-self._its_bytes)
            self._take(message)
            self._owner.check_buffered()

    def _done(self, outcome: Exception | None) -> None:
        self._work = None
        self._over(outcome)

    def _room(self, size: int) -> bool:
        """See `slices.Room`. Raises ServingError where there is none: the message would not be taken either."""
        self._its_bytes += size
        self._hold(size)
        self._owner.check_buffered()
        return True

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        self._owner.buffer(size)

    def close(self) -> None:
        """The call is over."""
        if self._work is not None:
            self._work.give_up()
            self._work = None
        self._waiting.clear()
        self._hold(-self._held_bytes)


def _size(message: Serialized | Compressed) -> int:
    return len(message.data if isinstance(message, Compressed) else message)
