"""Compressed bodies: gzip and deflate (the zlib format), as Triton takes and gives them."""

import zlib
from collections.abc import Iterable

from kserve_v2.errors import InvalidArgumentError, ResourceExhaustedError, UnsupportedError
from kserve_v2.scheduling.slices import Room, Slices, any_room, at_once

Body = bytes | bytearray | memoryview

# zlib's window argument: adding 32 detects gzip and zlib headers, adding 16 writes gzip.
_DETECT = 32 + zlib.MAX_WBITS
_WRITE = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}

# Most answers stay inside a data centre, where CPU time matters more than size.
_LEVEL = 1

# How much is read, and written, in a slice.
_READ_BYTES = 32 * 1024
_WRITE_BYTES = 512 * 1024

ENCODINGS = b", ".join(_WRITE).decode()
"""The encodings that are known, as the Accept-Encoding header of an answer lists them."""


class UnsupportedEncodingError(UnsupportedError):
    """A body has a Content-Encoding that is not known."""


def decompress(body: Body, encoding: bytes, limit: int) -> Body:
    """The body without its Content-Encoding. `limit`: most bytes that it may have.

    Raises UnsupportedEncodingError for another encoding, InvalidArgumentError for data that is damaged, and
    ResourceExhaustedError as soon as there are too many bytes, before they take memory.
    """
    return at_once(decompressed(body, encoding, limit, any_room))


def decompressed(body: Body, encoding: bytes, limit: int, room: Room) -> Slices[Body]:
    """As `decompress`, in slices for as long as there is `room` for what has come of it."""
    if encoding in (b"", b"identity"):
        return body
    if encoding not in _WRITE:
        raise UnsupportedEncodingError("Unsupported compression type")
    stream = zlib.decompressobj(_DETECT)
    pieces: list[bytes] = []
    read = size = 0
    sliced = True
    while read < len(body) and not stream.eof:
        data: bytes | memoryview = memoryview(body)[read : read + _READ_BYTES]
        read += len(data)
        most = 0
        # What has been read can come to any number of pieces, of which all but the last are full.
        while not stream.eof and (data or len(pieces[-1]) == most):
            most = min(_WRITE_BYTES, limit + 1 - size)
            try:
                pieces.append(stream.decompress(data, most))
            except zlib.error as error:
                raise InvalidArgumentError(f"failed to decompress the request body: {error}") from error
            size += len(pieces[-1])
            if size > limit:
                raise ResourceExhaustedError(
                    f"Decompressed data size exceeds the maximum allowed value of {limit} bytes. "
                    "Use --http-max-input-size to increase the limit."
                )
            data = stream.unconsumed_tail
            sliced = sliced and room(len(pieces[-1]))
            if sliced:
                yield
    if not stream.eof or stream.unused_data or read < len(body):
        problem = "data follows its end" if stream.eof else "it ends too early"
        raise InvalidArgumentError(f"failed to decompress the request body: {problem}")
    return b"".join(pieces)


def choose_encoding(accepted: bytes | None) -> bytes | None:
    """The encoding for an answer, from the Accept-Encoding header; None for no encoding.

    The highest weight wins, the first of equal ones; what is not known, malformed or refused is passed over.
    """
    if accepted is None:
        return None
    best, best_weight = b"identity", 0.0
    for item in accepted.split(b","):
        name, _, parameter = item.strip().partition(b";")
        if name in _WRITE or name == b"identity":
            weight = _weight(parameter)
            if weight > best_weight:
                best, best_weight = name, weight
    return None if best == b"identity" else best


def _weight(parameter: bytes) -> float:
    if not parameter:
        return 1.0
    if not parameter.startswith(b"q="):
        return 0.0
    try:
        return float(parameter[2:])
    except ValueError:
        return 0.0


def compressed(parts: Iterable[bytes | memoryview], encoding: bytes) -> Slices[bytes]:
    """The parts of a body as one compressed piece."""
    stream = zlib.compressobj(_LEVEL, wbits=_WRITE[encoding])
    pieces: list[bytes] = []
    for part in parts:
        view = memoryview(part).cast("B") if len(part) else memoryview(b"")
        for at in range(0, len(view), _READ_BYTES):
            pieces.append(stream.compress(view[at : at + _READ_BYTES]))
            yield
    return b"".join([*pieces, stream.flush()])
