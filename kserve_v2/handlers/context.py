"""What handlers are given beside tensors; also the types for their annotations."""

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kserve_v2.backend import ModelConfig, Placement, ThreadBudget
from kserve_v2.errors import InternalError
from kserve_v2.messages import InferRequest, ParameterValue

SequencePlace = tuple[int | str, bool, bool]
"""Of a step of a sequence: its id, and whether it is the first, and the last."""


class Request(Protocol):
    """One of the requests that a handler executes.

    `rows`: how many rows of the batch are its own. `parameters`: what its client has sent with it. `timeout`: how many
    microseconds that lets it wait, 0 if it has said nothing. `cancelled`: nobody waits for the answer any more.
    `response_parameters`: to write to.
    """

    id: str
    rows: int
    parameters: dict[str, ParameterValue]
    cancelled: bool
    response_parameters: dict[str, ParameterValue]

    @property
    def timeout(self) -> int: ...

    def reschedule(self, inputs: Mapping[str, Any] | None = None) -> None:
        """Ask for another round, in an iterative model: with these inputs in the place of those that it has now."""
        ...


class Answer(dict[str, Any]):
    """Tensors by name: the outputs that another model has answered with. `version`: of that model. `parameters`: of the
    response.
    """

    version: str
    parameters: dict[str, ParameterValue]


class Counter(Protocol):
    """A metric that only grows."""

    def increment(self, value: float = 1) -> None:
        """Add something that is not negative."""
        ...

    def value(self) -> float:
        """How much it has come to."""
        ...


class Gauge(Protocol):
    """A metric that goes up and down."""

    def set(self, value: float) -> None:
        """Make it this."""
        ...

    def increment(self, value: float = 1) -> None:
        """Add something."""
        ...

    def decrement(self, value: float = 1) -> None:
        """Take something off."""
        ...

    def value(self) -> float:
        """What it is now."""
        ...


class Histogram(Protocol):
    """A metric of values, counted by size."""

    def observe(self, value: float) -> None:
        """Count one."""
        ...

    def time(self) -> AbstractContextManager[None]:
        """Count how many seconds the block takes, also if it fails."""
        ...


class Metrics(Protocol):
    """Makes metrics that the server shows. The same name with the same labels is the same metric."""

    def counter(self, name: str, description: str, *, labels: Mapping[str, str] | None = None) -> Counter:
        """A counter of that name: of tokens, say, `tokens_total`."""
        ...

    def gauge(self, name: str, description: str, *, labels: Mapping[str, str] | None = None) -> Gauge:
        """A gauge of that name."""
        ...

    def histogram(
        self,
        name: str,
        description: str,
        *,
        buckets: Sequence[float] = ...,
        labels: Mapping[str, str] | None = None,
    ) -> Histogram:
        """A histogram of that name. `buckets`: the largest value of each, ascending; by default such as suit durations
        in seconds.
        """
        ...


Requests = Request | Iterable[Request] | None


class Calling(Protocol):
    """Asks other models for one handler object."""

    def serving(self, requests: Sequence[InferRequest]) -> AbstractContextManager[None]:
        """The handler executes these in here."""
        ...

    def request(
        self,
        model: str,
        inputs: Mapping[str, Any],
        version: str | int,
        outputs: Iterable[str],
        parameters: Mapping[str, ParameterValue] | None,
        sequence: SequencePlace | None,
    ) -> InferRequest:
        """The request that a handler wants to make. Raises InternalError, which names what is wrong with it."""
        ...

    def call(self, request: InferRequest, requests: Requests) -> Answer:
        """The one answer. `requests`: what it is for."""
        ...

    async def call_async(self, request: InferRequest, requests: Requests) -> Answer:
        """As `call`."""
        ...

    def stream(self, request: InferRequest, requests: Requests) -> Generator[Answer, None, None]:
        """All answers."""
        ...

    def stream_async(self, request: InferRequest, requests: Requests) -> AsyncGenerator[Answer, None]:
        """As `stream`."""
        ...


