"""A server that does nothing but answer: what a load generator can do, and what sockets cost.

`python -m benchmarks.load.trivial rest|grpc SIZE`: the answer is SIZE bytes, in the protocol's wrapping. What it
receives is counted, not kept.
"""

import asyncio
import re
import struct
import sys
from typing import cast

import uvloop

from benchmarks.load import http2
from benchmarks.load.exchange import framed

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_FRAME_BYTES = 16_384
"""The largest frame that every peer takes (RFC 9113, section 4.2)."""


class TrivialRest(asyncio.Protocol):
    """Reads a request as far as its length, and answers."""

    _transport: asyncio.Transport

    def __init__(self, answer: bytes) -> None:
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)
        self._head = b""
        self._missing_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol. A head that comes in parts is put together, a body is not."""
        if self._missing_bytes:
            self._missing_bytes -= len(data)
        else:
            self._head += data
            head_end = self._head.find(_HEAD_END)
            length = _CONTENT_LENGTH.search(self._head)
            if head_end < 0 or length is None:
                return
            self._missing_bytes = head_end + len(_HEAD_END) + int(length[1]) - len(self._head)
            self._head = b""
        if self._missing_bytes <= 0:
            self._missing_bytes = 0
            self._transport.write(self._answer)


class TrivialGrpc(asyncio.Protocol):
    """Answers a stream when its request has ended, as far as the peer's flow control windows let it."""

    _transport: asyncio.Transport

    def __init__(self, answer: bytes) -> None:
        self._answer = framed(answer)
        self._headers = bytes([http2.STATUS_200]) + http2.literal(http2.CONTENT_TYPE, b"application/grpc")
        self._trailers = http2.literal(b"grpc-status", b"0")
        self._received = bytearray()
        self._preface = len(http2.PREFACE)
        self._waiting: dict[int, memoryview] = {}
        self._initial_window = self._connection_window = http2.DEFAULT_WINDOW
        self._stream_windows: dict[int, int] = {}
        self._ungranted_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(http2.open_windows())

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += data
        if self._preface and len(self._received) >= self._preface:
            del self._received[: self._preface]
            self._preface = 0
        parts = (
            [self._take(frame) for frame in http2.take_frames(self._received)] if not self._preface else []
        )
        for stream in [*self._waiting]:
            parts += self._data(stream)
        self._transport.write(b"".join(parts))

    def _take(self, frame: http2.Frame) -> bytes:
        """What has to be sent because of a frame, but for data."""
        if frame.kind == http2.HEADERS:
            self._stream_windows[frame.stream] = self._initial_window
        elif frame.kind == http2.WINDOW_UPDATE and frame.stream == 0:
            self._connection_window += struct.unpack(">I", frame.payload)[0]
        elif frame.kind == http2.WINDOW_UPDATE and frame.stream in self._stream_windows:
            self._stream_windows[frame.stream] += struct.unpack(">I", frame.payload)[0]
        elif frame.kind == http2.SETTINGS:
            self._resize(frame.payload)
        elif frame.kind == http2.DATA:
            return self._take_data(frame)
        return http2.acknowledgement(frame)

    def _take_data(self, frame: http2.Frame) -> bytes:
        answer = b""
        if frame.flags & http2.END_STREAM:
            self._waiting[frame.stream] = memoryview(self._answer)
            answer = http2.frame(http2.HEADERS, http2.END_HEADERS, frame.stream, self._headers)
        self._ungranted_bytes += len(frame.payload)
        if self._ungranted_bytes < http2.LARGEST_WINDOW // 2:
            return answer
        grant, self._ungranted_bytes = struct.pack(">I", self._ungranted_bytes), 0
        return http2.frame(http2.WINDOW_UPDATE, 0, 0, grant) + answer

    def _resize(self, payload: bytes) -> None:
        """The peer's SETTINGS: a new initial window changes those of all streams (RFC 9113, section 6.9.2)."""
        window = dict(struct.iter_unpack(">HI", payload)).get(http2.INITIAL_WINDOW_SIZE, self._initial_window)
        for stream in self._stream_windows:
            self._stream_windows[stream] += window - self._initial_window
        self._initial_window = window

    def _data(self, stream: int) -> list[bytes]:
        """As much of an answer as the windows let through, and the trailers if that was all."""
        answer = self._waiting[stream]
        parts = []
        while size := min(len(answer), _FRAME_BYTES, self._connection_window, self._stream_windows[stream]):
            if size < 0:
                break
            parts.append(http2.frame(http2.DATA, 0, stream, bytes(answer[:size])))
            answer = answer[size:]
            self._connection_window -= size
            self._stream_windows[stream] -= size
        self._waiting[stream] = answer
        if not answer:
            del self._waiting[stream], self._stream_windows[stream]
            last = http2.END_HEADERS | http2.END_STREAM
            parts.append(http2.frame(http2.HEADERS, last, stream, self._trailers))
        return parts


async def main() -> None:
    """Answer until the process is ended."""
    protocol, name = (TrivialRest, "REST") if sys.argv[1] == "rest" else (TrivialGrpc, "gRPC")
    answer = b"x" * int(sys.argv[2])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(answer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(name, f"http://127.0.0.1:{port}" if name == "REST" else f"127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
