"""The contract between the server and a backend: all that a plug-in may import, with `errors`, `messages`,
`tensors.datatypes` and `memory.own`.

A backend has three scopes. `Backend`: one object per backend name, no state. `Model`: one per loaded version,
with what its instances share, the weights above all. `Instance`: one execution context, never called
concurrently. Merging requests into batches and splitting the results is the server's work, so a plug-in is a
conversion around one call.

A plug-in raises `InvalidArgumentError` for what is the client's fault; anything else that it raises is an
internal error. Optional abilities are protocols of their own, found when the model is loaded: this contract
does not grow.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from kserve_v2_child.answers import StreamedResponse

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.content_types import CONTENT_TYPES
from kserve_v2.config.hidden import hidden_inputs, hidden_outputs
from kserve_v2.config.printing import config_to_dict
from kserve_v2.messages import Answers, InferRequest, InferResponse, Tensors

__all__ = [
    "CONTENT_TYPES",
    "AddsInstances",
    "AlwaysIsolated",
    "AnyInstance",
    "AsyncInstance",
    "AsyncStreamInstance",
    "AsyncStreamsInstance",
    "Backend",
    "CompletesUnopened",
    "ExecutionLostError",
    "FreshOutputs",
    "GuessesBatching",
    "Handover",
    "HasProcesses",
    "HasTrialInstances",
    "Instance",
    "IsolatesModels",
    "KeepsNothing",
    "KnowsMemory",
    "LabelledModel",
    "Model",
    "ModelCaller",
    "ModelConfig",
    "ModelControl",
    "ModelMetrics",
    "ModelSource",
    "MovableInstance",
    "PacedInstance",
    "Placement",
    "PostingInstance",
    "PreparesFiles",
    "ReportsReadiness",
    "RevivedInstance",
    "RevivesInstances",
    "SeparateInstance",
    "SeparatesRequests",
    "StreamInstance",
    "StreamedResponse",
    "TakesMessages",
    "ThreadBudget",
    "Unpacked",
    "adds_instances",
    "config_to_dict",
    "has_fresh_outputs",
    "hidden_inputs",
    "hidden_outputs",
    "keeps_nothing",
    "separates_requests",
]


@dataclass(frozen=True, slots=True)
class ThreadBudget:
    """How many CPU threads one instance may use: inside one operator, and across operators."""

    intra_op: int
    inter_op: int = 1


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an instance runs.

    `name`: Triton's instance name, e.g. `digits_0_1`. `device_id` counts the GPUs of this machine; 0 with
    kind "CPU".
    """

    name: str
    kind: Literal["CPU", "GPU"]
    device_id: int = 0

    @property
    def device(self) -> str:
        """The device in PyTorch's spelling: `cpu` or `cuda:N`."""
        return "cpu" if self.kind == "CPU" else f"cuda:{self.device_id}"


class Closeable(Protocol):
    """What is closed when it is not needed any more."""

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Handover:
    """From a backend's `complete` to its `load`: what both of them need, and what is to be read, or run, once. If there
    is no `load`, because of an error, or if that does not take it, it is closed.

    Whoever asked for the load may give it up before it has ended. From any thread.
    """

    def __init__(self) -> None:
        self._held: Closeable | None = None
        self._lock = threading.Lock()
        self._given_up = self._over = False
        self._ends: list[Callable[[], None]] = []

    @property
    def given_up(self) -> bool:
        """Whether nobody wants the load any more."""
        return self._given_up

    def if_given_up(self, end: Callable[[], None]) -> None:
        """Have this called, on a thread of its own, if the load is given up: what hangs in a process can be ended."""
        with self._lock:
            if self._over:
                return
            self._ends.append(end)
            given_up = self._given_up
        if given_up:
            self.give_up()

    def give_up(self) -> None:
        """Nobody wants the load any more. Does not block."""
        with self._lock:
            self._given_up = True
            ends, self._ends = self._ends, []
        for end in ends:
            threading.Thread(target=end, name="load-given-up", daemon=True).start()

    def put(self, held: Closeable) -> None:
        """Leave something for `load`."""
        self._drop()
        self._held = held

    def take(self) -> Any:
        """What `complete` has left, which is the caller's now; None if there is nothing, or it has been taken."""
        held, self._held = self._held, None
        return held

    def close(self) -> None:
        """The load has ended: close what has not been taken."""
        with self._lock:
            self._over, self._ends = True, []
        self._drop()

    def _drop(self) -> None:
        held = self.take()
        if held is not None:
            held.close()