class Preparing(Protocol):
    """Makes torch modules ready for one handler object."""

    def prepare(
        self, module: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Callable[..., Any]:
        """See `Context.prepare`."""
        ...

    def warn_if_unused(self) -> None:
        """The handler is loaded: say what its configuration asks for, if it has prepared nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler's `load` is told, and what it calls other models with.

    `path`: the version's directory, where weights lie beside the handler. `model_path`: the model's
    directory. `device`: `cpu` or `cuda:N`. `parameters`: the configuration's, as strings. `config`: the whole
    of it, completed, with the tensors that no client sees behind the others; a copy, so that changes have no effect.
    `metrics`: makes metrics that the server shows.
    """

    name: str
    version: int
    path: Path
    model_path: Path
    device: str
    parameters: Mapping[str, str]
    logger: logging.Logger
    placement: Placement
    threads: ThreadBudget
    calling: Calling = field(repr=False)
    config: ModelConfig = field(repr=False)
    metrics: Metrics = field(repr=False)
    preparing: Preparing = field(repr=False)
    cache_path: Path | None = field(default=None, repr=False)

    @property
    def cache_dir(self) -> Path:
        """A directory of the model's own that outlives the server, for what is downloaded or computed once; made when
        it is asked for. All versions and instances have the same, also those of other servers with the same repository:
        write a file under another name, and rename it when it is complete.

        Raises InternalError where it cannot be made.
        """
        problem: str | None = "the user has no home directory"
        if self.cache_path is not None:
            try:
                self.cache_path.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                self.logger.error("context.cache_dir: %s", error)  # noqa: TRY400 - where, which no client is told
                problem = error.strerror
            else:
                return self.cache_path
        raise InternalError(
            f"context.cache_dir: it cannot be made: {problem}. Start the server with --model-cache-dir, a directory "
            "that it may write to"
        )

    def prepare(self, module: Callable[..., Any], /, *example: Any, **named: Any) -> Callable[..., Any]:
        """A torch module of the handler's, to be called in its place: moved to the device, in evaluation mode, without
        gradients, and otherwise as the configuration's parameters say: `compile`, `compile_batch_sizes`, `autocast`,
        `memory_format`, `INFERENCE_MODE`. The module itself is changed, too.

        `example` and `named`: the arguments of a call, with tensors of one row. They are needed for `compile` if the
        module does not take the model's inputs in the order of the configuration: a module is compiled while it is
        loaded, by calling it with batches of the sizes that it will get, and not when a client waits.

        Raises InvalidArgumentError where a parameter is wrong, or the module cannot be compiled.
        """
        return self.preparing.prepare(module, example, named)

    def call(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Requests = None,
    ) -> Answer:
        """The answer of another model, as a dict of tensors: writable, and of the kind of the handler's own. Blocks.

        `version`: the highest by default. `outputs`: all by default. `parameters`: `priority` and `timeout`, in
        microseconds, among them; by default they are those of the requests. `sequence`: for a model that has them.
        `requests`: those that the call is for, out of those that the handler has been called with; all of them by
        default. If nobody waits for any of them any more, the call is given up.

        Raises the ServingError, by its code, that the other model has failed with.
        """
        request = self.calling.request(model, inputs, version, outputs, parameters, sequence)
        return self.calling.call(request, requests)

    async def call_async(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Requests = None,
    ) -> Answer:
        """As `call`, for async handlers."""
        request = self.calling.request(model, inputs, version, outputs, parameters, sequence)
        return await self.calling.call_async(request, requests)

    def stream(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Requests = None,
    ) -> Generator[Answer, None, None]:
        """As `call`, for each of the answers of a model that gives any number of them. One that is not read to its end
        is to be closed.
        """
        request = self.calling.request(model, inputs, version, outputs, parameters, sequence)
        return self.calling.stream(request, requests)

    def stream_async(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Requests = None,
    ) -> AsyncGenerator[Answer, None]:
        """As `stream`, for async handlers."""
        request = self.calling.request(model, inputs, version, outputs, parameters, sequence)
        return self.calling.stream_async(request, requests)
