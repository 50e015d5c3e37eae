"""Calls of ModelInfer over HTTP/2 (RFC 9113), one at a time, with messages that were serialized beforehand.

grpcio takes some four times as much CPU time for a call, which on a machine that the server shares is taken from the
server, and ends what can be measured at a few thousand calls a second.
"""

import asyncio
import struct
from collections.abc import Mapping
from typing import NamedTuple, cast
from urllib.parse import unquote_to_bytes

from kserve_v2.bench.connection import ENDED, AskingProtocol
from kserve_v2.bench.sender import Outcome, shortened
from kserve_v2.bench.target import Target
from kserve_v2.http2 import frames, headers
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode
from kserve_v2.http2.frames import Kind, Setting
from kserve_v2.http2.hpack import Decoder

_PATH = b"/inference.GRPCInferenceService/ModelInfer"
_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip

_PREFIX = struct.Struct(">BI")
_GRANT_BYTES = 2**30
"""How much is received before the server is told that it may send as much again."""

_LAST_STREAM = 2**30
_MOST_KNOWN = 64
_MAX_FIELDS = 1000

# No dynamic table for what the server sends: the same answers are the same bytes then.
_HELLO = (
    frames.PREFACE
    + frames.settings(
        {
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: frames.MAX_WINDOW_BYTES,
            Setting.MAX_FRAME_SIZE: frames.LARGEST_MAX_FRAME_BYTES,
        }
    )
    + frames.window_update(0, frames.MAX_WINDOW_BYTES - frames.DEFAULT_WINDOW_BYTES)
)