class ModelCaller(Protocol):
    """Asks other models on behalf of requests that a model is executing: `serving`. From any thread, but none of the
    methods that block from one that runs an event loop.

    A call is a request like a client's: it waits in the other model's queue, shares batches, and keeps that version
    loaded until it is answered. Its priority and time-out are those of what it serves, unless its `control` says
    something else. When nobody waits for any of `serving` any more, it is given up, with RequestCancelledError.

    Inputs are only read: they may be somebody else's. Arrays of a response that are writable belong to the caller.

    All of them raise the ServingError that is the outcome, with its code; also where the call would wait for itself,
    because the other model waits for the answer of this one.
    """

    def call(self, request: InferRequest, serving: Sequence[InferRequest]) -> InferResponse:
        """The answer of a model that gives one. Blocks."""
        ...

    async def call_async(self, request: InferRequest, serving: Sequence[InferRequest]) -> InferResponse:
        """As `call`, on an event loop of the caller's. Cancelling it gives the call up."""
        ...

    def stream(
        self, request: InferRequest, serving: Sequence[InferRequest]
    ) -> Generator[InferResponse, None, None]:
        """All responses of any model, decoupled or not. Blocks for each of them; the other model is at most one ahead.
        The call begins with the first one; closing the generator gives up what is left. A response with an `error` is
        one, and need not be the last.
        """
        ...

    def stream_async(
        self, request: InferRequest, serving: Sequence[InferRequest]
    ) -> AsyncGenerator[InferResponse, None]:
        """As `stream`, on an event loop of the caller's."""
        ...


class ModelMetrics(Protocol):
    """Metrics of a model's own, which /metrics shows behind the server's. From any thread, event loops' included.

    Families and metrics belong to the whole server: the same name and kind is the same family, and the same labels in
    it the same series, whichever model has made it. It is shown until all that have made it have removed it; what a
    loaded version has not removed goes when it is closed. A reload makes the new version's before the old one's go, so
    counters count on.

    Objects have handles, and all arguments are plain values, so that this can be called from another process. How much
    a version may have is limited: labels must not take their values from what clients send. Errors are ServingErrors in
    Triton's words, such as "TRITONSERVER_METRIC_KIND_COUNTER does not support Set".
    """

    def family(self, name: str, description: str, kind: str) -> int:
        """A family of that name: `counter`, `gauge` or `histogram`. A name of the server's own, with `nv_` or
        `kserve_v2_` in front, is refused.
        """
        ...

    def metric(self, family: int, labels: Mapping[str, str], buckets: Sequence[float] | None = None) -> int:
        """A series of that family. `buckets`: of a histogram, the largest value of each, ascending."""
        ...

    def increment(self, metric: int, value: float) -> None:
        """Add to a counter, or to a gauge, of which a negative value takes something off."""
        ...

    def set(self, metric: int, value: float) -> None:
        """Set a gauge."""
        ...

    def observe(self, metric: int, value: float) -> None:
        """Count a value in a histogram."""
        ...

    def value(self, metric: int) -> float:
        """That of a counter or gauge."""
        ...

    def remove(self, handle: int) -> None:
        """A family or metric is not needed any more, if this is called once for each time that it was made. Raises
        nothing, and may be called by finalizers. A family is shown for as long as one of its metrics is.
        """
        ...


