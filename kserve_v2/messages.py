"""What travels between the front ends and the schedulers, free of any wire format.

The codecs make these from JSON or protobuf and back; how a client wants an output encoded stays in the codec.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Protocol

from kserve_v2.errors import InternalError, ServingError
from kserve_v2.tensors.datatypes import Array
from kserve_v2.tracing.trace import Trace

Tensors = Mapping[str, Array]
"""Tensors by name. The shape of each array is the tensor's shape, batch dimension included."""

Answers = Tensors | Sequence[Tensors | BaseException]
"""What an instance gives for a batch: tensors for all of it, or of an instance that answers each request by itself,
tensors or an exception for each.
"""

ParameterValue = bool | int | float | str
"""A request or response parameter, as both protocols can carry it."""


@dataclass(slots=True)
class SequenceStep:
    """What a request says of the sequence that it belongs to, and what the sequence batcher adds to that.

    `id`: 0 or "" for none; 7 and "7" are two sequences. `start`, `end`: whether it is the first, or the last, of its
    sequence. `ready`: False for the stand-in of a sequence that has no request in an execution. `slot`: the number of
    the slot that its sequence holds. `state`: what the sequence keeps from one step to the next; at most one step of a
    sequence is under way, so it belongs to whoever executes that.

    `round`: how often the model has asked for another one. `round_open`: whether it may do so now. `next_inputs`: what
    it has asked for with, by `InferRequest.reschedule`; None for nothing.

    `lost`: why what the model knew of its sequence is gone; "" as long as it is not. Whoever executes it then has not
    seen the steps before it.
    """

    id: int | str
    start: bool = False
    end: bool = False
    ready: bool = True
    slot: int = -1
    state: dict[str, Array] = field(default_factory=dict)
    round: int = 0
    round_open: bool = False
    next_inputs: dict[str, Any] | None = None
    lost: str = ""


class CallingModel(NamedTuple):
    """A version of a model that waits for another model's answer. `execution`: a number for which of its executions."""

    name: str
    version: int
    execution: int


class Dependent(Protocol):
    """What is done for the sake of a request, and ends when nobody waits for that any more."""

    def request_left(self) -> None:
        """The request is cancelled. Called on the event loop's thread."""
        ...


@dataclass(slots=True)
class InferRequest:
    """One inference request.

    `model_version` is "" for the highest version that is ready. `requested_outputs` is empty for all outputs
    of the model.

    `checked`: the request is known to fit the model's signature. Then `rows` is its batch size, 1 for a model that
    does not batch, and requests with equal `batch_key` can share a batch.

    `control` holds the parameters that are for the server: `timeout`, `priority` and those of sequences. They
    do not reach the model's `parameters`.

    A model reads `id`, `parameters`, `timeout` and `cancelled` (nobody waits for the answer any more), and may put
    parameters of the response into `response_parameters`: `bool`, `int` of up to 64 bits, `float` and `str`, or
    numpy's scalars of these kinds.

    `pinned`: of a step of an ensemble that is an ensemble itself, the versions of its own steps that this request
    keeps to.

    `packed`: how a front end has packed what its client has sent into the inputs, for models that know how to unpack
    that. Nothing that a client sends sets it.

    `trace` takes down what happens to the request, if it was chosen for that.

    `sequence`: the step of a sequence that the request is, if its `control` says so; known once it is checked.

    `callers`: the models that wait for the answer, if it is a model that asks: the outermost first.
    `calls`: those to other models that are made for this request, and that are under way; None if none was ever made.

    `on_cancel`: called, on the event loop's thread, when nobody waits any more; set by who executes it elsewhere.

    `logs_failure`: says whether a traceback of its failure goes to the log, on any thread; None for always. Of what
    nobody waits for, there would be one each time.
    """

    model_name: str
    inputs: dict[str, Array]
    model_version: str = ""
    id: str = ""
    parameters: dict[str, ParameterValue] = field(default_factory=dict)
    requested_outputs: tuple[str, ...] = ()
    control: dict[str, ParameterValue] = field(default_factory=dict)
    checked: bool = False
    rows: int = 1
    batch_key: Hashable = None
    cancelled: bool = False
    response_parameters: dict[str, ParameterValue] = field(default_factory=dict)
    trace: Trace | None = None
    sequence: SequenceStep | None = None
    pinned: object = None
    packed: Mapping[str, Any] | None = None
    callers: tuple[CallingModel, ...] = ()
    calls: set[Dependent] | None = field(default=None, init=False, repr=False, compare=False)
    on_cancel: Callable[[], None] | None = field(default=None, init=False, repr=False, compare=False)
    logs_failure: Callable[[], bool] | None = field(default=None, init=False, repr=False, compare=False)

    def cancel(self) -> None:
        """Nobody waits for the answer any more. On the event loop's thread."""
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()
        if self.calls:
            for call in tuple(self.calls):
                call.request_left()

    def answered_through(self, other: "InferRequest") -> None:
        """The answer is made of the answer to another request: models that were called for that one were for this one.
        On the event loop's thread.
        """
        if other.calls is not None and self.calls is None:
            self.calls = set()

    @property
    def timeout(self) -> int:
        """How many microseconds the client lets it wait for its execution; 0 if it has said nothing."""
        timeout = self.control.get("timeout", 0)
        return timeout if isinstance(timeout, int) else 0

    def reschedule(self, inputs: Mapping[str, Any] | None = None) -> None:
        """Ask for another round: the request is executed again, in whatever batch comes next. `inputs`: tensors in the
        place of those that it has now, each as a client would send it; the others stay. For the handler of a model
        whose configuration has `sequence_batching { iterative_sequence: true }`, once in a round, before `__call__`
        returns.

        Raises InternalError where that is not so. Does nothing for the stand-in of a sequence without a request.
        """
        step = self.sequence
        if step is not None and not step.ready:
            return
        if step is None or not step.round_open:
            raise InternalError(
                f"a request of model '{self.model_name}' cannot be rescheduled: that takes sequence_batching "
                "{ iterative_sequence: true } in the configuration, and __call__ must not have returned"
            )
        if step.next_inputs is not None:
            raise InternalError(f"a request of model '{self.model_name}' was rescheduled twice in one round")
        step.next_inputs = dict(inputs or {})


