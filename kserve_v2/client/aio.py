"""The client for programs with an event loop."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from kserve_v2.client.address import read_address
from kserve_v2.client.call import make_call
from kserve_v2.client.connection import Connection, FilePath, Token
from kserve_v2.client.deadline import Deadline
from kserve_v2.client.description import Json
from kserve_v2.client.errors import InvitedError
from kserve_v2.client.exchange import Exchange, Pause, Stream
from kserve_v2.client.options import (
    DEFAULT,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_S,
    Timeout,
    protocol_of,
    seconds,
)
from kserve_v2.client.request import ParameterValue, SequenceStep
from kserve_v2.client.result import InferResult
from kserve_v2.client.retries import Retries
from kserve_v2.client.steps import Operations, Steps, load_config, simply
from kserve_v2.errors import RequestCancelledError

T = TypeVar("T")


class AsyncTransport(Protocol):
    """How the async client talks to its server."""

    async def send(self, exchange: Any, headers: dict[str, str], deadline: Deadline) -> Any:
        """Ask, and read the answer."""
        ...

    def stream(self, stream: Any, headers: dict[str, str], deadline: Deadline) -> AsyncGenerator[Any, None]:
        """Ask, and read the answers as they come."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class AsyncResultStream(AsyncIterator[InferResult]):
    """The answers to one request, as they come. Leaving it (`close`, or the end of an `async with` block) tells the
    server to stop.
    """

    def __init__(self, results: AsyncGenerator[InferResult, None]) -> None:
        self._results = results

    async def __anext__(self) -> InferResult:
        return await anext(self._results)

    async def close(self) -> None:
        """Read no further."""
        await self._results.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class AsyncClient:
    """As `Client`, for one event loop, whose tasks may share it.

        async with AsyncClient("http://127.0.0.1:8000") as client:
            probabilities = (await client.infer("digits", image=array))["probabilities"]

    Values are converted to what the model's metadata says, which is read once and again when it may have changed: numpy
    arrays, tensors of torch, images of Pillow, `str`, `bytes`, numbers, and lists of them. Of a model that batches, one
    row may be given without the batch dimension, in all inputs, and is answered without it.

    Errors are those of `kserve_v2.client.errors`, with the server's text and code. A request that the server has
    refused before it has begun with it, and asks to have again later, is sent again.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        headers: Mapping[str, str] | None = None,
        token: Token | None = None,
        ca_file: FilePath | None = None,
        cert_file: FilePath | None = None,
        key_file: FilePath | None = None,
    ) -> None:
        """`url`: http://, https:// (REST, with binary tensors), grpc:// or grpcs://; HOST:PORT alone is http://.
        `timeout`: seconds for a call with all that belongs to it. `retries`: how often a request is sent again at most.
        `token`: of a bearer, or what gives one. `ca_file`, `cert_file`, `key_file`: PEM files for TLS. Raises
        InvalidArgumentError.
        """
        address = read_address(url)
        self.url = address.url
        self._timeout_s = seconds(timeout, None)
        self._connection = Connection(address, dict(headers or {}), token, ca_file, cert_file, key_file)
        self._operations = Operations(protocol_of(address), Retries(retries))
        self._transport = _transport(self._connection)
        self._closed = False

    # --- inference -----------------------------------------------------------------------------------------------

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        version: int | str = "",
        outputs: Sequence[str] | None = None,
        classes: int | Mapping[str, int] | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        request_id: str = "",
        sequence: SequenceStep | None = None,
        timeout: Timeout = DEFAULT,
        headers: Mapping[str, str] | None = None,
        **named: Any,
    ) -> InferResult:
        """One request, and its answer: the outputs by name.

        `inputs`: those whose names are none of Python's, or of arguments here; the others may be given by name.
        `version`: a number, or a label. `outputs`: the names of those that are wanted, all if there are none.
        `classes`: how many of the highest values are wanted instead, with their labels, of all outputs or by output;
        see `InferResult.classes`. `sequence`: the step of a sequence that it is. `timeout`: in seconds.
        """
        call = make_call(
            model, inputs, named,
            version=version, outputs=outputs, classes=classes, parameters=parameters, request_id=request_id,
            sequence=sequence,
        )  # fmt: skip
        deadline = self._deadline(timeout)
        return await self._run(self._operations.infer(call, deadline), deadline, headers)

    async def stream(
        self,
        model: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        version: int | str = "",
        outputs: Sequence[str] | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        request_id: str = "",
        sequence: SequenceStep | None = None,
        timeout: Timeout = None,
        headers: Mapping[str, str] | None = None,
        **named: Any,
    ) -> AsyncResultStream:
        """One request, and its answers as they come: of models that answer any number of times, and of all others. As
        `infer`, but that there is no limit of time unless it is given, which is then that of the whole stream.

        Over REST by `generate_stream`, which carries texts and numbers in JSON; gRPC carries everything.
        """
        call = make_call(
            model, inputs, named,
            version=version, outputs=outputs, classes=None, parameters=parameters, request_id=request_id,
            sequence=sequence,
        )  # fmt: skip
        deadline = self._deadline(timeout)
        stream, one_row = await self._run(self._operations.prepare_stream(call, deadline), deadline, headers)
        return AsyncResultStream(self._results(stream, deadline, headers, one_row=one_row))

    async def _results(
        self,
        stream: Stream[InferResult],
        deadline: Deadline,
        headers: Mapping[str, str] | None,
        *,
        one_row: bool,
    ) -> AsyncGenerator[InferResult, None]:
        try:
            sent = self._connection.request_headers(headers)
            async with aclosing(self._transport.stream(stream, sent, deadline)) as results:
                async for result in results:
                    yield result.row() if one_row else result
        except InvitedError as refused:
            raise refused.error from None

    # --- the server and its models -------------------------------------------------------------------------------

    async def live(self, *, timeout: Timeout = DEFAULT) -> bool:
        """Whether the server is live. Raises UnreachableError if there is none."""
        return await self._ask(self._operations.protocol.live(), timeout)

    async def ready(self, model: str = "", *, version: int | str = "", timeout: Timeout = DEFAULT) -> bool:
        """Whether the server is ready, or a model."""
        return await self._ask(self._operations.protocol.ready(model, str(version)), timeout)

    async def models(self, *, ready: bool = False, timeout: Timeout = DEFAULT) -> list[Json]:
        """The repository's models, each with `name`, and where there are any `version`, `state` and `reason`. `ready`:
        only those that are.
        """
        return await self._ask(self._operations.protocol.index(ready=ready), timeout)

    async def metadata(self, model: str = "", *, version: int | str = "", timeout: Timeout = DEFAULT) -> Json:
        """The server's metadata, or a model's: its inputs and outputs."""
        protocol = self._operations.protocol
        exchange = protocol.model_metadata(model, str(version)) if model else protocol.server_metadata()
        return await self._ask(exchange, timeout)

    async def config(self, model: str, *, version: int | str = "", timeout: Timeout = DEFAULT) -> Json:
        """The configuration that a model is served with."""
        return await self._ask(self._operations.protocol.config(model, str(version)), timeout)

    async def statistics(
        self, model: str = "", *, version: int | str = "", timeout: Timeout = DEFAULT
    ) -> list[Json]:
        """Counters and durations of a model, or of all, one for each version."""
        return await self._ask(self._operations.protocol.statistics(model, str(version)), timeout)

    async def load(
        self,
        model: str,
        *,
        config: Mapping[str, Any] | str | None = None,
        files: Mapping[str, bytes] | None = None,
        timeout: Timeout = None,
    ) -> None:
        """Load a model, or load it again; returns when it is ready. `config`: instead of its own, as JSON. `files`:
        instead of its own, by path below its directory, as `1/model.onnx`. No limit of time unless it is given.
        """
        await self._ask(self._operations.protocol.load(model, load_config(config), files or {}), timeout)

    async def unload(self, model: str, *, dependents: bool = False, timeout: Timeout = DEFAULT) -> None:
        """Unload a model. `dependents`: and the models that an ensemble is made of."""
        await self._ask(self._operations.protocol.unload(model, dependents=dependents), timeout)

    async def release(self, model: str, change: Json | None = None, *, timeout: Timeout = DEFAULT) -> Json:
        """Which versions of a model answer requests that name a label, or no version: kserve-v2 over REST only.
        `change`: what is to become of it, with the members `labels`, `split` and `shadow`.
        """
        return await self._ask(self._operations.protocol.release(model, change), timeout)

    # --- how that is done ----------------------------------------------------------------------------------------

    def _deadline(self, timeout: Timeout) -> Deadline:
        return Deadline(seconds(timeout, self._timeout_s))

    async def _ask(self, exchange: Exchange[T], timeout: Timeout) -> T:
        return await self._run(simply(exchange), self._deadline(timeout), None)

    async def _run(self, steps: Steps[T], deadline: Deadline, headers: Mapping[str, str] | None) -> T:
        """Do what the steps say."""
        sent = self._connection.request_headers(headers)
        try:
            step = next(steps)
            while True:
                try:
                    answer = await self._do(step, sent, deadline)
                except Exception as error:  # noqa: BLE001 - the steps know what is one
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        except InvitedError as refused:
            raise refused.error from None

    async def _do(self, step: Exchange[Any] | Pause, headers: dict[str, str], deadline: Deadline) -> Any:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        if self._closed:
            raise RequestCancelledError("the client is closed")
        try:
            return await self._transport.send(step, headers, deadline)
        except Exception as error:
            if self._closed:
                # Whatever the transport says of connections that are taken away while it reads from them.
                raise RequestCancelledError("the client is closed") from error
            raise

    async def close(self) -> None:
        """Close the connections. Calls that wait to be sent again end."""
        self._closed = True
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"


def _transport(connection: Connection) -> AsyncTransport:
    # Imported here: who speaks one protocol does not wait for the other's library.
    if connection.address.grpc:
        from kserve_v2.client.grpc_async import AsyncGrpcTransport  # noqa: PLC0415

        return AsyncGrpcTransport(connection)
    from kserve_v2.client.http_async import AsyncHttpTransport  # noqa: PLC0415

    return AsyncHttpTransport(connection)
