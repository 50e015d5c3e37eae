"""Header fields, and what may be one of a request (RFC 9113, sections 8.2 and 8.3)."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

Field = tuple[bytes, bytes]

Head = TypeVar("Head")
"""What the fields of a request mean to those who answer it."""

FIELD_OVERHEAD_BYTES = 32
"""What a field counts for in the size of a header list and of a table, beside its name and value."""

MALFORMED = 0x10
"""The mark of a field that is not allowed, and of fields that cannot be those of one request, or of its trailers."""

_PSEUDO = {b":method": 0x1, b":scheme": 0x2, b":path": 0x4, b":authority": 0x8}

OF_REQUEST, REQUIRED = MALFORMED | 0x7, 0x7
"""Fields whose marks, all together, are REQUIRED in the bits of OF_REQUEST are those of a request."""

_OF_HTTP_1 = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
# These are looked up, all others are looked at.
_USUAL = (
    b"authorization", b"content-type", b"grpc-accept-encoding", b"grpc-encoding", b"grpc-timeout", b"traceparent",
    b"tracestate", b"user-agent", b"x-request-id",
)  # fmt: skip
_NAME_MARKS = {**dict.fromkeys(_USUAL, 0), **_PSEUDO, **dict.fromkeys((b"", *_OF_HTTP_1), MALFORMED)}
_NAME_BYTES = bytes(set(range(0x21, 0x7F)) - set(b'ABCDEFGHIJKLMNOPQRSTUVWXYZ:"(),/;<=>?@[\\]{}'))

# As numbers: these are found in a tenth of the time that strings of one byte take.
NUL, LF, CR = b"\0\n\r"


def mark(name: bytes, value: bytes) -> int:
    """0 for a regular field, a bit for each pseudo-header field of requests, or MALFORMED."""
    if NUL in value or LF in value or CR in value or value.strip(b" \t") != value:
        return MALFORMED
    if name == b"te" and value != b"trailers":
        return MALFORMED
    found = _NAME_MARKS.get(name)
    if found is not None:
        return found
    return MALFORMED if name.translate(None, _NAME_BYTES) else 0


class ReadHead(Protocol[Head]):
    """Who knows what fields mean."""

    def __call__(
        self, fields: Sequence[Field], nbytes: int, begun: Head | None = None, count: int = 0
    ) -> Head:
        """What the fields of a request mean, which are a list of so many bytes; it depends on nothing else. `begun`:
        what the first `count` of them mean alone, where that is known.
        """
        ...
