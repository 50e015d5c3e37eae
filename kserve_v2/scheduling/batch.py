"""One batch, from merged inputs to one result per request."""

import time
from collections.abc import Sequence

import numpy as np

from kserve_v2.backend import Placement
from kserve_v2.errors import InternalError, ServingError
from kserve_v2.memory.own import copy_shared
from kserve_v2.messages import InferRequest, InferResponse, Tensors
from kserve_v2.scheduling.failures import report_failure
from kserve_v2.scheduling.outputs import finish_outputs, finish_present_outputs
from kserve_v2.scheduling.pending import Outputs, Pending, PendingStream
from kserve_v2.scheduling.queue import Batch
from kserve_v2.scheduling.response_parameters import take_response_parameters
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import BatchReason, ExecutionTimes, ResponseFate, ResponseTimes
from kserve_v2.tensors.datatypes import Array
from kserve_v2.tracing.trace import Trace


class BatchRun:
    """The execution of one batch and its outcome: outputs for every member, or one error.

    `merged`, then `finish` or `fail`, in this order, all on the instance's thread. The loop reads the outcome
    afterwards.
    """

    __slots__ = (
        "cpu_ns",
        "error",
        "input_end_ns",
        "members",
        "outputs",
        "reason",
        "rows",
        "signature",
        "taken_ns",
        "times",
        "traced",
    )

    def __init__(self, batch: Batch, signature: ModelSignature) -> None:
        self.members = members = batch.members
        # A model that does not batch counts every request as one row.
        if len(members) == 1:
            self.rows = members[0].rows
            self.traced = members[0].request.trace is not None
        else:
            self.rows = sum([pending.rows for pending in members])
            self.traced = any(pending.request.trace is not None for pending in members)
        self.reason = batch.reason
        self.taken_ns = self.input_end_ns = batch.taken_ns
        # How long the thread that executes it works on it.
        self.cpu_ns = 0
        self.signature = signature
        self.outputs: list[Outputs] = []
        self.error: ServingError | None = None
        self.times: ExecutionTimes | None = None

    @property
    def requests(self) -> list[InferRequest]:
        """The requests of all members, in the order of their rows."""
        members = self.members
        return [members[0].request] if len(members) == 1 else [pending.request for pending in members]

    @property
    def traces(self) -> list[Trace]:
        """The traces of those members that have one; `traced` says at once whether there are any."""
        return [pending.request.trace for pending in self.members if pending.request.trace is not None]

    @property
    def to_be_retried(self) -> bool:
        """Whether the batch failed, and one of several members may be to blame."""
        return self.error is not None and len(self.members) > 1

    def merged(self) -> dict[str, Array]:
        """The inputs of all members, joined along the batch axis, as the backend wants them."""
        inputs = merge_inputs(self.members, self.signature)
        self.input_end_ns = time.monotonic_ns()
        return inputs

    def finish(self, outputs: Tensors, *, fresh: bool) -> None:
        """Split the backend's answer among the members. `fresh`: the instance vouches for the memory; see
        `FreshOutputs`. Raises InternalError where it does not fit the request or the model.
        """
        infer_end_ns = time.monotonic_ns()
        checked = finish_outputs(outputs, self.signature, self.rows)
        if not fresh:
            del outputs
            copy_shared(checked)
        for pending in self.members:
            if pending.request.response_parameters:
                take_response_parameters(pending.request, self.signature.model_name)
        if len(self.members) == 1:
            self.outputs = [checked]
        else:
            self.outputs = split(checked, [pending.rows for pending in self.members])
        self.times = ExecutionTimes(self.taken_ns, self.input_end_ns, infer_end_ns, time.monotonic_ns())

    def fail(self, error: BaseException, placement: Placement) -> None:
        """Take `error` as the outcome of every member, and report it unless they are to be tried again."""
        self.outputs = []
        members = self.members
        self.error = report_failure(error, members[0].request.id, placement, final=len(members) == 1)

    @property
    def left(self) -> bool:
        """Whether nobody waits for the outcome any more: looked at before a member is executed again. A run that is
        not executed for that has neither times nor an error.
        """
        return all(pending.request.cancelled for pending in self.members)

    def alone(self) -> list["BatchRun"]:
        """One fresh run per member."""
        for pending in self.members:
            # What the failed execution has put there is not part of the answer.
            pending.request.response_parameters = {}
        return [
            BatchRun(Batch([pending], BatchReason.NOT_BATCHABLE, time.monotonic_ns()), self.signature)
            for pending in self.members
        ]