class ModelControl(Protocol):
    """Loads and unloads other models of the server, for models that do that. From any thread, but none that runs an
    event loop of the server's; all methods block. Unless the server has been started with `--model-control-mode
    explicit`, nothing may be loaded or unloaded.
    """

    def load(self, name: str, config: str | None = None, files: Mapping[str, bytes] | None = None) -> None:
        """Load a model as it is on disk, or do nothing if that is served. Returns when it is ready. `config`: JSON in
        place of its configuration file. `files`: in place of its directory, by names such as
        "file:1/model.py"; they need a `config`, and a server that has been started with `--allow-file-override`.

        Raises the ServingError that a client would get; also where the two models would wait for each other.
        """
        ...

    def unload(self, name: str, *, dependents: bool = False) -> None:
        """Serve a model no longer. Returns at once; does nothing for a model that is not there."""
        ...

    def is_ready(self, name: str, version: str = "") -> bool:
        """Whether a model answers; "" for any version. Raises InvalidArgumentError for what is no version."""
        ...


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What a backend is told about the files of the version that it loads.

    `model_path`: the model's directory, with label and other files. `version_path`: the version's directory inside it,
    or where its files lie if that has only links to them. `settings`: the operator's `--backend-config` for this
    backend. `placements`: every instance that will be made. `handover`: the same for `complete` and `load`. `caller`:
    asks other models for the model's instances; None where there is no server. `metrics`: of the model's own;
    `control`: loads and unloads other models; None there, too. `cache_path`: a directory of the model's own, for what
    is to outlive the server; made by whoever needs it, and used by all versions, also by those of other servers at the
    same time. None where there is no place for it. `kept`: what has to live for as long as the files are needed, such
    as an `Unpacked`. `outdated`: says why the files are not those that the version was to be loaded from any more, ""
    if they are; it blocks.
    """

    name: str
    version: int
    model_path: Path
    version_path: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    placements: tuple[Placement, ...] = ()
    threads: ThreadBudget = ThreadBudget(1)
    handover: Handover = field(default_factory=Handover, compare=False)
    caller: ModelCaller | None = field(default=None, compare=False, repr=False)
    metrics: ModelMetrics | None = field(default=None, compare=False, repr=False)
    control: ModelControl | None = field(default=None, compare=False, repr=False)
    cache_path: Path | None = None
    kept: object = field(default=None, compare=False, repr=False)
    outdated: Callable[[], str] = field(default=lambda: "", compare=False, repr=False)

    @property
    def files_path(self) -> Path:
        """The version's directory, with nothing in it but what is the model's; there may be links."""
        return self.model_path / str(self.version)

    def model_file(self, config: ModelConfig) -> Path:
        """The file to load: `default_model_filename` inside the version's directory."""
        return self.version_path / config.default_model_filename


@runtime_checkable
class Instance(Protocol):
    """One execution context. Made, used and closed by one and the same thread."""

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Answers:
        """Run one batch.

        With `max_batch_size > 0` axis 0 of every tensor, in and out, is the batch; but for inputs with
        `allow_ragged_batch`, which are flat, the elements of one request behind those of another, and for the targets
        of `batch_output`, which are cut by the shapes of an input. Inputs are C-contiguous and aligned. They may be
        read-only: an instance copies those that it wants to write to; the others are its own to write to, during the
        call. BYTES tensors are object arrays of `bytes`. An array that it returns is
        copied if anybody else may hold its memory; see `FreshOutputs`.

        `requests` are the members of the batch in the order of their rows, for backends that look at ids and
        parameters or set parameters of responses; most do not. An instance that answers each of them by itself may give
        a list, as a `SeparateInstance` does, unless it is a `MovableInstance`. Of a model with `iterative_sequence`,
        each may ask for another round with `InferRequest.reschedule`: its rows of the outputs are passed over, states
        apart, unless the model is decoupled and so answers each round.
        """
        ...

    def close(self) -> None:
        """Give back what the instance holds. Called once, after the last `execute`."""
        ...


@runtime_checkable
class AsyncInstance(Protocol):
    """Optional: an instance that runs several batches at the same time on an event loop of its own, never on
    the server's.
    """

    max_concurrency: int

    async def execute_async(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Answers:
        """As `Instance.execute`; up to `max_concurrency` calls are under way at once."""
        ...

    def close(self) -> None:
        """Give back what the instance holds. Called once, after the last `execute_async` has ended."""
        ...


@runtime_checkable
class StreamInstance(Protocol):
    """An instance of a decoupled model: any number of responses to one request."""

    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors | StreamedResponse]:
        """Yield the outputs of each response, some or all of the declared ones; or a `StreamedResponse` for one that is
        an error, which others may follow, or is known to be the last, or has parameters of its own.

        The next step is taken only when the server has taken this one, so a slow client slows the model
        down. If the client leaves, the iterator is closed instead: a generator gets GeneratorExit.
        """
        ...

    def close(self) -> None:
        """Give back what the instance holds. Called once, after the last `stream` has ended."""
        ...


