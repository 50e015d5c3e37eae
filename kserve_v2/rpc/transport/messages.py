"""Length-prefixed messages of gRPC over HTTP/2, and their compression."""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from kserve_v2.deflate import FORMATS, DamagedError, OverlongError, deflated, inflated
from kserve_v2.errors import InvalidArgumentError, ResourceExhaustedError, ServingError, UnsupportedError
from kserve_v2.http2.stream_state import Bytes
from kserve_v2.net.read_in_place import LARGE_BYTES
from kserve_v2.rpc.calls import Parts
from kserve_v2.scheduling.slices import Room, Slices, any_room
from kserve_v2.tensors.raw import aligned_memory

JOINED_BYTES = 64 * 1024
"""Up to this size, what is sent is copied into one piece."""

PREFIX = struct.Struct(">BI")
"""Whether the message is compressed, and its length."""

# Memory for a large message is allocated once this share of it has arrived (or LARGE_BYTES), so that a client that
# announces much and sends little cannot make the server use much.
_BEGUN_SHARE = 128

ACCEPTED_ENCODINGS = b"identity,deflate,gzip"


def choose_encoding(level: str, accepted: bytes) -> bytes:
    """The encoding of answers for a client that takes the ones in `accepted`, b"" for none.

    `level`: "none", "low", "medium" or "high". grpc ranks its algorithms by how much they compress: gzip, deflate.
    """
    if level == "none":
        return b""
    names = {name.strip() for name in accepted.split(b",")}
    ranking = [name for name in (b"gzip", b"deflate") if name in names]
    if not ranking:
        return b""
    return ranking[{"low": 0, "medium": len(ranking) // 2, "high": -1}[level]]


def known_encoding(encoding: bytes) -> bool:
    """Whether messages with this `grpc-encoding` can be read."""
    return encoding in (b"", b"identity") or encoding in FORMATS


def framed(message: Parts, encoding: bytes) -> Slices[Parts]:
    """Prefix and message as they are sent: compressed where that makes it smaller."""
    size = sum(map(len, message))
    if encoding:
        pieces = yield from deflated(message, FORMATS[encoding])
        smaller = sum(map(len, pieces))
        if smaller < size:
            return PREFIX.pack(1, smaller), *pieces
    return PREFIX.pack(0, size), *message


def in_frames(parts: Parts) -> Parts:
    """What to send one after the other, each in frames of its own: small parts are put together."""
    found: list[Bytes] = []
    together: list[Bytes] = []
    size = 0
    for part in parts:
        if size + len(part) >= JOINED_BYTES and together:
            found.append(b"".join(together))
            together, size = [], 0
        if len(part) >= JOINED_BYTES:
            found.append(part)
        else:
            together.append(part)
            size += len(part)
    if together:
        found.append(b"".join(together))
    return found


class Compressed(NamedTuple):
    """A message that is still to be decompressed."""

    data: Bytes


def decompressed(data: Bytes, encoding: bytes, max_bytes: int, room: Room = any_room) -> Slices[Bytes]:
    """A compressed message, in slices; a large one is a view, as one that was not compressed. Raises ServingError;
    memory stays within `max_bytes`.
    """
    window_bits = FORMATS.get(encoding)
    if window_bits is None:
        raise InvalidArgumentError("a message is said to be compressed, but grpc-encoding does not say how")
    try:
        pieces = yield from inflated(data, window_bits, max_bytes, room)
    except OverlongError:
        raise too_large(max_bytes + 1, max_bytes) from None
    except DamagedError as error:
        raise InvalidArgumentError(
            f"a message cannot be decompressed with {encoding.decode()}: {error}"
        ) from error
    if len(pieces) == 1:
        return pieces[0]
    size = sum(map(len, pieces))
    whole, at = large_memory(size), 0
    for piece in pieces:
        whole[at : at + len(piece)] = piece
        at += len(piece)
        yield
    return whole


def large_memory(size: int) -> memoryview:
    """Where a large message comes to be. Raises ResourceExhaustedError."""
    try:
        return aligned_memory(size, aligned_at=size)
    except MemoryError:
        raise ResourceExhaustedError(f"no memory for a message of {size} bytes") from None


def too_large(size: int, max_bytes: int) -> ServingError:
    """The error for a message over the limit; clients know these words from grpc."""
    return ResourceExhaustedError(f"Received message larger than max ({size} vs. {max_bytes})")


class MessageReader:
    """Puts the messages of one call together. A large one is a view of memory whose end is aligned: that is where its
    last tensor ends, which can be used then where it is.
    """

    __slots__ = ("_buffer", "_chunks", "_flag", "_length", "_max_bytes", "_whole", "buffered_bytes")

    def __init__(self, max_bytes: int, buffer: Callable[[int], None]) -> None:
        """`buffer` is told of every change of `buffered_bytes`, which are those of the message that is not complete."""
        self.buffered_bytes = 0
        self._buffer = buffer
        self._max_bytes = max_bytes
        # Parts of a prefix, or of a small message.
        self._chunks: list[bytes] = []
        # A large message: each part is copied to its place at once, while it is in the CPU's cache.
        self._whole: memoryview | None = None
        self._flag = 0
        # Length of the message after its prefix; -1 until the prefix is complete.
        self._length = -1

    @property
    def partial(self) -> bool:
        """Whether a message has begun that is not complete."""
        return self.buffered_bytes > 0 or self._length >= 0

    def feed(self, data: Bytes) -> Iterator[Bytes | Compressed]:
        """The messages that are complete with `data`. Raises ServingError."""
        rest = memoryview(data)
        while True:
            wanted = PREFIX.size if self._length < 0 else self._length
            part = rest[: wanted - self.buffered_bytes]
            rest = rest[len(part) :]
            if part:
                self._add(part)
            if self.buffered_bytes < wanted:
                return
            if self._length < 0:
                self._read_prefix(self._take())
            else:
                yield self._complete()

    def place(self) -> memoryview | None:
        """Where the rest of a message can be read to, if that is a large one; `placed` is to be called then."""
        return None if self._whole is None else self._whole[self.buffered_bytes :]

    def placed(self, size: int) -> Iterator[Bytes | Compressed]:
        """As `feed`, for bytes that were read to `place`."""
        self._count(self.buffered_bytes + size)
        if self.buffered_bytes == self._length:
            yield self._complete()

    def give_up(self) -> None:
        """The call is over."""
        self._count(0)

    def _count(self, size: int) -> None:
        self._buffer(size - self.buffered_bytes)
        self.buffered_bytes = size

    def _complete(self) -> Bytes | Compressed:
        self._length = -1
        message = self._take()
        return Compressed(message) if self._flag else message

    def _read_prefix(self, prefix: Bytes) -> None:
        flag, length = PREFIX.unpack(prefix)
        if flag > 1:
            raise UnsupportedError(f"a message has the flag {flag}")
        if length > self._max_bytes:
            raise too_large(length, self._max_bytes)
        self._flag, self._length = flag, length

    def _add(self, part: memoryview) -> None:
        start, end = self.buffered_bytes, self.buffered_bytes + len(part)
        if (
            self._whole is None
            and self._length >= LARGE_BYTES
            and end >= min(self._length // _BEGUN_SHARE, LARGE_BYTES)
        ):
            self._whole = self._place()
        if self._whole is not None:
            self._whole[start:end] = part
        else:
            # A copy: a view would keep the whole read alive.
            self._chunks.append(bytes(part))
        self._count(end)

    def _place(self) -> memoryview:
        """Where a large message comes to be, with what there is of it."""
        whole = large_memory(self._length)
        beginning, self._chunks = b"".join(self._chunks), []
        whole[: len(beginning)] = beginning
        return whole

    def _take(self) -> Bytes:
        """What is complete."""
        whole, self._whole = self._whole, None
        chunks, self._chunks = self._chunks, []
        self._count(0)
        return b"".join(chunks) if whole is None else whole