class StreamRun:
    """The execution of one request of a decoupled model: a step for each response.

    `merged`, then `begin_step` and `checked` for each response, then `finish`, `fail`, or if the client has left,
    `stop`, and at the end `closed`. On the instance's thread or loop; the server's loop reads the outcome afterwards.
    """

    def __init__(self, batch: Batch, signature: ModelSignature) -> None:
        (pending,) = batch.members
        assert isinstance(pending, PendingStream)  # noqa: S101 - a stream scheduler queues nothing else
        self.pending = pending
        self.signature = signature
        self.steps: list[ResponseTimes] = []
        self.error: ServingError | None = None
        self.times: ExecutionTimes | None = None
        self.taken_ns = batch.taken_ns
        self._input_end_ns = self._step_ns = batch.taken_ns
        self._stopping = False

    @property
    def request(self) -> InferRequest:
        """The request that is answered."""
        return self.pending.request

    @property
    def traces(self) -> list[Trace]:
        """The request's trace, if it has one."""
        return [self.request.trace] if self.request.trace is not None else []

    def merged(self) -> dict[str, Array]:
        """The inputs as the backend wants them."""
        inputs = merge_inputs([self.pending], self.signature)
        self._input_end_ns = time.monotonic_ns()
        return inputs

    def begin_step(self) -> None:
        """The model is asked for its next response."""
        self._step_ns = time.monotonic_ns()

    def checked(self, outputs: Tensors) -> Outputs:
        """One response, fit to be sent. Raises InternalError where it does not fit the model."""
        infer_end_ns = time.monotonic_ns()
        present = finish_present_outputs(outputs, self.signature, self.pending.rows)
        if self.request.response_parameters:
            take_response_parameters(self.request, self.signature.model_name)
        fate = ResponseFate.SUCCESS if present else ResponseFate.EMPTY
        self._end_step(infer_end_ns, fate)
        return present

    def stop(self, *, taken: bool = True) -> None:
        """The client has left, and the model is about to be stopped. `taken`: whether somebody has taken the last
        response.
        """
        if not taken:
            self.steps.pop()
        self._stopping = True
        self.begin_step()

    def _end_step(self, infer_end_ns: int, fate: ResponseFate) -> None:
        output_ns = time.monotonic_ns() - infer_end_ns
        self.steps.append(ResponseTimes(infer_end_ns - self._step_ns, output_ns, fate))

    def finish(self) -> None:
        """There are no more responses."""
        now_ns = time.monotonic_ns()
        self.times = ExecutionTimes(self.taken_ns, self._input_end_ns, now_ns, now_ns)

    def fail(self, error: BaseException, placement: Placement) -> None:
        """Report `error`, and take it as the end of the stream, unless that was there before the model failed to
        close.
        """
        told = report_failure(error, self.request.id, placement)
        if self.times is None and not self._stopping:
            self.error = told
            self._end_step(time.monotonic_ns(), ResponseFate.FAIL)

    def closed(self) -> None:
        """The model works on it no longer."""
        if self._stopping:
            self._end_step(time.monotonic_ns(), ResponseFate.CANCEL)


def merge_inputs(members: Sequence[Pending], signature: ModelSignature) -> dict[str, Array]:
    """The inputs of all members, joined along the batch axis, in the shapes that the backend wants.

    Raises InternalError where the members do not fit together.
    """
    if len(members) == 1:
        inputs = members[0].request.inputs
    else:
        inputs = concatenate(
            [pending.request.inputs for pending in members], [pending.rows for pending in members]
        )
    return signature.reshape_inputs(inputs) if signature.reshapes_inputs else inputs


def concatenate(requests: Sequence[Tensors], rows: Sequence[int]) -> dict[str, Array]:
    """Join the tensors of several requests along axis 0; `rows`: how many of them each request has.

    The answer is cut by `rows` alone. So a tensor with another number of rows would hand the rows of one client to
    another, even where the totals agree: it is refused here, whatever the check of the request has said. Raises
    InternalError for that, and for requests whose names, datatypes or row shapes differ.
    """
    first = requests[0]
    for tensors, expected in zip(requests, rows, strict=True):
        if tensors.keys() != first.keys():
            raise InternalError(
                f"requests with inputs {sorted(first)} and {sorted(tensors)} cannot be merged"
            )
        for name, array in tensors.items():
            if array.shape[:1] != (expected,) or array.dtype != first[name].dtype:
                raise InternalError(
                    f"input '{name}' of {array.dtype} with shape {list(array.shape)} cannot be merged: "
                    f"expected {first[name].dtype} with {expected} rows"
                )
    try:
        return {name: np.concatenate([tensors[name] for tensors in requests]) for name in first}
    except ValueError as error:
        raise InternalError(f"the requests cannot be merged: {error}") from error


def split(outputs: Outputs, rows: Sequence[int]) -> list[Outputs]:
    """Cut outputs along axis 0 by the row counts recorded when the requests were merged. The parts are views."""
    parts: list[Outputs] = []
    start = 0
    for count in rows:
        stop = start + count
        parts.append({name: array[start:stop] for name, array in outputs.items()})
        start = stop
    return parts


def response(
    request: InferRequest,
    outputs: Outputs,
    signature: ModelSignature,
    version: str,
    execution: tuple[int, int, int] = (0, 0, 0),
) -> InferResponse:
    """The answer to a request: of the outputs those that it asked for. `execution`: the last three fields."""
    wanted = request.requested_outputs
    if wanted:
        outputs = {name: array for name, array in outputs.items() if name in wanted}
    return InferResponse(
        signature.model_name, version, request.id, outputs, request.response_parameters, *execution
    )