@runtime_checkable
class AsyncStreamInstance(Protocol):
    """As `StreamInstance`, with up to `max_concurrency` streams at once on an event loop of its own."""

    max_concurrency: int

    def stream_async(
        self, tensors: Tensors, request: InferRequest
    ) -> AsyncIterator[Tensors | StreamedResponse]:
        """As `StreamInstance.stream`; an async generator is closed by `aclose`."""
        ...

    def close(self) -> None:
        """Give back what the instance holds. Called once, after the last `stream_async` has ended."""
        ...


@runtime_checkable
class AsyncStreamsInstance(Protocol):
    """Optional: what the instances of a decoupled `SeparatesRequests` model are, with up to `max_concurrency` batches
    at once on an event loop of its own.
    """

    max_concurrency: int

    def streams_async(
        self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]
    ) -> Sequence[AsyncIterator[Tensors | StreamedResponse]]:
        """Begin to execute one batch. Returns at once, for each request its responses as those of `stream_async`, which
        are closed by `aclose` whether they have been asked for or not.
        """
        ...

    def close(self) -> None:
        """Give back what the instance holds. Called once, after the last stream has ended."""
        ...


@runtime_checkable
class PacedInstance(Protocol):
    """Optional: an asynchronous instance that begins what it is given one after the other, whatever it has under way.
    It gets nothing before it would begin it at once: what waits in the queue can still be overtaken, expire and grow.
    """

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call `callback`, now or on whatever thread, as soon as it has begun all that it was given; also if it never
        will, because it is lost.
        """
        ...


@runtime_checkable
class MovableInstance(Protocol):
    """Optional: an `Instance` that another thread may execute while its own one sleeps.

    For instances that neither block nor depend on their thread, and that take as long for any values of the same
    shapes. If such a model is quick enough, requests that find it idle are executed without a hand-over between
    threads, which would take longer than the model. One that turns out to be slow goes back to its thread.
    """

    movable: Literal[True]

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        """As `Instance.execute`, on any thread, one at a time."""
        ...

    def close(self) -> None:
        """Give back what the instance holds. Called once, on its own thread."""
        ...


class ExecutionLostError(Exception):
    """The other process is gone; see `PostingInstance`."""


@runtime_checkable
class PostingInstance(Protocol):
    """Optional: an `Instance` whose executions are done elsewhere, by another process. The event loop may hand them
    over and take their answers itself, which saves the hand-over to the instance's thread and back; `execute` stays
    for what should not be done there, such as large tensors.

    It is used by one thread at a time: by `execute` on its own, or by `post` and `collect` on the event loop's. Several
    executions may be posted; they are done, and answered, one after the other.
    """

    @property
    def descriptor(self) -> int | None:
        """The file descriptor that becomes readable when there is something to collect. None: nothing can be posted
        now, only executed. It stays open as long as anybody may listen to it: until `execute` is called, or `close`.
        """
        ...

    def post(self, tensors: Any, requests: Sequence[InferRequest]) -> None:
        """Begin what `execute` does with these, at the latest when `flush` is called. Does not wait for anything.
        Raises as `execute`, and ExecutionLostError where the other process is gone, and has not begun.
        """
        ...

    def flush(self) -> None:
        """Several may have been posted: now they are to be begun. Raises ExecutionLostError where the other process is
        gone, and none of those that were posted since the last time has begun: they are forgotten.
        """
        ...

    def collect(self) -> Any:
        """What `execute` would have returned for the first that was posted; None: it is not complete yet. Does not wait
        for anything. Raises as `execute`, and ExecutionLostError where the other process is gone, whether or not
        anything was posted.
        """
        ...

    def conclude(self) -> None:
        """Called on the instance's thread when what was posted is lost: raises why the first was; the others have not
        begun. May wait to find that out.
        """
        ...

    def execute(self, tensors: Any, requests: Sequence[InferRequest]) -> Any:
        """As `Instance.execute`, or `SeparateInstance.execute`."""
        ...

    def close(self) -> None:
        """Give back what the instance holds. Called once, on its own thread."""
        ...


@runtime_checkable
class FreshOutputs(Protocol):
    """Optional: an instance of any kind that vouches for the memory of its outputs. Nothing that outlives the call
    holds it: neither the instance, nor the model, nor the inputs. And they are C-contiguous.

    Of other instances, the server copies each output unless it can see that nobody else holds its memory, which it can
    for arrays that numpy has made: see `memory.own.copy_shared`, which an instance may use itself.
    """

    fresh_outputs: Literal[True]


def has_fresh_outputs(instance: object) -> bool:
    """Whether it is a `FreshOutputs`; asked for each execution."""
    return getattr(instance, "fresh_outputs", False) is True


@runtime_checkable
class SeparateInstance(Protocol):
    """Optional: what the instances of a `SeparatesRequests` model are, instead of an `Instance`. `execute_async` of an
    `AsyncInstance` has the same form.
    """

    def execute(
        self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]
    ) -> Sequence[Tensors | BaseException]:
        """Run one batch. As `Instance.execute`, but nothing is joined: there are the tensors of each request, with its
        own rows and shapes, and there have to be as many answers, in the same order. Their dimensions that are -1 in
        the configuration may be of any size for each request.

        An exception in the place of an answer fails that request alone, with an error as if it had been raised for it;
        so does an answer that does not fit the configuration. The others are answered, and nothing is executed again. A
        request that was rescheduled has no answer: {}.
        """
        ...

    def close(self) -> None:
        """Give back what the instance holds."""
        ...


AnyInstance = (
    Instance | AsyncInstance | SeparateInstance | StreamInstance | AsyncStreamInstance | AsyncStreamsInstance
)


class Model(Protocol):
    """One loaded version: what its instances share."""

    def instance(self, placement: Placement) -> AnyInstance:
        """Make one instance, on the thread that will use it. A decoupled model's are stream instances, or of one that
        `SeparatesRequests`, `AsyncStreamsInstance`s.
        """
        ...

    def close(self) -> None:
        """Give back what the model holds. Called once, after all of its instances are closed."""
        ...


@runtime_checkable
class SeparatesRequests(Protocol):
    """Optional: a `Model` whose instances take the tensors of each request by themselves, so that requests whose inputs
    with `allow_ragged_batch` differ in shape share a batch without being joined to flat tensors.
    """

    separates_requests: Literal[True]


def separates_requests(model: object) -> bool:
    """Whether it is a `SeparatesRequests`."""
    return getattr(model, "separates_requests", False) is True


@runtime_checkable
class LabelledModel(Protocol):
    """Optional: a `Model` whose file names the classes of an output.

    `output_labels`: by output, one for each of its elements. Label files that the configuration names go first.
    """

    output_labels: Mapping[str, Sequence[str]]


@runtime_checkable
class SaysMetadata(Protocol):
    """Optional: a `Model` that reads requests itself (`TakesMessages`), and says what metadata is to show of it. Of an
    isolated one, its instances have the attribute.

    `said_metadata`: JSON, `{"platform": text, "inputs": [{"name", "datatype", "shape", "parameters"}], "outputs": the
    same}`, known once an instance was made; "" for what the configuration says.
    """

    said_metadata: str


@runtime_checkable
class ReportsReadiness(Protocol):
    """Optional: a `Model` that says itself whether it is ready, whenever a client asks for that."""

    reports_readiness: bool
    """Whether it does."""

    def is_ready(self) -> bool:
        """Whether it is ready. May block, but who asks waits for a few seconds at most. What it raises is logged, and
        means no.
        """
        ...


@runtime_checkable
class KnowsMemory(Protocol):
    """Optional: a `Model` that knows how much memory its weights take."""

    def memory(self) -> Mapping[str, int]:
        """Bytes by device, in PyTorch's spelling: `cpu` or `cuda:N`. Called on any thread while it is loaded."""
        ...


