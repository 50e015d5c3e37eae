"""What handlers are given beside tensors, as types for annotations."""

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from kserve_v2.backend import ModelConfig, Placement, ThreadBudget
from kserve_v2.messages import ParameterValue

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


class Context(Protocol):
    """What a handler's `load` is told, and what it calls other models with."""

    @property
    def name(self) -> str:
        """Of the model."""
        ...

    @property
    def version(self) -> int:
        """Of the model."""
        ...

    @property
    def path(self) -> Path:
        """The version's directory, where weights lie beside the handler."""
        ...

    @property
    def model_path(self) -> Path:
        """The model's directory."""
        ...

    @property
    def device(self) -> str:
        """`cpu` or `cuda:N`."""
        ...

    @property
    def parameters(self) -> Mapping[str, str]:
        """Those of the configuration, as strings."""
        ...

    @property
    def logger(self) -> logging.Logger:
        """Of the model: its lines are the server's."""
        ...

    @property
    def placement(self) -> Placement:
        """Which of the model's instances this is, and where."""
        ...

    @property
    def threads(self) -> ThreadBudget:
        """How many CPU threads this instance is to use."""
        ...

    @property
    def config(self) -> ModelConfig:
        """The whole configuration, completed; a copy."""
        ...

    @property
    def metrics(self) -> Metrics:
        """Makes metrics that the server shows."""
        ...

    @property
    def cache_dir(self) -> Path:
        """A directory of the model's own that outlives the server, for what is downloaded or computed once. Raises
        InternalError where it cannot be made.
        """
        ...

    def prepare(self, module: Callable[..., Any], /, *example: Any, **named: Any) -> Callable[..., Any]:
        """A torch module of the handler's, to be called in its place: on the device, in evaluation mode, without
        gradients, and compiled or in another precision as the configuration's parameters say.

        `example` and `named`: the arguments of a call, with tensors of one row; needed for `compile` if the module does
        not take the model's inputs in the order of the configuration.
        """
        ...

    def call(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Any = None,
    ) -> Answer:
        """The answer of another model, as a dict of tensors: writable, and of the kind of the handler's own. Blocks.

        `version`: the highest by default. `outputs`: all by default. `parameters`: `priority` and `timeout`, in
        microseconds, among them; by default they are those of the requests. `sequence`: for a model that has them.
        `requests`: those that the call is for, out of those that the handler has been called with; all of them by
        default. If nobody waits for any of them any more, the call is given up.

        Raises the ServingError, by its code, that the other model has failed with.
        """
        ...

    async def call_async(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Any = None,
    ) -> Answer:
        """As `call`, for async handlers."""
        ...

    def stream(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Any = None,
    ) -> Generator[Answer, None, None]:
        """As `call`, for each of the answers of a model that gives any number of them. One that is not read to its end
        is to be closed.
        """
        ...

    def stream_async(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        sequence: SequencePlace | None = None,
        requests: Any = None,
    ) -> AsyncGenerator[Answer, None]:
        """As `stream`, for async handlers."""
        ...
