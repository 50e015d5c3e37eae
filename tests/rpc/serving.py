"""A gRPC server of a few plain methods, in a thread of this process."""

import asyncio
import queue
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import uvloop
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value, StringValue

from kserve_v2.errors import ErrorCode, ServingError
from kserve_v2.rpc.asyncio_server import AsyncioServer
from kserve_v2.rpc.calls import (
    Asked,
    Context,
    Direct,
    Parts,
    Rpc,
    Serialized,
)
from kserve_v2.rpc.options import GrpcOptions
from kserve_v2.rpc.typed import server_streaming, streaming, unary
from tests.processes.ends import forwarded

MAX_REQUEST_BYTES = 1024 * 1024
# The client's package has some of its own.
ERRORS = {
    error.code: error
    for error in ServingError.__subclasses__()
    if error.__module__ == ServingError.__module__
}


@dataclass
class Methods:
    """What the server answers, and what it has noticed of its clients."""

    given_up: "queue.SimpleQueue[str]" = field(default_factory=queue.SimpleQueue)
    started: "queue.SimpleQueue[str]" = field(default_factory=queue.SimpleQueue)
    ended: "queue.SimpleQueue[tuple[int, str]]" = field(default_factory=queue.SimpleQueue)

    def forget(self) -> None:
        """Forget what was noticed."""
        for noticed in (self.given_up, self.started, self.ended):
            while not noticed.empty():
                noticed.get()

    def rpcs(self) -> Sequence[Rpc]:
        """The table."""
        return (
            Direct("/test/Direct", self.start, lambda data: None),
            Direct("/test/DirectHang", self.start_and_hang, lambda data: None),
            Direct("/test/DirectDefect", self.start_with_a_defect, lambda data: None),
            Direct("/test/Recalled", self.start, recall),
            Direct("/test/RecalledHang", self.start_and_hang, self.recall_and_hang),
            Direct("/test/RecalledDefect", self.start_with_a_defect, recall_with_a_defect),
            Direct("/test/Zeros", lambda data, context: zeros(data), zeros),
            unary("/test/Echo", BytesValue, self.echo),
            unary("/test/Fail", StringValue, self.fail),
            unary("/test/Hang", StringValue, self.hang),
            unary("/test/Cancelled", StringValue, self.cancelled),
            unary("/test/Metadata", StringValue, self.metadata),
            server_streaming("/test/Repeat", Int64Value, self.repeat),
            server_streaming("/test/CancelledStream", BytesValue, self.cancelled_stream),
            streaming("/test/Stream", BytesValue, self.stream),
            streaming("/test/Deaf", BytesValue, self.deaf),
        )

    def start(self, data: Serialized, context: Context) -> Parts | Asked:
        """As `recall`, and notices the end of the call."""
        context.on_end(lambda code, details: self.ended.put((code, details)))
        return recall(data)

    def start_and_hang(self, data: Serialized, context: Context) -> Parts | Asked:
        """Never answers."""
        context.on_end(lambda code, details: self.ended.put((code, details)))
        self.started.put("DirectHang")
        return _Hanging(partial(self.given_up.put, "DirectHang"))

    def recall_and_hang(self, data: Serialized) -> Parts | Asked:
        """Never answers either."""
        self.started.put("RecalledHang")
        return _Hanging(partial(self.given_up.put, "RecalledHang"))

    def start_with_a_defect(self, data: Serialized, context: Context) -> Parts | Asked:
        """Raises what is no ServingError."""
        raise ValueError("secret")

    async def echo(self, request: BytesValue, context: Context) -> BytesValue:
        """The request."""
        return request

    async def fail(self, request: StringValue, context: Context) -> StringValue:
        """Raises the error that the request names, with the rest as its message."""
        name, _, message = request.value.partition(":")
        if name not in ErrorCode.__members__:
            raise ValueError("secret")
        raise ERRORS[ErrorCode[name]](message)

    async def hang(self, request: StringValue, context: Context) -> StringValue:
        """Waits until it is cancelled."""
        self.started.put("Hang")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.given_up.put("Hang")
            raise
        raise AssertionError

    async def cancelled(self, request: StringValue, context: Context) -> StringValue:
        """Waits for what is cancelled, while it is not."""
        waited_for: asyncio.Future[StringValue] = asyncio.get_running_loop().create_future()
        waited_for.cancel()
        return await waited_for

    async def cancelled_stream(self, request: BytesValue, context: Context) -> AsyncIterator[BytesValue]:
        """The request, and then as `cancelled`."""
        yield request
        await self.cancelled(StringValue(), context)

    async def metadata(self, request: StringValue, context: Context) -> StringValue:
        """The metadata that the test has sent."""
        return StringValue(value=repr([item for item in context.metadata if item[0].startswith("x-")]))

    async def repeat(self, request: Int64Value, context: Context) -> AsyncIterator[BytesValue]:
        """So many messages of 50 kB, for ever if the number is negative."""
        self.started.put("Repeat")
        try:
            number = 0
            while number != request.value:
                yield BytesValue(value=bytes(50_000))
                number += 1
                if number % 100 == 0:
                    await asyncio.sleep(0)
        finally:
            self.given_up.put("Repeat")

    async def stream(
        self, requests: AsyncIterator[BytesValue], context: Context
    ) -> AsyncIterator[BytesValue]:
        """Every message; `fail` is an error."""
        self.started.put("Stream")
        try:
            async for request in requests:
                if request.value == b"fail":
                    raise ERRORS[ErrorCode.NOT_FOUND]("no such thing")
                yield request
        finally:
            self.given_up.put("Stream")

    async def deaf(self, requests: AsyncIterator[BytesValue], context: Context) -> AsyncIterator[BytesValue]:
        """Says one thing and does not listen."""
        yield BytesValue(value=b"what?")
        await asyncio.Event().wait()


