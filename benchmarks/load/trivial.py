"""A server that does nothing but answer: what a load generator can do, and what sockets cost.

`python -m benchmarks.load.trivial rest|grpc SIZE [PROCESSES]`: the answer is SIZE bytes, in the protocol's wrapping.
What it receives is counted, not kept. As in the server freed memory is used again, so that fresh pages cost nothing.
"""

import asyncio
import ctypes
import os
import re
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from typing import cast

import uvloop
from kserve_v2_child.freed_memory import keep_freed_memory

from benchmarks.load import http2
from benchmarks.load.exchange import framed

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_BACKLOG = 2048
_PR_SET_PDEATHSIG = 1
_CONNECTION = 0
"""The stream whose window is the connection's."""
_GRANT_BYTES = 2**30


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
        self._answer = memoryview(framed(answer))
        self._headers = bytes([http2.STATUS_200]) + http2.literal(http2.CONTENT_TYPE, b"application/grpc")
        self._trailers = http2.literal(b"grpc-status", b"0")
        self._preface = b""
        self._frames = http2.Skimmer()
        self._granted_bytes = 0
        self._waiting: dict[int, memoryview] = {}
        self._windows = {_CONNECTION: http2.DEFAULT_WINDOW}
        self._initial_window = http2.DEFAULT_WINDOW
        self._frame_bytes = http2.LEAST_MAX_FRAME

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(http2.open_windows() + http2.large_frames())

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if missing := len(http2.PREFACE) - len(self._preface):
            self._preface, data = self._preface + data[:missing], data[missing:]
        parts: list[bytes | memoryview] = [self._take(frame) for frame in self._frames.feed(data)]
        parts.append(self._grant())
        for stream in [*self._waiting]:
            parts += self._send(stream)
        self._transport.writelines([part for part in parts if part])

    def _take(self, frame: http2.Frame) -> bytes:
        """What has to be sent because of a frame, but for data."""
        if frame.kind == http2.HEADERS:
            self._windows[frame.stream] = self._initial_window
        elif frame.kind == http2.WINDOW_UPDATE and frame.stream in self._windows:
            self._windows[frame.stream] += struct.unpack(">I", frame.payload)[0]
        elif frame.kind == http2.SETTINGS:
            self._take_settings(dict(struct.iter_unpack(">HI", frame.payload)))
        elif frame.kind == http2.DATA and frame.flags & http2.END_STREAM:
            self._waiting[frame.stream] = self._answer
            return http2.frame(http2.HEADERS, http2.END_HEADERS, frame.stream, self._headers)
        return http2.acknowledgement(frame)

    def _take_settings(self, settings: dict[int, int]) -> None:
        """A new initial window changes those of all streams (RFC 9113, section 6.9.2)."""
        self._frame_bytes = settings.get(http2.MAX_FRAME_SIZE, self._frame_bytes)
        window = settings.get(http2.INITIAL_WINDOW_SIZE, self._initial_window)
        for stream in self._windows.keys() - {_CONNECTION}:
            self._windows[stream] += window - self._initial_window
        self._initial_window = window

    def _grant(self) -> bytes:
        """Half of the connection's window again, when half of it is used up."""
        if self._frames.data_bytes - self._granted_bytes < _GRANT_BYTES:
            return b""
        self._granted_bytes += _GRANT_BYTES
        return http2.frame(http2.WINDOW_UPDATE, 0, _CONNECTION, struct.pack(">I", _GRANT_BYTES))

    def _send(self, stream: int) -> Iterator[bytes | memoryview]:
        """As much of an answer as the windows let through, and the trailers if that was all."""
        while answer := self._waiting[stream]:
            size = min(len(answer), self._frame_bytes, self._windows[_CONNECTION], self._windows[stream])
            if size <= 0:
                return
            yield http2.frame_header(size, http2.DATA, 0, stream)
            yield answer[:size]
            self._waiting[stream] = answer[size:]
            self._windows[_CONNECTION] -= size
            self._windows[stream] -= size
        del self._waiting[stream], self._windows[stream]
        last = http2.END_HEADERS | http2.END_STREAM
        yield http2.frame(http2.HEADERS, last, stream, self._trailers)


def fork(processes: int) -> int:
    """Be so many processes. Returns which one this is, 0 for the first; the others end with it."""
    parent = os.getpid()
    for number in range(1, processes):
        if not os.fork():
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                sys.exit()
            return number
    return 0


async def main(listening: socket.socket, number: int) -> None:
    """Answer until the process is ended. The process of number 0 tells where."""
    keep_freed_memory(one_heap=True)
    protocol, name = (TrivialRest, "REST") if sys.argv[1] == "rest" else (TrivialGrpc, "gRPC")
    answer = b"x" * int(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(lambda: protocol(answer), sock=listening)
    if number == 0:
        port = listening.getsockname()[1]
        print(name, f"http://127.0.0.1:{port}" if name == "REST" else f"127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    shared = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    uvloop.run(main(shared, fork(int(sys.argv[3]) if sys.argv[3:] else 1)))
