"""Calls over our own HTTP/2, to servers of grpcio and of ours."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import grpc
import pytest

from kserve_v2.bench.connect import sender_to
from kserve_v2.bench.connection import Connection
from kserve_v2.bench.sender import Outcome
from kserve_v2.bench.target import parse_target

METHOD = "/inference.GRPCInferenceService/ModelInfer"
Work = Callable[[bytes, grpc.ServicerContext], bytes]
UNLIMITED = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
]


class Service(grpc.GenericRpcHandler):
    """Answers ModelInfer with whatever `work` makes of it."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if call.method != METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(self._work)


@contextmanager
def answering(work: Work) -> Iterator[tuple[str, grpc.Server]]:
    """A server of grpcio, and its URL."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Service(work)], options=UNLIMITED)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}", server
    finally:
        server.stop(None).wait()


def ask(url: str, *messages: bytes, timeout_s: float = 60) -> list[Outcome]:
    """Of one call after the other over one connection, which is not opened again."""

    async def work() -> list[Outcome]:
        connection = sender_to(parse_target(url), timeout_s)
        found = [await connection.ask(message) for message in messages]
        await connection.close()
        assert connection.reconnects == 0
        return found

    return asyncio.run(work())


def test_messages_of_all_sizes_go_both_ways() -> None:
    # Beyond the windows of streams and connections, and the sizes of frames, on both sides.
    sizes = [0, 1, 16_384, 65_535, 65_536, 3_000_000, 10]
    seen: list[int] = []

    def echo(message: bytes, _: grpc.ServicerContext) -> bytes:
        seen.append(len(message))
        return message

    with answering(echo) as (url, _):
        assert ask(url, *(bytes(size) for size in sizes)) == [None] * len(sizes)
    assert seen == sizes


def test_many_small_calls_in_a_row() -> None:
    with answering(lambda message, _: message) as (url, _):
        assert ask(url, *[b"x" * 100] * 300) == [None] * 300


def test_failures_have_their_code_and_text_and_do_not_end_the_connection() -> None:
    def fail(message: bytes, context: grpc.ServicerContext) -> bytes:
        if message == b"refuse":
            context.abort(
                grpc.StatusCode.UNAVAILABLE, "[request id: 4711] exceeds maximum queue size\nmore: ü 100%"
            )
        if message == b"raise":
            raise ValueError("broken")
        return message

    with answering(fail) as (url, _):
        found = ask(url, b"refuse", b"ok", b"raise", b"ok")
    assert found[0] == "UNAVAILABLE: exceeds maximum queue size"
    assert str(found[2]).startswith("UNKNOWN: Exception calling application: broken")
    assert found[1::2] == [None, None]


def test_a_service_that_is_not_there() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    [found] = ask(f"grpc://127.0.0.1:{port}", b"x")
    server.stop(None).wait()
    assert str(found).startswith("UNIMPLEMENTED")


def test_headers_are_metadata() -> None:
    seen: dict[str, object] = {}

    def read(message: bytes, context: grpc.ServicerContext) -> bytes:
        seen.update(context.invocation_metadata())
        return message

    async def call(url: str) -> Outcome:
        connection = sender_to(replace(parse_target(url), headers=(("authorization", "Bearer x"),)), 60)
        outcome = await connection.ask(b"x")
        await connection.close()
        return outcome

    with answering(read) as (url, _):
        assert asyncio.run(call(url)) is None
    assert seen["authorization"] == "Bearer x"


def test_a_server_that_goes_away_and_comes_back() -> None:
    """The first one says goodbye (GOAWAY), the second one listens on the same port."""

    async def through_it(
        connection: Connection, first: grpc.Server, again: Callable[[], grpc.Server]
    ) -> list[Outcome]:
        found = [await connection.ask(b"1")]
        await asyncio.to_thread(first.stop(None).wait)
        found.append(await connection.ask(b"2"))
        second = again()
        found.append(await connection.ask(b"3"))
        await connection.close()
        await asyncio.to_thread(second.stop(None).wait)
        return found

    with answering(lambda message, _: message) as (url, server):
        target = parse_target(url)

        def again() -> grpc.Server:
            second = grpc.server(
                ThreadPoolExecutor(1), handlers=[Service(lambda message, _: message)], options=UNLIMITED
            )
            second.add_insecure_port(target.authority)
            second.start()
            return second

        found = asyncio.run(through_it(sender_to(target, 60), server, again))
    assert found[0] is None
    assert str(found[1]).startswith(("cannot connect", "the server closed the connection"))
    assert found[2] is None


def test_a_call_that_hangs_is_given_up() -> None:
    release = threading.Event()

    def hang(message: bytes, _: grpc.ServicerContext) -> bytes:
        release.wait()
        return message

    with answering(hang) as (url, _):
        assert ask(url, b"x", timeout_s=0.2) == ["no answer within 0.2 s"]
        release.set()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100), "no HTTP/2 answer"),
        (b"", "the server closed the connection before it answered"),
    ],
)
def test_what_is_no_server_of_grpc(answer: bytes, reason: str) -> None:
    async def call() -> Outcome:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(24)
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        connection = sender_to(parse_target(f"grpc://127.0.0.1:{server.sockets[0].getsockname()[1]}"), 60)
        outcome = await connection.ask(b"x")
        await connection.close()
        server.close()
        return outcome

    assert str(asyncio.run(call())).startswith((reason, "the server closed"))
