"""Which calls are answered without a stream: `GrpcConnection.respond`, of a connection without a socket."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kserve_v2.http2.stream import Stream
from kserve_v2.rpc.asyncio_server import AsyncioServer
from kserve_v2.rpc.calls import Direct, Parts
from kserve_v2.rpc.options import GrpcOptions
from kserve_v2.rpc.transport.connection import GrpcConnection
from kserve_v2.rpc.transport.kinds import AskedCall
from kserve_v2.rpc.transport.messages import PREFIX
from kserve_v2.rpc.transport.metadata import HEADERS, OK_TRAILERS
from tests.rpc.serving import Methods

Respond = Callable[..., Any]


def never(*_: object) -> Parts:
    raise AssertionError


@pytest.fixture
def connection() -> Iterator[GrpcConnection]:
    """A connection of a server that has not been started."""
    loop = asyncio.new_event_loop()
    rpcs = (*Methods().rpcs(), Direct("/test/Unknown", never, lambda data: None))
    server = AsyncioServer(rpcs, GrpcOptions(max_request_bytes=1000))
    yield GrpcConnection(server, loop)
    loop.close()


def framed(message: bytes, compressed: int = 0) -> bytes:
    """A message as it is sent."""
    return PREFIX.pack(compressed, len(message)) + message


def respond(connection: GrpcConnection, data: bytes, method: str = "Recalled", **fields: str) -> Any:
    """What is done with a call that comes whole."""
    values = {":method": "POST", ":path": f"/test/{method}", "content-type": "application/grpc", **fields}
    head = connection._server.heads.read(
        [(name.encode(), value.encode()) for name, value in values.items()], 0
    )
    return connection.respond(1, head, b"before" + data + b"behind", 6, 6 + len(data))


def test_an_answer(connection: GrpcConnection) -> None:
    headers, body, size, trailers = respond(connection, framed(b"abc"))
    assert (headers, trailers) == (HEADERS, OK_TRAILERS)
    assert b"".join(body) == framed(b"abc")
    assert size == 8


STREAMS = {"later": "Recalled", "fail": "Recalled", "fail later": "Recalled", "x": "RecalledHang"}


@pytest.mark.parametrize("message", STREAMS)
def test_what_is_not_an_answer_has_a_stream(connection: GrpcConnection, message: str) -> None:
    assert isinstance(respond(connection, framed(message.encode()), STREAMS[message]), AskedCall)


def test_a_defect_has_a_stream(connection: GrpcConnection) -> None:
    assert isinstance(respond(connection, framed(b"x"), "RecalledDefect"), AskedCall)


def test_an_answer_for_which_there_is_no_room(connection: GrpcConnection) -> None:
    connection.connection.output.window = 7
    assert isinstance(respond(connection, framed(b"abc")), Stream)
    connection.connection.output.window = 8
    assert isinstance(respond(connection, framed(b"abc")), tuple)


OTHERS: dict[str, tuple[bytes, str, dict[str, str]]] = {
    "not-like-an-earlier-one": (framed(b"abc"), "Unknown", {}),
    "another-kind-of-rpc": (framed(b"abc"), "Echo", {}),
    "no-rpc": (framed(b"abc"), "NoSuch", {}),
    "compressed": (framed(b"abc", 1), "Recalled", {}),
    "cut-off": (framed(b"abc")[:-1], "Recalled", {}),
    "two-messages": (framed(b"abc") * 2, "Recalled", {}),
    "no-message": (b"", "Recalled", {}),
    "a-part-of-a-prefix": (b"\0\0\0\0", "Recalled", {}),
    "too-large": (framed(bytes(1001)), "Recalled", {}),
    "no-timeout": (framed(b"abc"), "Recalled", {"grpc-timeout": "soon"}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_a_call_like_any_other(connection: GrpcConnection, name: str) -> None:
    data, method, fields = OTHERS[name]
    assert respond(connection, data, method, **fields) is None


def test_an_answer_that_is_to_be_compressed() -> None:
    loop = asyncio.new_event_loop()
    server = AsyncioServer(Methods().rpcs(), GrpcOptions(max_request_bytes=1000, response_compression="low"))
    connection = GrpcConnection(server, loop)
    assert respond(connection, framed(b"abc"), **{"grpc-accept-encoding": "gzip"}) is None
    assert respond(connection, framed(b"abc")) is not None
    loop.close()
