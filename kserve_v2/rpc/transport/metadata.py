"""What gRPC puts into header fields: timeouts, statuses, metadata."""

import base64
import binascii
from collections.abc import Sequence

from kserve_v2.http2.fields import Field
from kserve_v2.http2.headers import encode
from kserve_v2.rpc.status import percent_encoded

_UNIT_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MAX_TIMEOUT_DIGITS = 8

CONTENT_TYPE = (b"content-type", b"application/grpc")
_STATUS_200 = (b":status", b"200")

_RESERVED = (b":", b"grpc-")
_NOT_METADATA = {b"content-type", b"te", b"host"}

HEADERS = encode([_STATUS_200, CONTENT_TYPE])
"""The header block of an answer."""

OK_TRAILERS = encode([(b"grpc-status", b"0")])
"""The trailers of an answer without error."""


def headers(encoding: bytes) -> bytes:
    """The header block of an answer whose messages may be compressed; b"" for not."""
    return encode([_STATUS_200, CONTENT_TYPE, (b"grpc-encoding", encoding)]) if encoding else HEADERS


def trailers(code: int, details: str, *more: Field) -> bytes:
    """The trailers of an answer that ends with a status, and the fields `more`."""
    return encode([*_status_fields(code, details), *more])


def trailers_only(code: int, details: str, *more: Field) -> bytes:
    """The header block of an answer that consists of a status, and of the fields `more`."""
    return encode([_STATUS_200, CONTENT_TYPE, *_status_fields(code, details), *more])


def http_error(status: int, *more: Field) -> bytes:
    """The header block of an answer to what is no call."""
    return encode([(b":status", str(status).encode()), *more])


def _status_fields(code: int, details: str) -> list[Field]:
    fields: list[Field] = [(b"grpc-status", str(code).encode())]
    if details:
        fields.append((b"grpc-message", percent_encoded(details).encode()))
    return fields


def parse_timeout(value: bytes) -> float | None:
    """Seconds of a `grpc-timeout`, None for one that is malformed."""
    digits, unit = value[:-1], value[-1:]
    if unit not in _UNIT_SECONDS or not digits.isdigit() or len(digits) > _MAX_TIMEOUT_DIGITS:
        return None
    return int(digits) * _UNIT_SECONDS[unit]


def call_metadata(fields: Sequence[Field]) -> tuple[tuple[str, str | bytes], ...]:
    """The metadata of a call, which is what the application gets: `-bin` values as bytes, others as text."""
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in fields:
        if name.startswith(_RESERVED) or name in _NOT_METADATA:
            continue
        key = name.decode("ascii")
        if name.endswith(b"-bin"):
            metadata += [
                (key, decoded) for part in value.split(b",") if (decoded := _binary(part)) is not None
            ]
        else:
            metadata.append((key, value.decode("latin-1")))
    return tuple(metadata)


def _binary(text: bytes) -> bytes | None:
    """A `-bin` value, whose base64 need not be padded; None for what is no base64."""
    text = text.strip().rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None
