"""The client for programs without an event loop."""

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
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


class Transport(Protocol):
    """How the sync client talks to its server."""

    def send(self, exchange: Any, headers: dict[str, str], deadline: Deadline) -> Any:
        """Ask, and read the answer."""
        ...

    def stream(self, stream: Any, headers: dict[str, str], deadline: Deadline) -> Iterator[Any]:
        """Ask, and read the answers as they come."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class ResultStream(Iterator[InferResult]):
    """The answers to one request, as they come. Leaving it (`close`, the end of a `with` block, or of the last
    reference to it) tells the server to stop.
    """

    def __init__(self, results: Generator[InferResult, None, None]) -> None:
        self._results = results

    def __next__(self) -> InferResult:
        return next(self._results)

    def close(self) -> None:
        """Read no further."""
        self._results.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Client:
    """A client of one server. Threads may share it; its connections are kept and used again.

        with Client("http://127.0.0.1:8000") as client:
            probabilities = client.infer("digits", image=array)["probabilities"]

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
        self._closed = threading.Event()

    # --- inference -----------------------------------------------------------------------------------------------

    def infer(
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
        return self._run(self._operations.infer(call, deadline), deadline, headers)

    def stream(
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
    ) -> ResultStream:
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
        stream, one_row = self._run(self._operations.prepare_stream(call, deadline), deadline, headers)
        return ResultStream(self._results(stream, deadline, headers, one_row=one_row))

    def _results(
        self,
        stream: Stream[InferResult],
        deadline: Deadline,
        headers: Mapping[str, str] | None,
        *,
        one_row: bool,
    ) -> Generator[InferResult, None, None]:
        try:
            sent = self._connection.request_headers(headers)
            for result in self._transport.stream(stream, sent, deadline):
                yield result.row() if one_row else result
        except InvitedError as refused:
            raise refused.error from None

    # --- the server and its models -------------------------------------------------------------------------------

    def live(self, *, timeout: Timeout = DEFAULT) -> bool:
        """Whether the server is live. Raises UnreachableError if there is none."""
        return self._ask(self._operations.protocol.live(), timeout)

    def ready(self, model: str = "", *, version: int | str = "", timeout: Timeout = DEFAULT) -> bool:
        """Whether the server is ready, or a model."""
        return self._ask(self._operations.protocol.ready(model, str(version)), timeout)

    def models(self, *, ready: bool = False, timeout: Timeout = DEFAULT) -> list[Json]:
        """The repository's models, each with `name`, and where there are any `version`, `state` and `reason`. `ready`:
        only those that are.
        """
        return self._ask(self._operations.protocol.index(ready=ready), timeout)

    def metadata(self, model: str = "", *, version: int | str = "", timeout: Timeout = DEFAULT) -> Json:
        """The server's metadata, or a model's: its inputs and outputs."""
        protocol = self._operations.protocol
        exchange = protocol.model_metadata(model, str(version)) if model else protocol.server_metadata()
        return self._ask(exchange, timeout)

    def config(self, model: str, *, version: int | str = "", timeout: Timeout = DEFAULT) -> Json:
        """The configuration that a model is served with."""
        return self._ask(self._operations.protocol.config(model, str(version)), timeout)

    def statistics(
        self, model: str = "", *, version: int | str = "", timeout: Timeout = DEFAULT
    ) -> list[Json]:
        """Counters and durations of a model, or of all, one for each version."""
        return self._ask(self._operations.protocol.statistics(model, str(version)), timeout)

    def load(
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
        self._ask(self._operations.protocol.load(model, load_config(config), files or {}), timeout)

    def unload(self, model: str, *, dependents: bool = False, timeout: Timeout = DEFAULT) -> None:
        """Unload a model. `dependents`: and the models that an ensemble is made of."""
        self._ask(self._operations.protocol.unload(model, dependents=dependents), timeout)

    def release(self, model: str, change: Json | None = None, *, timeout: Timeout = DEFAULT) -> Json:
        """Which versions of a model answer requests that name a label, or no version: kserve-v2 over REST only.
        `change`: what is to become of it, with the members `labels`, `split` and `shadow`.
        """
        return self._ask(self._operations.protocol.release(model, change), timeout)

    # --- how that is done ----------------------------------------------------------------------------------------

    def _deadline(self, timeout: Timeout) -> Deadline:
        return Deadline(seconds(timeout, self._timeout_s))

    def _ask(self, exchange: Exchange[T], timeout: Timeout) -> T:
        return self._run(simply(exchange), self._deadline(timeout), None)

    def _run(self, steps: Steps[T], deadline: Deadline, headers: Mapping[str, str] | None) -> T:
        """Do what the steps say."""
        sent = self._connection.request_headers(headers)
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._do(step, sent, deadline)
                except Exception as error:  # noqa: BLE001 - the steps know what is one
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        except InvitedError as refused:
            raise refused.error from None

    def _do(self, step: Exchange[Any] | Pause, headers: dict[str, str], deadline: Deadline) -> Any:
        if isinstance(step, Pause):
            self._closed.wait(step.seconds)
            return None
        if self._closed.is_set():
            raise RequestCancelledError("the client is closed")
        try:
            return self._transport.send(step, headers, deadline)
        except Exception as error:
            if self._closed.is_set():
                # Whatever the transport says of connections that are taken away while it reads from them.
                raise RequestCancelledError("the client is closed") from error
            raise

    def close(self) -> None:
        """Close the connections. Calls that wait to be sent again end."""
        self._closed.set()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"


def _transport(connection: Connection) -> Transport:
    # Imported here: who speaks one protocol does not wait for the other's library.
    if connection.address.grpc:
        from kserve_v2.client.grpc_sync import GrpcTransport  # noqa: PLC0415

        return GrpcTransport(connection)
    from kserve_v2.client.http_sync import HttpTransport  # noqa: PLC0415

    return HttpTransport(connection)
