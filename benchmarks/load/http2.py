"""As much of HTTP/2 (RFC 9113) and HPACK (RFC 7541) as one gRPC call at a time on a connection needs."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 0x1
END_HEADERS = 0x4

DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = 2**31 - 1
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 4, 5
LEAST_MAX_FRAME, LARGEST_MAX_FRAME = 2**14, 2**24 - 1
_FRAME_HEADER = 9

# Indices of HPACK's static table: whole fields, and names.
POST, SCHEME_HTTP, STATUS_200 = 0x83, 0x86, 0x88
AUTHORITY, PATH, CONTENT_TYPE = 1, 4, 31


class Frame(NamedTuple):
    """One frame as it was received."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as it goes over the socket."""
    return frame_header(len(payload), kind, flags, stream) + payload


def frame_header(length: int, kind: int, flags: int, stream: int) -> bytes:
    """What goes before a payload of so many bytes."""
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream)


def take_frames(buffer: bytearray) -> Iterator[Frame]:
    """Remove the complete frames from the front of `buffer`."""
    position = 0
    while len(buffer) - position >= _FRAME_HEADER:
        end = position + _FRAME_HEADER + int.from_bytes(buffer[position : position + 3])
        if len(buffer) < end:
            break
        kind, flags, stream = struct.unpack_from(">BBI", buffer, position + 3)
        yield Frame(kind, flags, stream, bytes(buffer[position + _FRAME_HEADER : end]))
        position = end
    del buffer[:position]


class Skimmer:
    """Reads frames as their bytes pass by. The payload of DATA is counted, not kept: its frames come without."""

    def __init__(self) -> None:
        self.data_bytes = 0
        """The payload of all DATA frames so far."""
        self._rest = b""
        self._data: Frame | None = None
        self._missing_bytes = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with `data`."""
        data, position = self._rest + data, 0
        while True:
            if self._data is not None:
                step = min(self._missing_bytes, len(data) - position)
                position, self._missing_bytes = position + step, self._missing_bytes - step
                if self._missing_bytes:
                    break
                yield self._data
                self._data = None
            start = position + _FRAME_HEADER
            if len(data) < start:
                break
            length = int.from_bytes(data[position : position + 3])
            kind, flags, stream = struct.unpack_from(">BBI", data, position + 3)
            if kind == DATA:
                self._data, self._missing_bytes, position = Frame(kind, flags, stream, b""), length, start
                self.data_bytes += length
            elif len(data) < start + length:
                break
            else:
                position = start + length
                yield Frame(kind, flags, stream, data[start:position])
        self._rest = data[position:]


def open_windows() -> bytes:
    """Settings and a window update that let the peer send 2 GiB before it has to wait for us."""
    settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGEST_WINDOW)
    grant = struct.pack(">I", LARGEST_WINDOW - DEFAULT_WINDOW)
    return frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, grant)


def large_frames() -> bytes:
    """Settings that let the peer send frames of up to 16 MiB."""
    return frame(SETTINGS, 0, 0, struct.pack(">HI", MAX_FRAME_SIZE, LARGEST_MAX_FRAME))


def acknowledgement(received: Frame) -> bytes:
    """The answer that a SETTINGS or PING frame has to get; nothing for all others."""
    if received.flags & ACK or received.kind not in (SETTINGS, PING):
        return b""
    return frame(received.kind, ACK, 0, received.payload if received.kind == PING else b"")


def literal(name: int | bytes, value: bytes) -> bytes:
    """A header field that stays out of the compression table, so that the same bytes do for every request.

    `name`: its text, or its index in the static table. Name and value are shorter than 127 bytes.
    """
    if isinstance(name, bytes):
        head = bytes([0, len(name)]) + name
    else:
        head = bytes([name]) if name < 15 else bytes([15, name - 15])
    return head + bytes([len(value)]) + value
