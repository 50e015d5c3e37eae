"""One execution of a model, from the requests that an instance has taken to the outcome of each: merge, execute, check,
split, and settle. The same for instances on threads, in place and on event loops of their own.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kserve_v2.backend import MovableInstance, Placement
from kserve_v2.errors import RequestCancelledError, ServingError
from kserve_v2.memory.own import copy_shared
from kserve_v2.messages import Answers, InferRequest, InferResponse
from kserve_v2.scheduling.executing.response_parameters import take_response_parameters
from kserve_v2.scheduling.executing.traces import trace_execution, trace_failure, trace_response
from kserve_v2.scheduling.failures import report_failure
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.merging.answers import is_failure, one_answer_each
from kserve_v2.scheduling.merging.outputs import finish_outputs
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import (
    BatchReason,
    ExecutionTimes,
    FailureReason,
)
from kserve_v2.tensors.datatypes import Array
from kserve_v2.tracing.trace import Trace

_NO_FAILURES: Mapping[Pending, ServingError] = {}


class Execution(ABC):
    """One execution, whichever way its instance is driven: first on the instance's thread or loop, then `settle` on the
    server's event loop.
    """

    __slots__ = (
        "_input_end_ns", "cpu_ns", "error", "members", "placement", "rows", "spec", "taken_ns", "times",
    )  # fmt: skip

    def __init__(self, batch: Batch, spec: ModelSpec, placement: Placement) -> None:
        self.members = members = batch.members
        # A model that does not batch counts every request as one row.
        self.rows = members[0].rows if len(members) == 1 else sum([pending.rows for pending in members])
        self.taken_ns = self._input_end_ns = batch.taken_ns
        # CPU time that its thread spent on it.
        self.cpu_ns = 0
        self.spec = spec
        self.placement = placement
        self.error: ServingError | None = None
        self.times: ExecutionTimes | None = None

    @property
    def traces(self) -> list[Trace]:
        """The traces of those members that have one."""
        return [pending.request.trace for pending in self.members if pending.request.trace is not None]

    def inputs(self) -> dict[str, Array]:
        """The merged inputs, as the backend wants them. Raises as `Merger.merge`."""
        inputs = self.spec.merger.merge(self.members)
        self._input_end_ns = time.monotonic_ns()
        return inputs

    def begins(self) -> None:
        """It begins now: until then it has waited, though its inputs have been handed over already."""
        self.taken_ns = self._input_end_ns = time.monotonic_ns()

    def settle(self) -> None:
        """Count it, and give its members their outcomes. On the event loop's thread."""
        try:
            self._settle()
        except Exception as error:  # noqa: BLE001 - a defect of ours; nobody must wait for ever for that
            for pending in self.members:
                pending.end(report_failure(error, pending.request, self.placement))

    @abstractmethod
    def _settle(self) -> None:
        """As `settle`; may raise."""


