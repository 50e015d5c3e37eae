"""Compressed bodies: gzip and deflate (the zlib format), as Triton takes and gives them."""

import re
from collections.abc import Iterable
from functools import lru_cache

from kserve_v2.deflate import EITHER_FORMAT, FORMATS, DamagedError, OverlongError, deflated, inflated
from kserve_v2.errors import InvalidArgumentError, ResourceExhaustedError, UnsupportedError
from kserve_v2.net.preferences import preferred
from kserve_v2.scheduling.slices import Room, Slices, any_room, at_once, joined

Body = bytes | bytearray | memoryview

# Most answers stay inside a data centre, where CPU time matters more than size.
_LEVEL = 1

ENCODINGS = b", ".join(FORMATS).decode()
"""The encodings that are known, as the Accept-Encoding header of an answer lists them."""

# Triton knows them in small letters alone, and takes no blanks before a weight.
_KNOWN = re.compile(rb"(?:identity|%b)(?:;|;q=[^;]*)?" % b"|".join(FORMATS))


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
    if encoding not in FORMATS:
        raise UnsupportedEncodingError("Unsupported compression type")
    try:
        pieces = yield from inflated(body, EITHER_FORMAT, limit, room)
    except DamagedError as error:
        raise InvalidArgumentError(f"failed to decompress the request body: {error}") from error
    except OverlongError:
        raise ResourceExhaustedError(
            f"Decompressed data size exceeds the maximum allowed value of {limit} bytes. "
            "Use --http-max-input-size to increase the limit."
        ) from None
    if len(pieces) == 1:
        return pieces[0]
    return (yield from joined(pieces, sum(map(len, pieces))))


@lru_cache(maxsize=64)
def choose_encoding(accepted: bytes | None) -> bytes | None:
    """The encoding for an answer, from the Accept-Encoding header; None for no encoding.

    The highest weight wins, the first of equal ones; what is not known, malformed or refused is passed over.
    """
    if accepted is None:
        return None
    known = filter(_KNOWN.fullmatch, (item.strip() for item in accepted.split(b",")))
    best = next(iter(preferred(b",".join(known))), "identity")
    return None if best == "identity" else best.encode()


def compressed(parts: Iterable[bytes | memoryview], encoding: bytes) -> Slices[list[bytes]]:
    """The parts of a body compressed, in other parts."""
    return deflated(parts, FORMATS[encoding], _LEVEL)
