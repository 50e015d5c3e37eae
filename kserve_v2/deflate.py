"""Compression of bodies and of messages, in slices: gzip, and deflate, which is the zlib format."""

import zlib
from collections.abc import Iterable, Mapping

from kserve_v2.scheduling.slices import Room, Slices

Data = bytes | bytearray | memoryview

# zlib's window bits, which also say what is around the data: adding 16 means gzip, adding 32 either of both.
FORMATS: Mapping[bytes, int] = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
EITHER_FORMAT = 32 + zlib.MAX_WBITS

# How much is read, and written, in a slice.
_READ_BYTES = 32 * 1024
_WRITE_BYTES = 512 * 1024

_PIECE_BYTES = 128 * 1024


class DamagedError(Exception):
    """What should be compressed is not, is cut off, or has something behind its end; says which."""


class OverlongError(Exception):
    """There is more in it than there may be."""


def inflated(data: Data, window_bits: int, limit: int, room: Room) -> Slices[list[bytes]]:
    """What was compressed, in pieces of up to half a MiB, and in slices for as long as there is `room` for what has
    come of it; of the rest there is one piece. `limit`: most bytes that it may have. Raises DamagedError, and
    OverlongError as soon as there are too many bytes, before they take memory.
    """
    stream = zlib.decompressobj(window_bits)
    pieces: list[bytes] = []
    read = size = 0
    sliced = True
    while read < len(data) and not stream.eof:
        part: bytes | memoryview = memoryview(data)[read : read + _READ_BYTES]
        read += len(part)
        most = 0
        # What has been read can come to any number of pieces, of which all but the last are full.
        while not stream.eof and (part or len(pieces[-1]) == most):
            if pieces and sliced:
                yield
            most = min(_WRITE_BYTES, limit + 1 - size)
            try:
                pieces.append(stream.decompress(part, most))
            except zlib.error as error:
                raise DamagedError(str(error)) from error
            size += len(pieces[-1])
            if size > limit:
                raise OverlongError
            part = stream.unconsumed_tail
            sliced = sliced and room(len(pieces[-1]))
    if not stream.eof or stream.unused_data or read < len(data):
        raise DamagedError("data follows its end" if stream.eof else "it ends too early")
    return pieces if sliced else [b"".join(pieces)]


def deflated(
    parts: Iterable[Data], window_bits: int, level: int = zlib.Z_DEFAULT_COMPRESSION
) -> Slices[list[bytes]]:
    """The parts compressed, in pieces that are worth to be sent on their own."""
    stream = zlib.compressobj(level, wbits=window_bits)
    pieces: list[bytes] = []
    small: list[bytes] = []
    for part in parts:
        view = memoryview(part).cast("B") if len(part) else memoryview(b"")
        for at in range(0, len(view), _READ_BYTES):
            small.append(stream.compress(view[at : at + _READ_BYTES]))
            if sum(map(len, small)) >= _PIECE_BYTES:
                pieces.append(b"".join(small))
                small = []
            yield
    return [*pieces, b"".join([*small, stream.flush()])]
