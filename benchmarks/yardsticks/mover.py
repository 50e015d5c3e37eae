"""What it costs to have bytes moved, on cores that all share: `python -m benchmarks.yardsticks.mover`.

Takes requests over REST and gRPC as they come, and understands nothing of them: those to models called `echo` get their
own bytes back, all others get none; `slow` takes its time. Sockets block, and buffers are used again; over gRPC, it is
the C core that reads and writes.
"""

import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

_SLOW_SECONDS = 0.05
_ROOM_BYTES = 64 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_CHUNKED_END = b"\r\n0\r\n\r\n"
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def _serve(connection: socket.socket) -> None:
    """One connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    room = memoryview(bytearray(_ROOM_BYTES))
    while found := _read(connection, room):
        start, end = found
        line = bytes(room[:start]).split(b"\r\n", 1)[0]
        if b"/echo" not in line:
            end = start
        if b"/slow" in line:
            time.sleep(_SLOW_SECONDS)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (end - start))
        connection.sendall(room[start:end])


def _read(connection: socket.socket, room: memoryview) -> tuple[int, int] | None:
    """Where in `room` the body of the next request is; None at the end."""
    size, start, length = 0, 0, None
    while True:
        read = connection.recv_into(room[size : size + _READ_BYTES])
        if not read:
            return None
        size += read
        if not start:
            start = bytes(room[:size]).find(_HEAD_END) + len(_HEAD_END)
            if start < len(_HEAD_END):
                start = 0
                continue
            announced = _LENGTH.search(room[:start])
            length = int(announced[1]) if announced else None
        # What is in chunks goes back as it is, and the client does not care.
        if length is None and bytes(room[size - len(_CHUNKED_END) : size]) == _CHUNKED_END:
            length = size - start
        if length is not None and size >= start + length:
            return start, size


def _accept(listening: socket.socket) -> None:
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _moved(message: bytes) -> bytes:
    """What is answered: a message begins with its model's name."""
    return message if message.startswith(b"\n\4echo") else b""


class _Any(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Every RPC. The type takes no argument when this is run."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """See grpc.GenericRpcHandler."""
        if str(handler_call_details.method).endswith("ModelStreamInfer"):
            return grpc.stream_stream_rpc_method_handler(_move_all)
        return grpc.unary_unary_rpc_method_handler(lambda message, _: _moved(message))


def _move_all(messages: Iterator[bytes], _: object) -> Iterator[bytes]:
    return map(_moved, messages)


def main() -> None:
    """Serve until the process is ended."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[_Any()], options=_UNLIMITED)
    print(f"gRPC 127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    server.start()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"REST http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        _accept(listening)


if __name__ == "__main__":
    main()
