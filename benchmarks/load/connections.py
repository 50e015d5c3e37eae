"""One connection of the built-in load generators: sends a request, checks the answer, and tells the loop of it."""

import asyncio
import re
import struct
from collections.abc import Iterator
from itertools import count, cycle, islice, repeat
from typing import Protocol, cast

from benchmarks.load import http2
from benchmarks.load.exchange import INFER_METHOD, GrpcExchange, RestExchange, VariedGrpc, framed
from benchmarks.load.varied import headers_of

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"

_firsts = count(step=331)


class Loop(Protocol):
    """What decides when a connection sends its next request."""

    def answered(self, connection: "Connection") -> None:
        """The right answer has come."""
        ...

    def fail(self, text: str) -> None:
        """A wrong answer has come, or none will: the run has no result."""
        ...


class Connection(asyncio.Protocol):
    """What REST and gRPC have in common."""

    _transport: asyncio.Transport

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._received = bytearray()
        self.started_ns = 0
        """From when on the latency of the last request counts."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._loop.fail(f"the server closed a connection: {exc}")

    def send(self, started_ns: int) -> None:
        """Send the next request; its latency counts from `started_ns`."""
        self.started_ns = started_ns
        self._transport.write(self._next_request())

    def _next_request(self) -> bytes:
        raise NotImplementedError

    def _answered(self, right: bool) -> None:
        if right:
            self._loop.answered(self)
        else:
            self._loop.fail("an answer is not the expected one")


class RestConnection(Connection):
    """HTTP/1.1 with keep-alive."""

    def __init__(self, exchange: RestExchange, loop: Loop) -> None:
        super().__init__(loop)
        # Connections do not send the same at the same time.
        first = next(_firsts) % len(exchange.requests)
        self._requests = cycle([*exchange.requests[first:], *exchange.requests[:first]])
        self._answer = b""

    def _next_request(self) -> bytes:
        request = next(self._requests)
        self._answer = request.answer
        return request.wire

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        received = self._received
        received += data
        head_length = received.find(_HEAD_END) + len(_HEAD_END)
        if head_length < len(_HEAD_END):
            return
        length = _CONTENT_LENGTH.search(received, 0, head_length)
        if length is None:
            self._loop.fail(f"an answer without Content-Length: {bytes(received[:head_length])!r}")
            return
        if len(received) >= head_length + int(length[1]):
            right = received.startswith(b"HTTP/1.1 200 ") and received[head_length:] == self._answer
            if right:
                received.clear()
            self._answered(right)


class GrpcConnection(Connection):
    """HTTP/2 with one stream at a time.

    The trailers, where `grpc-status` stands, are not decoded: a unary call that fails sends no message.
    """

    def __init__(self, exchange: GrpcExchange, loop: Loop) -> None:
        super().__init__(loop)
        self._blocks = call_blocks(exchange)
        self._data = framed(exchange.message)
        self._answer = framed(exchange.answer)
        self._stream = -1
        self._window = http2.DEFAULT_WINDOW
        self._message = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._transport.write(http2.PREFACE + http2.open_windows())

    def _next_request(self) -> bytes:
        self._stream += 2
        self._window -= len(self._data)
        if self._window < 0:
            self._loop.fail("the server does not open its flow control window")
        self._message.clear()
        return http2.frame(http2.HEADERS, http2.END_HEADERS, self._stream, next(self._blocks)) + http2.frame(
            http2.DATA, http2.END_STREAM, self._stream, self._data
        )

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += data
        for frame in http2.take_frames(self._received):
            self._take(frame)

    def _take(self, frame: http2.Frame) -> None:
        if frame.kind == http2.DATA:
            self._message += frame.payload
        elif frame.kind == http2.WINDOW_UPDATE and frame.stream == 0:
            self._window += struct.unpack(">I", frame.payload)[0]
        elif frame.kind in (http2.RST_STREAM, http2.GOAWAY):
            self._loop.fail(f"the server ended a call: {frame}")
        elif acknowledgement := http2.acknowledgement(frame):
            self._transport.write(acknowledgement)
        if frame.kind in (http2.DATA, http2.HEADERS) and frame.flags & http2.END_STREAM:
            self._answered(self._message == self._answer)


def call_blocks(exchange: GrpcExchange) -> Iterator[bytes]:
    """The header blocks of one connection's calls of ModelInfer."""
    start = bytes([http2.POST, http2.SCHEME_HTTP])
    usual: list[tuple[int | bytes, bytes]] = [
        (http2.PATH, INFER_METHOD.encode()),
        (http2.AUTHORITY, exchange.target.encode()),
        (http2.CONTENT_TYPE, b"application/grpc"),
        (b"te", b"trailers"),
    ]
    if isinstance(exchange, VariedGrpc):
        return _varied_blocks(start, usual, exchange)
    return repeat(start + b"".join(http2.literal(*field) for field in usual))


def _varied_blocks(
    start: bytes, usual: list[tuple[int | bytes, bytes]], exchange: VariedGrpc
) -> Iterator[bytes]:
    encoder, own = http2.Encoder(), headers_of(exchange.kind)
    for headers in islice(cycle(own), next(_firsts) % len(own), None):
        fields: list[tuple[int | bytes, bytes]] = [
            (name.encode(), value.encode()) for name, value in headers.items()
        ]
        if exchange.never:
            varied = b"".join(http2.literal(*field, never=True) for field in fields)
            yield start + encoder.fields(usual) + varied
        else:
            yield start + encoder.fields([*usual, *fields])


def connection_to(exchange: RestExchange | GrpcExchange, loop: Loop) -> Connection:
    """A connection that sends `exchange`."""
    if isinstance(exchange, RestExchange):
        return RestConnection(exchange, loop)
    return GrpcConnection(exchange, loop)
