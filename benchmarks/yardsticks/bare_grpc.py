"""What Python can do over gRPC with nothing in the way: `python -m benchmarks.yardsticks.bare_grpc MODEL_FILE`.

asyncio.Protocol that speaks HTTP/2 frames itself, the server's decoder of header blocks with the last one remembered,
protobuf messages, numpy, and the model called in place, on uvloop. It serves unary calls of ModelInfer on `add_sub`,
heeds none of the limits that a client may set, and ends the connection where it meets what those calls do not need.
"""

import asyncio
import struct
import sys
from typing import cast

import uvloop

from benchmarks.load import http2
from benchmarks.load.exchange import INFER_METHOD, framed
from benchmarks.yardsticks.add_sub import AddSub
from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.http2.hpack import Decoder

_BACKLOG = 2048
_FRAME_HEADER, _PREFIX, _PRIORITY_BYTES = 9, 5, 5
_PADDED, _PRIORITY = 0x8, 0x20
_TABLE_BYTES, _MAX_BLOCK_BYTES, _MAX_FIELDS = 4096, 2**16, 256
_GRANT_BYTES = 2**30
_GRANT = http2.frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", _GRANT_BYTES))

_PATH = INFER_METHOD.encode()
_HEADERS = bytes([http2.STATUS_200]) + http2.literal(http2.CONTENT_TYPE, b"application/grpc")
_TRAILERS = http2.literal(b"grpc-status", b"0")
_LAST = http2.END_HEADERS | http2.END_STREAM


class BareGrpc(asyncio.Protocol):
    """One connection."""

    _transport: asyncio.Transport

    def __init__(self, model: AddSub) -> None:
        self._model = model
        self._received = b""
        self._preface = http2.PREFACE
        self._decoder = Decoder(_TABLE_BYTES, _MAX_BLOCK_BYTES, _MAX_FIELDS)
        self._block = self._path = b""
        self._calls: dict[int, bytes] = {}
        self._ungranted_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(http2.open_windows())

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol. All answers to what came are one write."""
        data = self._received + data
        if self._preface and len(data) >= len(self._preface):
            data, self._preface = data[len(self._preface) :], b""
        position, answers = 0, []
        while not self._preface and len(data) - position >= _FRAME_HEADER:
            start = position + _FRAME_HEADER
            end = start + int.from_bytes(data[position : position + 3])
            if len(data) < end:
                break
            stream = int.from_bytes(data[position + 5 : start])
            answers.append(self._answer(data[position + 3], data[position + 4], stream, data[start:end]))
            position = end
        self._received = data[position:]
        self._transport.write(b"".join(answers))

    def _answer(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        """What a frame is answered with, at once."""
        if kind == http2.DATA:
            return self._data(flags, stream, payload)
        if kind == http2.HEADERS:
            block = payload[_PRIORITY_BYTES:] if flags & _PRIORITY else payload
            if flags & _PADDED or not flags & http2.END_HEADERS or self._read_path(block) != _PATH:
                self._transport.abort()
            self._calls[stream] = b""
        elif kind == http2.RST_STREAM:
            self._calls.pop(stream, None)
        return http2.acknowledgement(http2.Frame(kind, flags, stream, payload))

    def _read_path(self, block: bytes) -> bytes:
        """The path in a header block; remembered while the dynamic table, on which it depends, stays as it is."""
        if block != self._block:
            changes = self._decoder.changes
            self._path = dict(self._decoder.decode(block)[0])[b":path"]
            self._block = block if self._decoder.changes == changes else b""
        return self._path

    def _data(self, flags: int, stream: int, payload: bytes) -> bytes:
        message = self._calls[stream] + payload
        self._ungranted_bytes += len(payload)
        grant = b""
        if self._ungranted_bytes >= _GRANT_BYTES:
            self._ungranted_bytes, grant = self._ungranted_bytes - _GRANT_BYTES, _GRANT
        if not flags & http2.END_STREAM:
            self._calls[stream] = message
            return grant
        del self._calls[stream]
        request = pb.ModelInferRequest.FromString(message[_PREFIX:])
        answer = framed(self._model.message(request).SerializeToString())
        return (
            grant
            + http2.frame(http2.HEADERS, http2.END_HEADERS, stream, _HEADERS)
            + http2.frame(http2.DATA, 0, stream, answer)
            + http2.frame(http2.HEADERS, _LAST, stream, _TRAILERS)
        )


async def main() -> None:
    """Serve until the process is ended."""
    model = AddSub(sys.argv[1])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BareGrpc(model), "127.0.0.1", 0, backlog=_BACKLOG)
    print(f"gRPC 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