def call_headers(target: Target) -> bytes:
    """The header block of a call."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"https" if target.tls else b"http"),
        (b":path", _PATH),
        (b":authority", target.authority.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"kserve-v2-bench"),
        *((name.encode(), value.encode()) for name, value in target.headers),
    ]
    return headers.encode(fields)


class _Head(NamedTuple):
    """What a block of header fields says of a call. `status`: of gRPC; None where it is not said yet."""

    http: bytes = b"200"
    status: int | None = None
    message: bytes = b""


class GrpcProtocol(AskingProtocol):
    """Reads one answer at a time."""

    def __init__(self, call: bytes) -> None:
        self.closed = False
        self._call = call
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[Outcome] | None = None
        self._received = bytearray()
        self._stream = -1
        self._head = _Head()
        self._block = bytearray()
        self._ends = False
        self._data_bytes = 0
        self._ungranted = 0
        # What the server allows us to send.
        self._window = self._initial_window = frames.DEFAULT_WINDOW_BYTES
        self._stream_window = 0
        self._max_frame = frames.DEFAULT_MAX_FRAME_BYTES
        self._unsent = memoryview(b"")
        self._decoder = Decoder(headers.DEFAULT_TABLE_BYTES, frames.LARGEST_MAX_FRAME_BYTES, _MAX_FIELDS)
        self._known: dict[bytes, _Head] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_HELLO)

    def ask(self, request: bytes) -> "asyncio.Future[Outcome]":
        """See `AskingProtocol`."""
        self._answer = answer = asyncio.get_running_loop().create_future()
        if self.closed:
            answer.set_result(ENDED)
            return answer
        self._stream += 2
        self._head, self._data_bytes = _Head(), 0
        self._stream_window = self._initial_window
        self._unsent = memoryview(_PREFIX.pack(0, len(request)) + request)
        head = frames.frame(Kind.HEADERS, frames.END_HEADERS, self._stream, self._call)
        self._transport.write(head + self._data())
        # Of a large message, what the windows allow beside the first frame.
        self._send_on()
        return answer

    def _data(self) -> bytes:
        """The next frame of the message, as far as the server allows one; b"" if there is none to be sent."""
        size = min(len(self._unsent), self._window, self._stream_window, self._max_frame)
        if size <= 0:
            return b""
        part, self._unsent = bytes(self._unsent[:size]), self._unsent[size:]
        self._window -= size
        self._stream_window -= size
        flags = 0 if self._unsent else frames.END_STREAM
        return frames.frame(Kind.DATA, flags, self._stream, part)

    def _send_on(self) -> None:
        while data := self._data():
            self._transport.write(data)

    def abort(self) -> None:
        """See `AskingProtocol`."""
        self.closed = True
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.closed = True
        self._finish(ENDED)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        received = self._received
        received += data
        position, size = 0, len(received)
        try:
            while size - position >= frames.HEADER_BYTES:
                word, flags, stream = frames.HEAD.unpack_from(received, position)
                end = position + frames.HEADER_BYTES + (word >> 8)
                if size < end:
                    break
                self._take(
                    word & 0xFF, flags, stream & 0x7FFFFFFF, received[position + frames.HEADER_BYTES : end]
                )
                position = end
        except (ConnectionFaultError, struct.error, ValueError) as error:
            self._finish(f"no HTTP/2 answer: {error}")
            self.abort()
        del received[:position]

    def _take(self, kind: int, flags: int, stream: int, payload: bytearray) -> None:
        """One frame."""
        if kind == Kind.DATA:
            self._take_data(flags, stream, len(payload))
        elif kind == Kind.HEADERS:
            self._block[:] = frames.header_fragment(flags, bytes(payload))
            self._ends = bool(flags & frames.END_STREAM)
            self._take_block(flags, stream)
        elif kind == Kind.CONTINUATION:
            self._block += payload
            self._take_block(flags, stream)
        elif kind == Kind.WINDOW_UPDATE:
            self._take_window(stream, frames.WORD.unpack(payload)[0])
        elif kind == Kind.SETTINGS and not flags & frames.ACK:
            self._take_settings(bytes(payload))
        elif kind == Kind.PING and not flags & frames.ACK:
            self._transport.write(frames.ping(bytes(payload), ack=True))
        elif kind == Kind.RST_STREAM and stream == self._stream:
            self._finish(f"the server reset the call: error {frames.WORD.unpack(payload)[0]} of HTTP/2")
        elif kind == Kind.GOAWAY:
            # Whoever is answered still may be; the next request takes another connection.
            self.closed = True
            if frames.WORD.unpack_from(payload)[0] < self._stream:
                self._finish(ENDED)

    def _take_data(self, flags: int, stream: int, size: int) -> None:
        self._ungranted += size
        if self._ungranted >= _GRANT_BYTES:
            self._transport.write(frames.window_update(0, self._ungranted))
            self._ungranted = 0
        if stream == self._stream:
            self._data_bytes += size
            if flags & frames.END_STREAM:
                self._finish("the answer ends without a status of gRPC")

    def _take_block(self, flags: int, stream: int) -> None:
        if not flags & frames.END_HEADERS:
            return
        head = self._meaning(bytes(self._block))
        if stream != self._stream:
            return
        self._head = head if head.status is not None or head.http != b"200" else self._head
        if self._ends:
            self._finish(self._outcome())

    def _meaning(self, block: bytes) -> _Head:
        """What a block says. It is remembered until the dynamic table changes, which it may depend on."""
        known = self._known.get(block)
        if known is not None:
            return known
        changes = self._decoder.changes
        head = _head_of(dict(self._decoder.decode(block)[0]))
        if self._decoder.changes != changes:
            self._known.clear()
        elif len(self._known) < _MOST_KNOWN:
            self._known[block] = head
        return head

    def _outcome(self) -> Outcome:
        head = self._head
        if head.status == 0:
            return None if self._data_bytes else "the answer has no message"
        if head.status is None:
            return f"HTTP {head.http.decode(errors='replace')} without a status of gRPC"
        name = _CODES[head.status] if 0 <= head.status < len(_CODES) else f"status {head.status}"
        return shortened(name, unquote_to_bytes(head.message))

    def _take_window(self, stream: int, increment: int) -> None:
        if stream == 0:
            self._window += increment
        elif stream == self._stream:
            self._stream_window += increment
        self._send_on()

    def _take_settings(self, payload: bytes) -> None:
        for setting, value in frames.read_settings(payload):
            if setting == Setting.INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif setting == Setting.MAX_FRAME_SIZE:
                self._max_frame = value
        self._transport.write(frames.SETTINGS_ACK)
        self._send_on()

    def _finish(self, outcome: Outcome) -> None:
        if self._unsent:
            # The server has answered before it had all of the message: it gets no more.
            self._unsent = memoryview(b"")
            self._transport.write(frames.reset(self._stream, ErrorCode.CANCEL))
        if self._stream >= _LAST_STREAM:
            # Ids of streams come to an end.
            self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(outcome)


def _head_of(fields: Mapping[bytes, bytes]) -> _Head:
    status = fields.get(b"grpc-status")
    return _Head(
        fields.get(b":status", b"200"),
        None if status is None else int(status),
        fields.get(b"grpc-message", b""),
    )