@runtime_checkable
class HasProcesses(Protocol):
    """Optional: a `Model` that runs in processes of its own."""

    @property
    def pids(self) -> Sequence[int]:
        """Those that are there now."""
        ...


@runtime_checkable
class AddsInstances(Protocol):
    """Optional: a `Model` whose `instance` may be called at any time until it is closed, while other instances execute,
    and for any placement on a device that it was loaded for. How many there are on one may come to differ from what
    `ModelSource.placements` says: if the operator wants more of them, or fewer, the model is not loaded again.
    """

    adds_instances: bool
    """Whether it may."""


def adds_instances(model: object) -> bool:
    """Whether it is an `AddsInstances`, and may."""
    return getattr(model, "adds_instances", False) is True


@runtime_checkable
class KeepsNothing(Protocol):
    """Optional, of a `Backend`: its models keep nothing of one request for another, so copies of one in several
    processes answer as one model would. A `Model` may say so of itself, or that it does keep something.
    """

    keeps_nothing: bool
    """Whether it is so."""


def keeps_nothing(asked: object) -> bool | None:
    """What a backend, or a model, says of that; None if it says nothing."""
    said = getattr(asked, "keeps_nothing", None)
    return said if isinstance(said, bool) else None


@runtime_checkable
class HasTrialInstances(Protocol):
    """Optional: a `Model` whose instances are changed by what they execute, so that a trial of batching at load would
    change the answers to the first requests.
    """

    def trial_instance(self, placement: Placement) -> AnyInstance | None:
        """One for the trial alone, which is closed after it; None if the model's own may be tried."""
        ...


