"""A server that does nothing but answer, to show what a load generator can do.

`python -m benchmarks.load.trivial rest|grpc SIZE`: the answer is SIZE bytes, in the protocol's wrapping.
"""

import asyncio
import re
import sys
from typing import cast

import uvloop

from benchmarks.load import http2
from benchmarks.load.exchange import framed

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def answer_of(size: int) -> bytes:
    """What it answers."""
    return b"x" * size


class TrivialRest(asyncio.Protocol):
    """Reads a request as far as its length, and answers."""

    _transport: asyncio.Transport

    def __init__(self, answer: bytes) -> None:
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(self._received)
        if head_end >= 0 and length and len(self._received) >= head_end + 4 + int(length[1]):
            self._received.clear()
            self._transport.write(self._answer)


class TrivialGrpc(asyncio.Protocol):
    """Answers a stream when its request has ended."""

    _transport: asyncio.Transport

    def __init__(self, answer: bytes) -> None:
        self._answer = framed(answer)
        self._headers = bytes([http2.STATUS_200]) + http2.literal(http2.CONTENT_TYPE, b"application/grpc")
        self._trailers = http2.literal(b"grpc-status", b"0")
        self._received = bytearray()
        self._preface = len(http2.PREFACE)

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
        for frame in () if self._preface else http2.take_frames(self._received):
            if frame.kind == http2.DATA and frame.flags & http2.END_STREAM:
                self._transport.write(self._call_answer(frame.stream))
            elif acknowledgement := http2.acknowledgement(frame):
                self._transport.write(acknowledgement)

    def _call_answer(self, stream: int) -> bytes:
        return (
            http2.frame(http2.HEADERS, http2.END_HEADERS, stream, self._headers)
            + http2.frame(http2.DATA, 0, stream, self._answer)
            + http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, stream, self._trailers)
        )


async def main() -> None:
    """Answer until the process is ended."""
    protocol, name = (TrivialRest, "REST") if sys.argv[1] == "rest" else (TrivialGrpc, "gRPC")
    answer = answer_of(int(sys.argv[2]))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(answer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(name, f"http://127.0.0.1:{port}" if name == "REST" else f"127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
