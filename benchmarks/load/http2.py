"""As much of HTTP/2 (RFC 9113) and HPACK (RFC 7541) as one gRPC call at a time on a connection needs."""

import struct
from collections import deque
from collections.abc import Iterable, Iterator
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
STATIC_NAMES = {AUTHORITY: b":authority", PATH: b":path", CONTENT_TYPE: b"content-type"}


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


def literal(name: int | bytes, value: bytes, *, never: bool = False) -> bytes:
    """A header field that stays out of the compression table, so that the same bytes do for every request.

    `name`: its text, or its index in the static table, below 127. `never`: whoever passes it on is to do the same.
    """
    return _named(name, 0x10 if never else 0, 15) + _string(value)


def _named(name: int | bytes, kind: int, limit: int) -> bytes:
    if isinstance(name, bytes):
        return bytes([kind]) + _string(name)
    return bytes([kind | name]) if name < limit else bytes([kind | limit, name - limit])


def _string(text: bytes) -> bytes:
    """Not in Huffman code."""
    length = len(text)
    if length < 127:
        return bytes([length]) + text
    more = length - 127
    tail = bytes([more]) if more < 128 else bytes([more & 127 | 128, more >> 7])
    return b"\x7f" + tail + text


class Encoder:
    """Header blocks of one connection, as gRPC's clients encode them: a field that has been sent goes by its number in
    the compression table, as long as it is there, and a new one, however seldom it may come again, takes the oldest's
    place.
    """

    _TABLE_BYTES, _FIELD_BYTES, _FIRST_INDEX = 4096, 32, 62

    def __init__(self) -> None:
        # Of the fields in the table: when they came into it.
        self._numbers: dict[tuple[int | bytes, bytes], int] = {}
        self._table: deque[tuple[int | bytes, bytes]] = deque()
        self._sent = 0
        self._bytes = 0

    def fields(self, fields: Iterable[tuple[int | bytes, bytes]]) -> bytes:
        """The representations of fields, by their names or the indices of these in the static table."""
        return b"".join(self._field(*each) for each in fields)

    def _field(self, name: int | bytes, value: bytes) -> bytes:
        number = self._numbers.get((name, value))
        if number is not None:
            index = self._FIRST_INDEX + self._sent - 1 - number
            return bytes([0x80 | index]) if index < 127 else bytes([0xFF, index - 127])
        self._numbers[name, value] = self._sent
        self._table.append((name, value))
        self._sent += 1
        self._bytes += self._size(name, value)
        while self._bytes > self._TABLE_BYTES:
            oldest = self._table.popleft()
            del self._numbers[oldest]
            self._bytes -= self._size(*oldest)
        return _named(name, 0x40, 63) + _string(value)

    def _size(self, name: int | bytes, value: bytes) -> int:
        return len(STATIC_NAMES[name] if isinstance(name, int) else name) + len(value) + self._FIELD_BYTES
