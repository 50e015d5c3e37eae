"""The frames of HTTP/2 (RFC 9113, sections 4 and 6) as bytes."""

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum

from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (section 3.4)."""

HEADER_BYTES = 9
DEFAULT_WINDOW_BYTES = 65_535
MAX_WINDOW_BYTES = 2**31 - 1
DEFAULT_MAX_FRAME_BYTES = 2**14
LARGEST_MAX_FRAME_BYTES = 2**24 - 1
LAST_STREAM_ID = 2**31 - 1
PING_BYTES = 8


class Kind(IntEnum):
    """Types of frames."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9


# Flags. The same bit means the one or the other, by the type of the frame.
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20


class Setting(IntEnum):
    """Identifiers of settings (section 6.5.2)."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


# The length takes 24 bits, the type the 8 that follow: together a word.
HEAD = struct.Struct(">IBI")
"""A frame's head: `length << 8 | kind`, flags, stream."""

_SETTING = struct.Struct(">HI")
WORD = struct.Struct(">I")
"""What RST_STREAM and WINDOW_UPDATE consist of."""

_TWO_WORDS = struct.Struct(">II")


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def settings(values: Mapping[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(_SETTING.pack(*value) for value in values.items()))


SETTINGS_ACK = frame(Kind.SETTINGS, ACK, 0)


def ping(payload: bytes, *, ack: bool = False) -> bytes:
    """A PING frame of 8 bytes, or the answer to one."""
    return frame(Kind.PING, ACK if ack else 0, 0, payload)


def reset(stream_id: int, code: ErrorCode) -> bytes:
    """A RST_STREAM frame."""
    return frame(Kind.RST_STREAM, 0, stream_id, WORD.pack(code))


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 for the connection."""
    return frame(Kind.WINDOW_UPDATE, 0, stream_id, WORD.pack(increment))


def goaway(last_stream_id: int, code: ErrorCode, debug: bytes = b"") -> bytes:
    """A GOAWAY frame."""
    return frame(Kind.GOAWAY, 0, 0, _TWO_WORDS.pack(last_stream_id, code) + debug)


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Identifiers and values of a SETTINGS frame. Raises ConnectionFaultError."""
    if len(payload) % _SETTING.size:
        raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR, "a SETTINGS frame ends within a setting")
    return _SETTING.iter_unpack(payload)


def header_fragment(flags: int, payload: bytes) -> bytes:
    """The part of the header block in a HEADERS frame, which may have padding and a priority. Raises
    ConnectionFaultError.
    """
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ConnectionFaultError(
                ErrorCode.FRAME_SIZE_ERROR, "a padded frame without the padding's length"
            )
        start, end = 1, end - payload[0]
    if flags & PRIORITY:
        start += 5
    if start > end:
        raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "the padding is longer than the frame")
    return payload[start:end]
