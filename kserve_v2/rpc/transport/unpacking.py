"""Messages that are compressed: small ones are unpacked where they come, others in slices, in turns with all else."""

import zlib
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from kserve_v2.errors import InvalidArgumentError, ResourceExhaustedError, ServingError
from kserve_v2.rpc.calls import Serialized
from kserve_v2.scheduling.slices import Slicer, Slices, Work, at_once
from kserve_v2.tensors.raw import aligned_memory

# zlib's window bits, which also say what is around the data.
WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}

# The most that is read, and that comes of it, in a slice.
_READ_BYTES = 64 * 1024
_WRITE_BYTES = 256 * 1024


def too_large(size: int, max_bytes: int) -> ServingError:
    """The error for a message over the limit; clients know these words from grpc."""
    return ResourceExhaustedError(f"Received message larger than max ({size} vs. {max_bytes})")


class Packed(NamedTuple):
    """A compressed message, and the most bytes that it may become."""

    data: Serialized
    encoding: bytes
    max_bytes: int

    def unpack(self) -> Serialized:
        """The message. Raises ServingError; memory stays within `max_bytes`."""
        return at_once(self.in_slices(lambda _: None))

    def in_slices(self, made: Callable[[int], None]) -> Slices[Serialized]:
        """As `unpack`. `made` is called with the size of each part; what it raises ends this."""
        bits = WINDOW_BITS.get(self.encoding)
        if bits is None:
            raise InvalidArgumentError(
                "a message is said to be compressed, but grpc-encoding does not say how"
            )
        decompressor = zlib.decompressobj(bits)
        parts: list[bytes] = []
        read = size = most = 0
        while not decompressor.eof:
            data: Serialized = decompressor.unconsumed_tail
            if not data and not (parts and len(parts[-1]) == most):
                data = memoryview(self.data)[read : read + _READ_BYTES]
                read += len(data)
                if not data:
                    raise InvalidArgumentError(
                        f"a message compressed with {self.encoding.decode()} is cut off"
                    )
            most = min(_WRITE_BYTES, self.max_bytes + 1 - size)
            try:
                parts.append(decompressor.decompress(data, most))
            except zlib.error:
                raise InvalidArgumentError(
                    f"a message is not compressed with {self.encoding.decode()}"
                ) from None
            size += len(parts[-1])
            if size > self.max_bytes:
                raise too_large(size, self.max_bytes)
            made(len(parts[-1]))
            yield
        return (yield from _joined(parts, size)) if len(parts) > 1 else parts[0]

    @property
    def small(self) -> bool:
        """Whether it is unpacked in one slice, as far as can be told."""
        bits = WINDOW_BITS.get(self.encoding)
        if bits is None or len(self.data) > _READ_BYTES:
            return bits is None
        decompressor = zlib.decompressobj(bits)
        try:
            decompressor.decompress(self.data, _WRITE_BYTES)
        except zlib.error:
            return True
        return not decompressor.unconsumed_tail


def _joined(parts: list[bytes], size: int) -> Slices[memoryview]:
    """The parts in one place, as `calls.Serialized` says. The pages of new memory take longer than the copy."""
    whole = aligned_memory(size, aligned_at=size)
    end = 0
    for part in parts:
        begin, end = end, end + len(part)
        whole[begin:end] = part
        yield
    return whole


class Owner(Protocol):
    """What this needs of a connection."""

    slicer: Slicer

    def buffer(self, size: int) -> None:
        """`size` bytes of messages more are kept, or fewer."""
        ...

    def check_buffered(self) -> None:
        """Raise ServingError if more is kept than may be."""
        ...


class Unpacking:
    """The messages of a call from one on that is unpacked in slices: the next one is received when it is there."""

    def __init__(
        self,
        owner: Owner,
        receive: Callable[[Serialized], None],
        over: Callable[[Exception | None], None],
    ) -> None:
        """`receive` takes the messages; `over` is called when all have been received, or with one's error."""
        self._owner = owner
        self._receive = receive
        self._over = over
        self._messages: deque[Serialized | Packed] = deque()
        self._work: Work[Serialized] | None = None
        self._held_bytes = 0
        self._given_up = False

    def add(self, message: Serialized | Packed) -> None:
        """The next message. Raises as `Owner.check_buffered`."""
        self._messages.append(message)
        self._hold(len(message.data if isinstance(message, Packed) else message))
        if self._work is None:
            self._next()

    def give_up(self) -> None:
        """Nobody wants the messages any more."""
        self._given_up = True
        self._messages.clear()
        if self._work is not None:
            self._work.give_up()
        self._owner.buffer(-self._held_bytes)
        self._held_bytes = 0

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        self._owner.buffer(size)
        self._owner.check_buffered()

    def _next(self) -> None:
        """Begin with the next message that is packed, when those before it are received."""
        while self._messages and not self._given_up:
            message = self._messages.popleft()
            if isinstance(message, Packed):
                self._work = self._owner.slicer.begin(message.in_slices(self._hold), self._unpacked)
                return
            self._receive(message)
        if not self._given_up:
            self.give_up()
            self._over(None)

    def _unpacked(self, outcome: Serialized | Exception) -> None:
        self._work = None
        error = outcome if isinstance(outcome, Exception) else None
        try:
            if not isinstance(outcome, Exception):
                self._receive(outcome)
                self._next()
        except Exception as raised:  # noqa: BLE001 - a defect of ours is one call's failure
            error = raised
        if error is not None:
            self.give_up()
            self._over(error)
