"""The gRPC server on grpcio's asyncio transport."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc

from kserve_v2.errors import ServingError
from kserve_v2.net.tls import PemFiles
from kserve_v2.net.unix_socket import PREFIX, UnixPath, unix_path
from kserve_v2.rpc.calls import Asked, Context, Direct, Metadata, Parts, Rpc
from kserve_v2.rpc.options import (
    COMPRESSION_LEVELS,
    MAX_CONCURRENT_STREAMS,
    MAX_METADATA_BYTES,
    GrpcOptions,
)
from kserve_v2.rpc.status import StatusCode, retry_pushback, status_of
from kserve_v2.scheduling.failures import unless_cancelled

logger = logging.getLogger(__name__)

# Calls that the event loop has not accepted yet. Beyond 1000, its default, grpc would cancel new calls at random. How
# many requests may wait is decided by the models' queues.
_MAX_PENDING_CALLS = 100_000

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

_ServicerContext = grpc.aio.ServicerContext[Any, Any]


def channel_arguments(options: GrpcOptions) -> list[tuple[str, int]]:
    """The arguments for `grpc.aio.server`."""
    ages = {
        "grpc.max_connection_age_ms": options.max_connection_age_ms,
        "grpc.max_connection_age_grace_ms": options.max_connection_age_grace_ms,
    }
    return [
        ("grpc.max_receive_message_length", options.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        # Two servers on one port would share its connections in silence; a port in use is an error instead.
        ("grpc.so_reuseport", 0),
        ("grpc.server.max_pending_requests", _MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING_CALLS),
        ("grpc.max_concurrent_streams", MAX_CONCURRENT_STREAMS),
        # The first limit is announced to the client, the second is enforced.
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.keepalive_time_ms", options.keepalive_time_ms),
        ("grpc.keepalive_timeout_ms", options.keepalive_timeout_ms),
        ("grpc.keepalive_permit_without_calls", int(options.keepalive_permit_without_calls)),
        ("grpc.http2.max_pings_without_data", options.max_pings_without_data),
        ("grpc.http2.min_ping_interval_without_data_ms", options.min_recv_ping_interval_without_data_ms),
        ("grpc.http2.max_ping_strikes", options.max_ping_strikes),
        ("grpc.default_compression_level", COMPRESSION_LEVELS.index(options.response_compression)),
        *((name, milliseconds) for name, milliseconds in ages.items() if milliseconds),
    ]


class GrpcioServer:
    """A `server.GrpcServer`.

    A call whose path is not UTF-8 ends the loop in which grpcio (1.85 and older) takes calls, and so the whole
    server. It is then replaced: calls that are under way are lost, later ones are answered.
    """

    def __init__(self, rpcs: Sequence[Rpc], options: GrpcOptions, tls: PemFiles | None = None) -> None:
        """`options` hold for every connection. `tls`: None for cleartext."""
        self._credentials = _credentials(tls) if tls else None
        self._handlers = _Handlers(rpcs)
        self._options = options
        self._server: grpc.aio.Server | None = None
        self._address = ""
        self._path: UnixPath | None = None
        self._guard: asyncio.Task[None] | None = None

    def bind(self, address: str, port: int) -> int:
        path = unix_path(address)
        if path is not None:
            # Grpc would take it away from a server that lives.
            self._path = UnixPath(path)
            self._address = f"{PREFIX}{path}"
            self._listen()
            return 0
        host = f"[{address}]" if ":" in address else address
        self._address = f"{host}:{port}"
        bound = self._listen()
        self._address = f"{host}:{bound}"
        return bound

    def _listen(self) -> int:
        """Have a new server listen. Returns the port. Raises OSError."""
        self._server = server = grpc.aio.server(options=channel_arguments(self._options))
        server.add_generic_rpc_handlers((self._handlers,))
        try:
            if self._credentials is None:
                bound = server.add_insecure_port(self._address)
            else:
                bound = server.add_secure_port(self._address, self._credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._address}") from error
        if not bound:
            raise OSError(f"cannot listen on {self._address}")
        if self._path is not None:
            self._path.note()
        return bound

    async def start(self) -> None:
        assert self._server is not None  # noqa: S101 - after `bind`
        before = asyncio.all_tasks()
        await self._server.start()
        # The tasks of grpcio, which has no API for them. None of them fails while the server is healthy.
        tasks = asyncio.all_tasks() - before
        self._guard = asyncio.create_task(self._replace_if_broken(tasks))

    async def _replace_if_broken(self, tasks: set[asyncio.Task[object]]) -> None:
        finished, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        problems = [task.exception() for task in finished if not task.cancelled()]
        if not any(problems):
            return
        logger.error("grpcio has stopped taking calls: starting again on %s", self._address)
        assert self._server is not None  # noqa: S101 - it was started
        await self._server.stop(None)
        self._listen()
        await self.start()

    async def stop(self, grace_seconds: float) -> None:
        if self._guard is not None:
            self._guard.cancel()
        if self._server is not None:
            await self._server.stop(grace_seconds)
        if self._path is not None:
            self._path.release()


def _credentials(tls: PemFiles) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)], tls.client_roots, require_client_auth=tls.client_roots is not None
    )


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
    """The RPCs as grpcio wants them. Those that are not there are UNIMPLEMENTED."""

    def __init__(self, rpcs: Sequence[Rpc]) -> None:
        self._by_path = {rpc.path: _handler(rpc) for rpc in rpcs}

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return self._by_path.get(handler_call_details.method)


def _handler(rpc: Rpc) -> "grpc.RpcMethodHandler[Any, Any]":
    if isinstance(rpc, Direct):
        return grpc.unary_unary_rpc_method_handler(_direct(rpc))
    return grpc.stream_stream_rpc_method_handler(_streaming(rpc.answer))


class _Context:
    """What RPCs may ask about a call. `left`: it was cancelled, which grpcio does not tell those who wait for it."""

    def __init__(self, context: _ServicerContext) -> None:
        self._context = context
        self.left = False

    @property
    def metadata(self) -> Metadata:
        return tuple((name, value) for name, value in self._context.invocation_metadata() or ())

    def on_end(self, callback: Callable[[int, str], None]) -> None:
        context = self._context

        def done(_: object) -> None:
            if self.left or context.cancelled():
                callback(StatusCode.CANCELLED, "the client left")
                return
            code = context.code()
            number = code.value[0] if isinstance(code, grpc.StatusCode) else code or 0
            callback(number, context.details() or "")

        # A callback is any callable to grpc, but a class to its stubs.
        context.add_done_callback(done)  # type: ignore[arg-type]


async def _sent(answer: Parts | Exception, context: _ServicerContext) -> bytes:
    """The answer as grpc takes it. Errors are not left to grpc, which would show the client the name of our exception
    class. `abort` raises, so this is called outside of `except`: otherwise the first exception would live in a
    reference cycle, and the request's tensors with it, until the garbage collector runs.
    """
    if not isinstance(answer, Exception):
        return b"".join(answer)
    code, details = status_of(answer)
    await context.abort(_CODES[code], details, retry_pushback(answer))
    raise AssertionError("abort raises")


def _direct(rpc: Direct) -> Any:
    async def call(message: bytes, context: _ServicerContext) -> bytes:
        answer: Parts | Exception
        described = _Context(context)
        try:
            found = rpc.recall(message)
            if found is None:
                found = rpc.start(message, described)
            answer = await _outcome(found, described) if isinstance(found, Asked) else found
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            answer = error
        return await _sent(answer, context)

    return call


async def _outcome(asked: Asked, context: _Context) -> Parts | ServingError:
    """Wait for the outcome of a request that is under way."""
    outcome: asyncio.Future[Parts | ServingError] = asyncio.get_running_loop().create_future()

    def on_answer(answer: Parts | ServingError) -> None:
        if not outcome.done():
            outcome.set_result(answer)

    asked.on_answer = on_answer
    try:
        return await outcome
    except asyncio.CancelledError:
        context.left = True
        asked.give_up()
        raise


def _streaming(answer: Callable[[Any, Context], AsyncIterator[Parts]]) -> Any:
    async def call(request: Any, context: _ServicerContext) -> AsyncIterator[bytes]:
        try:
            async for response in answer(request, _Context(context)):
                yield b"".join(response)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a defect of ours is one call's failure
            failure = unless_cancelled(error)
        else:
            return
        await _sent(failure, context)

    return call