class BatchExecution(Execution):
    """The execution of one batch and its outcome: outputs for every member, or one error; or, of an instance that
    answers each member by itself, outputs for some and for each of the others, the `failures`, an error of its own.

    `inputs`, then `finish` or `fail`, in this order; `settle` afterwards.
    """

    __slots__ = ("failures", "outputs", "reason")

    def __init__(self, batch: Batch, spec: ModelSpec, placement: Placement) -> None:
        super().__init__(batch, spec, placement)
        self.reason = batch.reason
        self.outputs: list[Outputs] = []
        self.failures = _NO_FAILURES

    @property
    def requests(self) -> list[InferRequest]:
        """The requests of all members, in the order of their rows."""
        members = self.members
        return [members[0].request] if len(members) == 1 else [pending.request for pending in members]

    @property
    def to_be_retried(self) -> bool:
        """Whether the batch failed, and one of several members may be to blame."""
        return self.error is not None and len(self.members) > 1 and self.spec.sequences is None

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for the outcome any more: looked at before a member is executed again. What is not
        executed for that has neither times nor an error.
        """
        return all(pending.request.cancelled for pending in self.members)

    def alone(self) -> list["BatchExecution"]:
        """One fresh execution per member."""
        for pending in self.members:
            # The failed execution may have set some; they are not part of the answer.
            pending.request.response_parameters = {}
        return [
            BatchExecution(
                Batch([pending], BatchReason.NOT_BATCHABLE, time.monotonic_ns()), self.spec, self.placement
            )
            for pending in self.members
            if not pending.is_null
        ]

    def finish(self, answers: list[Answers], *, fresh: bool) -> None:
        """Split the backend's answer among the members: the one element, which is taken out, so that nobody who calls
        this refers to it. (An argument is also held by the caller, where something has replaced the interpreter's way
        of evaluating frames, as a compiled torch module does for the whole process.)

        `fresh`: the instance vouches for the memory; see `FreshOutputs`. Raises InternalError where it does not fit the
        request or the model.
        """
        infer_end_ns = time.monotonic_ns()
        outputs = answers.pop()
        members, merger = self.members, self.spec.merger
        if merger.separate or type(outputs) is list:
            checked_each = self._checked_each(outputs)
            if not fresh:
                del outputs
                for each in checked_each:
                    copy_shared(each)
            self.outputs = [
                {} if pending in self.failures else merger.split(each, (pending,))[0]
                for pending, each in zip(members, checked_each, strict=True)
            ]
        else:
            checked = merger.check(outputs, members)  # type: ignore[arg-type]  # no list: see above
            if not fresh:
                del outputs
                copy_shared(checked)
            for pending in members:
                if pending.request.response_parameters:
                    take_response_parameters(pending.request, self.spec.name)
            self.outputs = merger.split(checked, members)
        self.times = ExecutionTimes(self.taken_ns, self._input_end_ns, infer_end_ns, time.monotonic_ns())

    def _checked_each(self, answers: object) -> list[Outputs]:
        """The answer to each member, as `Merger.check` has it; nothing to those that are `failures` from now on: by the
        exception that the instance has answered with, or because its answer does not fit.
        """
        found: list[Outputs] = []
        failures: dict[Pending, ServingError] = {}
        for pending, answer in one_answer_each(answers, self.members, self.spec.name):
            outcome = self._checked(answer, pending)
            if isinstance(outcome, BaseException):
                pending.request.response_parameters = {}
                failures[pending] = report_failure(outcome, pending.request, self.placement)
                outcome = {}
            found.append(outcome)
        self.failures = failures
        return found

    def _checked(self, answer: Any, pending: Pending) -> Outputs | BaseException:
        if is_failure(answer):
            # Not raised: its traceback, if it has one, is the instance's.
            return answer  # type: ignore[no-any-return]
        try:
            checked = self.spec.merger.check(answer, (pending,))
            if pending.request.response_parameters:
                take_response_parameters(pending.request, self.spec.name)
        except BaseException as error:  # noqa: BLE001 - whatever the instance has answered with
            return error
        return checked

    def fail(self, error: BaseException) -> None:
        """Take `error` as the outcome of every member, and report it unless they are to be tried again."""
        self.outputs = []
        members = self.members
        final = len(members) == 1 or self.spec.sequences is not None
        self.error = report_failure(error, members[0].request, self.placement, final=final)

    def _settle(self) -> None:
        if self.times is None:
            self._settle_error()
        else:
            self._settle_outputs(self.times)

    def _settle_outputs(self, times: ExecutionTimes) -> None:
        rows, members, spec, failures = self.rows, self.members, self.spec, self.failures
        counted = members
        if spec.signature.takes_large_requests:
            counted = [pending for pending in members if not pending.is_part]
            for pending in members:
                pending.executed(times)
        elif spec.sequences is not None:
            counted = [pending for pending in members if not pending.is_null]
        null_rows = len(members) - len(counted) if spec.sequences else 0
        if failures:
            counted = [pending for pending in counted if pending not in failures]
            null_rows += self._failed_rows()
        if null_rows < rows:
            requests = len(counted)
            enqueued_ns = (
                counted[0].enqueued_ns if requests == 1 else sum([each.enqueued_ns for each in counted])
            )
            now_ms = time.time_ns() // 1_000_000
            statistics = spec.statistics
            statistics.record_success(rows, requests, enqueued_ns, times, self.reason, now_ms, null_rows)
            came_ns = [each.enqueued_ns for each in counted]
            statistics.record_waits(times.taken_ns, came_ns)
            if statistics.latencies is not None:
                statistics.record_answers(times.output_end_ns, came_ns)
        execution = (rows, times.taken_ns, times.output_end_ns - times.taken_ns)
        for pending, outputs in zip(members, self.outputs, strict=True):
            if failures and pending in failures:
                self._end_failed(pending, failures[pending])
            # Skip a caller that left while its request was executed.
            elif not pending.done:
                if (trace := pending.request.trace) is not None:
                    trace_execution(trace, pending, times, spec.signature)
                    trace_response(trace, outputs)
                    trace.stamp("REQUEST_END")
                pending.answer(response(pending.request, outputs, spec, execution))

    def _failed_rows(self) -> int:
        """How many rows have been executed for nothing."""
        return sum([pending.rows for pending in self.failures if not pending.is_null])

    def _settle_error(self) -> None:
        # A failed batch was executed again request by request, so this is one request, except in sequences: a model
        # whose state has advanced must not take the same step twice.
        for pending in self.members:
            if self.error is None:
                # Its client had left before it could be executed again.
                record_failure(self.spec, pending, FailureReason.CANCELED)
            else:
                self._end_failed(pending, self.error)

    def _end_failed(self, pending: Pending, error: ServingError) -> None:
        if pending.is_null:
            return
        if pending.request.trace is not None:
            trace_failure(pending.request.trace, pending, self.taken_ns)
        record_failure(self.spec, pending, failure_reason(error))
        pending.end(error)


def execute_alone(
    instance: MovableInstance,
    request: InferRequest,
    spec: ModelSpec,
    clock_ns: Callable[[], int],
    taken_ns: int,
    *,
    fresh: bool,
) -> tuple[Outputs, tuple[int, int, int, int]]:
    """Execute one request that nobody has queued, where this is called: the steps of a `BatchExecution`, without what
    only a batch needs. `taken_ns`: the time now. Returns the outputs, and the times of `ExecutionTimes`. Raises
    whatever goes wrong.
    """
    inputs, signature = request.inputs, spec.signature
    input_end_ns = taken_ns
    if signature.reshapes_inputs:
        inputs = signature.reshape_inputs(inputs)
        input_end_ns = clock_ns()
    outputs = instance.execute(inputs, (request,))
    infer_end_ns = clock_ns()
    outputs = finish_outputs(outputs, signature, request.rows)
    if not fresh:
        copy_shared(outputs)
    if request.response_parameters:
        take_response_parameters(request, signature.model_name)
    return outputs, (taken_ns, input_end_ns, infer_end_ns, clock_ns())


def failure_reason(error: ServingError) -> FailureReason:
    """Why an execution has failed. One that was cut short because the client has left is not the model's failure."""
    cancelled = isinstance(error, RequestCancelledError)
    return FailureReason.CANCELED if cancelled else FailureReason.BACKEND


def record_failure(spec: ModelSpec, pending: Pending, reason: FailureReason) -> None:
    """Count a request that ended without an answer, unless that is counted already."""
    since_ns = pending.failing_since_ns()
    if since_ns is not None:
        spec.statistics.record_failure(reason, time.monotonic_ns() - since_ns)


def response(
    request: InferRequest, outputs: Outputs, spec: ModelSpec, execution: Sequence[int] = (0, 0, 0)
) -> InferResponse:
    """The answer to a request: of the outputs those that it asked for, unless its model has seen to that. `execution`:
    the last three fields.
    """
    wanted = request.requested_outputs
    if wanted and not spec.signature.verbatim:
        outputs = {name: array for name, array in outputs.items() if name in wanted}
    return InferResponse(
        spec.signature.model_name,
        spec.version,
        request.id,
        outputs,
        request.response_parameters,
        *execution,
    )
