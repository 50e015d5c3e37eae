"""Compressed bodies: gzip and deflate (the zlib format), as Triton takes and gives them."""

import zlib

from kserve_v2.errors import InvalidArgumentError, ResourceExhaustedError, UnsupportedError

# zlib's window argument: adding 32 detects gzip and zlib headers, adding 16 writes gzip.
_DETECT = 32 + zlib.MAX_WBITS
_WRITE = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}

# Most answers stay inside a data centre, where CPU time matters more than size.
_LEVEL = 1


ENCODINGS = b", ".join(_WRITE).decode()
"""The encodings that are known, as the Accept-Encoding header of an answer lists them."""


class UnsupportedEncodingError(UnsupportedError):
    """A body has a Content-Encoding that is not known."""


def decompress(
    body: bytes | bytearray | memoryview, encoding: bytes, limit: int
) -> bytes | bytearray | memoryview:
    """The body without its Content-Encoding. `limit`: most bytes that it may have.

    Raises UnsupportedEncodingError for another encoding, InvalidArgumentError for data that is damaged, and
    ResourceExhaustedError as soon as there are too many bytes, before they take memory.
    """
    if encoding in (b"", b"identity"):
        return body
    if encoding not in _WRITE:
        raise UnsupportedEncodingError("Unsupported compression type")
    stream = zlib.decompressobj(_DETECT)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidArgumentError(f"failed to decompress the request body: {error}") from error
    if len(plain) > limit:
        raise ResourceExhaustedError(
            f"Decompressed data size exceeds the maximum allowed value of {limit} bytes. "
            "Use --http-max-input-size to increase the limit."
        )
    if not stream.eof or stream.unused_data:
        problem = "data follows its end" if stream.eof else "it ends too early"
        raise InvalidArgumentError(f"failed to decompress the request body: {problem}")
    return plain


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


def compress(parts: tuple[bytes | memoryview, ...], encoding: bytes) -> bytes:
    """The parts of a body as one compressed piece."""
    stream = zlib.compressobj(_LEVEL, wbits=_WRITE[encoding])
    return b"".join([*(stream.compress(part) for part in parts), stream.flush()])