def recall(data: Serialized) -> Parts | Asked:
    """The message itself, at once or soon after; for some messages an error, at once or soon after."""
    end = bytes(data[-len(b"fail later") :])
    if end.endswith(b"fail"):
        raise ERRORS[ErrorCode.NOT_FOUND]("no such thing")
    if end.endswith(b"fail later"):
        return _Soon(ERRORS[ErrorCode.NOT_FOUND]("no such thing"))
    if end.endswith(b"later"):
        return _Soon((data[:2], data[2:]))
    return (data,)


def zeros(data: Serialized) -> Parts:
    """As many bytes as the message says."""
    return (bytes(int(bytes(data))),)


class _Hanging(Asked):
    """Under way for ever."""

    def __init__(self, given_up: Callable[[], object]) -> None:
        self._given_up = given_up

    def give_up(self) -> None:
        self._given_up()


class _Soon(Asked):
    """Over in the next turn of the event loop."""

    def __init__(self, outcome: Parts | ServingError) -> None:
        self._handle = asyncio.get_running_loop().call_soon(lambda: self.on_answer(outcome))

    def give_up(self) -> None:
        self._handle.cancel()


def recall_with_a_defect(data: Serialized) -> Parts | Asked:
    """Raises what is no ServingError."""
    raise ValueError("secret")


@dataclass
class Served:
    """A server that runs."""

    address: str
    methods: Methods
    server: AsyncioServer
    loop: asyncio.AbstractEventLoop
    stopping: asyncio.Event

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function on the server's loop; returns its result, awaited if it is a coroutine."""

        async def run() -> Any:
            result = function()
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(60)


@contextmanager
def serving(
    transport: str = "asyncio", tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[Served]:
    """A server with these options, stopped in the end."""
    methods = Methods()
    made = GrpcOptions(**{"max_request_bytes": MAX_REQUEST_BYTES, **options})
    ready: queue.SimpleQueue[Served] = queue.SimpleQueue()

    async def serve() -> None:
        async with forwarded(methods.rpcs()) as forwarded_rpcs:
            await serve_rpcs(forwarded_rpcs if transport == "forwarded" else methods.rpcs())

    async def serve_rpcs(rpcs: Sequence[Rpc]) -> None:
        stopping = asyncio.Event()
        server = AsyncioServer(rpcs, made, tls)
        port = server.bind("127.0.0.1", 0)
        await server.start()
        ready.put(Served(f"127.0.0.1:{port}", methods, server, asyncio.get_running_loop(), stopping))
        await stopping.wait()
        await server.stop(0)

    thread = threading.Thread(target=lambda: uvloop.run(serve()))
    thread.start()
    served = ready.get(timeout=60)
    try:
        yield served
    finally:
        served.loop.call_soon_threadsafe(served.stopping.set)
        thread.join(60)
        assert not thread.is_alive()
