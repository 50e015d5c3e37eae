"""What a Triton model needs of the server that it runs for: other models, metrics, the repository, the log.

In the server's process these are the server's own; in a process of the model's they are the other end of a channel.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass
class CallRequest:
    """A request to another model. `model_version`: "" for the highest. `control`: `timeout`, and of a step of a
    sequence `sequence_id`, `sequence_start` and `sequence_end`.
    """

    model_name: str
    inputs: dict[str, Any]
    model_version: str = ""
    id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    requested_outputs: tuple[str, ...] = ()
    control: dict[str, Any] = field(default_factory=dict)


class CallAnswer(Protocol):
    """One response of another model. `error`: it is one. `final`: no other follows, as far as is known."""

    @property
    def outputs(self) -> Mapping[str, Any]: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def error(self) -> BaseException | None: ...
    @property
    def final(self) -> bool: ...


class Caller(Protocol):
    """Asks other models, for requests that are being executed: `serving`. From any thread. What is raised is the
    outcome; its attribute `code`, or the name of that, is a code of the server's.
    """

    def call(self, request: CallRequest, serving: Sequence[Any]) -> CallAnswer:
        """The answer of a model that gives one. Blocks."""

    async def call_async(self, request: CallRequest, serving: Sequence[Any]) -> CallAnswer:
        """As `call`, on an event loop."""

    def stream(self, request: CallRequest, serving: Sequence[Any]) -> Iterator[CallAnswer]:
        """All responses of any model. Blocks for each of them; closing the generator gives up the rest."""

    def stream_async(self, request: CallRequest, serving: Sequence[Any]) -> AsyncIterator[CallAnswer]:
        """As `stream`, on an event loop."""


class Metrics(Protocol):
    """Metrics of the model's own; families and series are known by numbers."""

    def family(self, name: str, description: str, kind: str) -> int: ...
    def metric(
        self, family: int, labels: Mapping[str, str], buckets: Sequence[float] | None = None
    ) -> int: ...
    def increment(self, metric: int, value: float) -> None: ...
    def set(self, metric: int, value: float) -> None: ...
    def observe(self, metric: int, value: float) -> None: ...
    def value(self, metric: int) -> float: ...
    def remove(self, handle: int) -> None: ...


class Control(Protocol):
    """Loads and unloads models. From any thread; blocks."""

    def load(
        self, name: str, config: str | None = None, files: Mapping[str, bytes] | None = None
    ) -> None: ...
    def unload(self, name: str, *, dependents: bool = False) -> None: ...
    def is_ready(self, name: str, version: str = "") -> bool: ...


class Services(Protocol):
    """All of it; None for what there is not."""

    @property
    def caller(self) -> Caller | None: ...
    @property
    def metrics(self) -> Metrics | None: ...
    @property
    def control(self) -> Control | None: ...

    def log(self, level: str, text: str) -> None:
        """Write a line. `level`: "info", "warning", "error" or "debug"."""