@runtime_checkable
class RevivedInstance(Protocol):
    """Optional: an instance of any kind that may lose what executes it, and get it back by itself. As long as it is
    lost it takes nothing from the queue.
    """

    revives: Literal[True]

    @property
    def lost(self) -> bool:
        """Whether it cannot execute anything now. Asked for each execution."""
        ...

    def await_revival(self) -> None:
        """Block until it can, or never will again."""
        ...


@runtime_checkable
class RevivesInstances(Protocol):
    """Optional: a `Model` whose instances are `RevivedInstance`s."""

    @property
    def processes(self) -> Sequence[tuple[bool, int]]:
        """Of each process that it runs in: whether it is alive, and how many have died in its place."""
        ...

    def watch(self, changed: Callable[[Sequence[int], str, str, bool], None]) -> None:
        """Call `changed` on any thread whenever instances were lost, or are back: with the numbers of those that were
        lost just now, and why; with the reason if all are lost, "" else; and whether there is no hope for what waits,
        because what was tried to get them back has failed. No instance is got back before it returns.
        """
        ...

    def leave(self) -> None:
        """It is about to be closed: nothing is tried any more, and nobody waits for that."""
        ...


class Backend(Protocol):
    """The plug-in itself: one object per backend name, registered as an entry point of the group
    `kserve_v2.backends`.
    """

    default_filename: str
    """Name of the model file where the configuration gives none, e.g. `model.onnx`."""

    platform: str
    """The `platform` that the configuration gets where it gives none, e.g. `onnxruntime_onnx`; may be ""."""

    def gpu_count(self) -> int:
        """How many of this machine's GPUs the backend can run models on; 0 for none, or for a build that
        cannot use them.
        """
        ...

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        """Fill the fields of `config` that are empty from the model file; change nothing that is set.

        The tensors of `hidden_inputs(config)` and `hidden_outputs(config)`, such as the states of sequences and the
        sizes of `batch_input`, are not added: clients do not see them.

        Raises InvalidArgumentError where the file contradicts the configuration.
        """
        ...

    def load(self, source: ModelSource, config: ModelConfig) -> Model:
        """Load the version's weights. `config` is complete and valid, and its `input` and `output` have all the tensors
        of an execution: the hidden ones come last. Runs on a thread that may block.
        """
        ...


@runtime_checkable
class IsolatesModels(Protocol):
    """Optional: a `Backend` some of whose models run in processes of their own unless their configuration says
    something else, and that another host than the backend itself can serve there.
    """

    def isolated_host(self, file: Path) -> str:
        """The name of the host, such as `triton`, for the model in this file; "" for a model of the ordinary kind.
        Raises InvalidArgumentError if it cannot be told.
        """
        ...