def same_request(left: InferRequest, right: InferRequest) -> bool:
    """Whether two requests are equal in all that their model can see, and their tensors to the bit."""
    return _same_tensors(left.inputs, right.inputs) and replace(left, inputs={}) == replace(right, inputs={})


def _same_tensors(left: Tensors, right: Tensors) -> bool:
    """Also in their order. Of strings it is the objects that are compared."""
    return list(left) == list(right) and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and (is_one_memory(left[name], right[name]) or left[name].tobytes() == right[name].tobytes())
        for name in left
    )


def is_one_memory(left: Array, right: Array) -> bool:
    """Whether two arrays of one type and shape are the same bytes in the same place: there is nothing to compare then,
    which takes long for large ones.
    """
    return left.strides == right.strides and left.ctypes.data == right.ctypes.data


@dataclass(slots=True)
class InferResponse:
    """The answer to one request: the requested outputs in the order in which the model declares them.

    The last three fields say how it was executed: the rows of its batch, when an instance took that (monotonic), and
    how long it took. `batch_rows` is 0 for a response of a stream.
    """

    model_name: str
    model_version: str
    id: str
    outputs: dict[str, Array]
    parameters: dict[str, ParameterValue] = field(default_factory=dict)
    batch_rows: int = 0
    taken_ns: int = 0
    compute_ns: int = 0

    error: ClassVar[ServingError | None] = None
    """Of some responses of streams: that they are an error, and have no outputs; see `StreamedResponse`."""
    final: ClassVar[bool] = False
    """Of some responses of streams: that they are known to be the last one."""


@dataclass(slots=True)
class MarkedResponse(InferResponse):
    """A response of a stream that is an error, or is known to be the last."""

    error: ServingError | None = None  # type: ignore[misc]
    final: bool = False  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """Name, protocol datatype and shape (-1 where it varies) of a model's input or output, batch dimension
    included. `parameters`: what else its model says of it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """Answer of the model metadata call. `labels`: those that stand for one of the versions, and for which."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """Answer of the server metadata call. `extensions` names only what works."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One line of the repository index. A model that was never loaded has neither version nor state. A version that is
    READY has a reason only if what should have taken its place has failed. `note`, `loaded_in_s`: for people, not for
    clients. `labels`: those that stand for the version. `release_problems`: what the release of the model says that is
    not done, with the highest version that answers. `memory`: bytes that a version uses, by device, in all processes
    that have it, and whether that is an estimate; told where there is a budget for it. `began`: whether a load that has
    failed had begun to execute the model, so that a look at its files does not show why.
    """

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""
    note: str = field(default="", compare=False)
    loaded_in_s: float | None = field(default=None, compare=False)
    labels: tuple[str, ...] = ()
    release_problems: str = ""
    memory: Mapping[str, int] = field(default_factory=dict, compare=False)
    memory_estimated: bool = field(default=False, compare=False)
    began: bool = field(default=False, compare=False)
