"""What runs in a model's process: a host knows one kind of model, and has the shape of the contract for backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Optional, Protocol

from .answers import ModelError
from .channel.messages import Array

Tensors = Mapping[str, Array]
Json = dict[str, Any]


class Placement(NamedTuple):
    """Where an instance runs; see `kserve_v2.backend.Placement`."""

    name: str
    kind: str
    device_id: int = 0


class ThreadBudget(NamedTuple):
    """How many CPU threads an instance may use."""

    intra_op: int
    inter_op: int = 1


class Caller(Protocol):
    """Asks other models of the server; see `kserve_v2.backend.ModelCaller`."""

    def call(self, request: Any, serving: Sequence[Any]) -> Any:
        """The answer of a model that gives one. Blocks."""
        ...

    async def call_async(self, request: Any, serving: Sequence[Any]) -> Any:
        """As `call`, on an event loop of the caller's."""
        ...

    def stream(self, request: Any, serving: Sequence[Any]) -> Any:
        """A generator of all responses of any model."""
        ...

    def stream_async(self, request: Any, serving: Sequence[Any]) -> Any:
        """As `stream`, an async generator."""
        ...


@dataclass(frozen=True)
class Source:
    """What a host is told of the model; see `kserve_v2.backend.ModelSource`. `caller`, `metrics`, `control`: see
    there; None for `complete`, and where there is no server.
    """

    name: str
    version: int
    model_path: Path
    version_path: Path
    settings: Mapping[str, str]
    placements: tuple[Placement, ...]
    threads: ThreadBudget
    caller: Caller | None = field(compare=False, repr=False)
    metrics: Any = field(compare=False, repr=False)
    control: Any = field(compare=False, repr=False)
    cache_path: Path | None = None


@dataclass
class Step:
    """What a request says of its sequence; see `kserve_v2.messages.SequenceStep`."""

    id: Any
    start: bool = False
    end: bool = False
    ready: bool = True
    slot: int = -1
    round: int = 0
    round_open: bool = False
    next_inputs: Json | None = None


@dataclass
class Request:
    """One of the requests of an execution; see `kserve_v2.messages.InferRequest`. `trace`: the W3C trace context, by
    header, if it is traced. `packed`: how the server has packed its inputs, if it has.
    """

    model_name: str
    inputs: dict[str, Array]
    model_version: str = ""
    id: str = ""
    parameters: Json = field(default_factory=dict)
    requested_outputs: tuple[str, ...] = ()
    control: Json = field(default_factory=dict)
    rows: int = 1
    cancelled: bool = False
    response_parameters: Json = field(default_factory=dict)
    sequence: Step | None = None
    trace: Mapping[str, str] = field(default_factory=dict)
    packed: Optional[Json] = None  # noqa: UP045 - Python 3.9

    @property
    def timeout(self) -> int:
        """How many microseconds the client lets it wait for its execution; 0 if it has said nothing."""
        timeout = self.control.get("timeout", 0)
        return timeout if isinstance(timeout, int) else 0

    def reschedule(self) -> None:
        """Ask for another round, with the same inputs; see `kserve_v2.messages.InferRequest.reschedule`."""
        step = self.sequence
        if step is not None and not step.ready:
            return
        if step is None or not step.round_open:
            raise ModelError(
                f"a request of model '{self.model_name}' cannot be rescheduled: that takes sequence_batching "
                "{ iterative_sequence: true } in the configuration, and execute must not have returned"
            )
        step.next_inputs = {}


@dataclass
class Response:
    """A response of another model. `error`: it is one. `final`: no other follows, as far as is known."""

    model_name: str
    model_version: str
    id: str
    outputs: dict[str, Array]
    parameters: Json = field(default_factory=dict)
    error: BaseException | None = None
    final: bool = False


class Host(Protocol):
    """One kind of model. Configurations are the JSON object of the server's `/config`."""

    def describe(self) -> Json:
        """What can be said without a model: `gpu_count`, how many GPUs its models can use."""
        ...

    def complete(self, source: Source, config: Json) -> Json:
        """The configuration, with what the model's files say filled in."""
        ...

    def load(self, source: Source, config: Json) -> Any:
        """Load the model: an object with `instance(placement)` and `close()`, and whatever else the contract has for
        models.
        """
        ...

    def placement(self, placement: Placement) -> Any:
        """Where an instance runs, as its models expect it."""
        ...

    def request(self, told: Json, inputs: dict[str, Array]) -> Any:
        """A request as its models expect it: of the members of `Request`. `told`: those that are no defaults."""
        ...

    def response(self, told: Json, outputs: dict[str, Array]) -> Any:
        """The answer of another model, as its models expect it."""
        ...

    def failure(self, error: BaseException) -> Json:
        """What the server is told of an error; see `failures.told`."""
        ...

    def error(self, told: Json) -> Exception:
        """An error of another model, as its models expect it."""
        ...


def make_step(told: Json | None, step: Any = Step) -> Any:
    """The step of a sequence, by whatever class."""
    return None if told is None else step(**told)