@runtime_checkable
class AlwaysIsolated(Protocol):
    """Optional: a `Backend` whose models run in processes of their own whatever their configuration says: what they
    import is for nobody else.
    """

    always_isolated: Literal[True]


@runtime_checkable
class HasEventLoop(Protocol):
    """Optional: an asynchronous instance, of an `AlwaysIsolated` backend, whose model was loaded on an event loop, to
    which it may have tied locks, connections and tasks. It is executed on that one, by the thread that has made it.
    """

    event_loop: asyncio.AbstractEventLoop
    """It does not run while nothing is executed yet; whoever drives the instance runs it, and closes it."""

    async def close_async(self) -> None:
        """In place of `close`, on the loop."""
        ...


@runtime_checkable
class TakesMessages(Protocol):
    """Optional: a `Backend` whose models read requests themselves, as clients have sent them, and write the answers:
    see `kserve_v2.verbatim`. They separate requests.
    """

    takes_messages: Literal[True]


@runtime_checkable
class CompletesUnopened(Protocol):
    """Optional: a `Backend` that can read what its files declare without the framework that executes them."""

    def complete_unopened(self, source: ModelSource, config: ModelConfig) -> None:
        """As `complete`, for who only looks at the model. What the file does not declare, and only the framework would
        find out, may stay unsaid; but nothing is called wrong that a load would not call wrong.
        """
        ...


@runtime_checkable
class ChecksFile(Protocol):
    """Optional: a `Backend` whose files may be wrong in ways that no completion comes to, and that only their framework
    tells.
    """

    def check_file(self, source: ModelSource, config: ModelConfig) -> None:
        """Open the model's file on the CPU, for who only looks at the model. `config`: complete. Raises what a load
        would raise.
        """
        ...


class Unpacked:
    """What is in an archive, in a folder that is removed when nobody refers to this any more."""

    def __init__(self, path: Path, owner: object = None) -> None:
        """`owner`: what has to live as long."""
        self.path = path
        self._owner = owner


@runtime_checkable
class PreparesFiles(Protocol):
    """Optional: a `Backend` whose models' files are to be made ready before anything is done with them, such as those
    that lie in an archive, and which say more than a configuration does.
    """

    def prepare_files(
        self,
        source: ModelSource,
        config: ModelConfig,
        gpu_count: int,
        unpack: Callable[[Path, str], Unpacked],
    ) -> ModelSource:
        """Where the files are from now on, with `kept` and perhaps other `settings`. Fills the fields of `config` that
        are empty, from what the files say; runs none of their code. `unpack` unpacks an archive, safely; the text is
        what errors call it. Raises InvalidArgumentError.
        """
        ...


@dataclass(frozen=True, slots=True)
class LiveModel:
    """What is served of an object that lives in this process. `handler`: a class, function or object that is called;
    None if the files are the model. `files`: those of version 1, by name. `config`: as in a config.pbtxt.
    """

    handler: object | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    config: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """What a person says of an object that is to be served, beyond itself. `example`: what it would be called with: a
    value for its only argument, a tuple, or a dict by name. `max_batch_size`: None if nothing is said.
    """

    example: object | None = None
    max_batch_size: int | None = None


@runtime_checkable
class WrapsObjects(Protocol):
    """Optional: a `Backend` that can serve objects of its framework which live in this process. It imports the
    framework only if the program has.
    """

    def wrap(self, thing: object, described: Described) -> LiveModel | None:
        """What is served of an object; None if it is none of the framework's. Raises InvalidArgumentError for one that
        cannot be served, or not without being told more.
        """
        ...


@runtime_checkable
class GuessesBatching(Protocol):
    """Optional: a `Backend` whose `complete` takes a model to batch because of its shapes, which is a guess.

    What it adds to the configuration, `max_batch_size` or `dynamic_batching`, is tried out when the model is loaded:
    requests are merged only if the model answers two rows together as it answers each of them alone.
    """

    guesses_batching: Literal[True]
