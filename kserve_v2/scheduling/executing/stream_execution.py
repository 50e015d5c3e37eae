"""An execution of a decoupled model: a sequence of steps, each of which may bring a response to one of its requests."""

import asyncio
import time
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from kserve_v2.backend import Placement, StreamedResponse
from kserve_v2.errors import RequestCancelledError, ServingError
from kserve_v2.messages import InferRequest, InferResponse, MarkedResponse, ParameterValue, Tensors
from kserve_v2.scheduling.executing.execution import Execution, failure_reason, record_failure, response
from kserve_v2.scheduling.executing.response_parameters import take_response_parameters
from kserve_v2.scheduling.executing.traces import trace_execution, trace_failure, trace_response
from kserve_v2.scheduling.failures import report_failure
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.merging.outputs import finish_present_outputs
from kserve_v2.scheduling.pending import Outputs
from kserve_v2.scheduling.room import is_room
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import (
    BatchReason,
    ComputeTimes,
    ExecutionTimes,
    FailureReason,
    ResponseFate,
    ResponseTimes,
)
from kserve_v2.scheduling.verbatim import any_outputs
from kserve_v2.tensors.datatypes import Array


@dataclass(slots=True)
class Together:
    """Requests of a decoupled model that are executed together: how many rows they have, why there are no more, and
    whether that is counted already, with the first of them that has ended well.
    """

    rows: int
    reason: BatchReason = BatchReason.NOT_BATCHABLE
    counted: bool = False


class StreamExecution(Execution):
    """The execution of one request of a decoupled model: a step for each response.

    `inputs`, then `begin_step`, `checked` and `pass_on` for each response, then `finish`, `fail`, or if the client has
    left, `stop`, and at the end `closed`; `settle` afterwards.
    """

    def __init__(
        self,
        batch: Batch,
        spec: ModelSpec,
        placement: Placement,
        loop: asyncio.AbstractEventLoop,
        together: Together | None = None,
    ) -> None:
        """`loop`: the server's. `together`: with which others it is executed; none by default."""
        super().__init__(batch, spec, placement)
        (self.pending,) = batch.members
        self._together = together or Together(self.rows)
        self.steps: list[ResponseTimes] = []
        self._loop = loop
        self._step_ns = batch.taken_ns
        self._stopping = False
        # What is said of the response that is passed on next: its error, and whether it is the last.
        self._error: ServingError | None = None
        self._final = False

    @classmethod
    def each(
        cls, batch: Batch, spec: ModelSpec, placement: Placement, loop: asyncio.AbstractEventLoop
    ) -> list[Self]:
        """Those of all requests of a batch."""
        together = Together(sum([pending.rows for pending in batch.members]), batch.reason)
        return [
            cls(Batch([pending], batch.reason, batch.taken_ns), spec, placement, loop, together)
            for pending in batch.members
        ]

    def inputs(self) -> dict[str, Array]:
        """As those of any execution."""
        merged: Any = super().inputs()
        inputs: dict[str, Array] = merged[0] if self.spec.merger.separate else merged
        return inputs

    @property
    def request(self) -> InferRequest:
        """The request that is answered."""
        return self.pending.request

    def begin_step(self) -> None:
        """The model is asked for its next response."""
        self._step_ns = time.monotonic_ns()

    def checked(self, outputs: Tensors | StreamedResponse) -> Outputs:
        """One response, fit to be sent. Raises InternalError where it does not fit the model."""
        infer_end_ns = time.monotonic_ns()
        if isinstance(outputs, StreamedResponse):
            self._final = outputs.final
            self.request.response_parameters = dict(outputs.parameters)
            self._error = outputs.error and report_failure(outputs.error, self.request, self.placement)
            if self._error is not None:
                self._end_step(infer_end_ns, ResponseFate.FAIL)
                return {}
            outputs = outputs.outputs
        signature = self.spec.signature
        if signature.verbatim:
            present = any_outputs(outputs, signature.model_name)
        else:
            present = finish_present_outputs(outputs, signature, self.rows)
        if self.request.response_parameters:
            take_response_parameters(self.request, self.spec.name)
        fate = ResponseFate.SUCCESS if present else ResponseFate.EMPTY
        self._end_step(infer_end_ns, fate)
        return present

    def pass_on(self, outputs: Outputs) -> Future[bool]:
        """Hand over one response. The future is done when there is room for the next one, with True, or when nobody
        will take it, with False: then the model has to stop.
        """
        taken: Future[bool] = Future()
        # From now on it cannot be cancelled: a model that cancels its own task would otherwise break `_respond`.
        taken.set_running_or_notify_cancel()
        # A copy: the model may change them for its next response while this one is sent.
        parameters = dict(self.request.response_parameters)
        marks, self._error, self._final = (self._error, self._final), None, False
        self._loop.call_soon_threadsafe(self._respond, outputs, parameters, marks, taken)
        return taken

    def _respond(
        self,
        outputs: Outputs,
        parameters: dict[str, ParameterValue],
        marks: tuple[ServingError | None, bool],
        taken: Future[bool],
    ) -> None:
        try:
            if self.pending.done:
                taken.set_result(False)
                return
            if self.request.trace is not None:
                trace_response(self.request.trace, outputs)
            answer = response(self.request, outputs, self.spec)
            answer.parameters = parameters
            if any(marks):
                answer = marked(answer, *marks)
            room = self.pending.respond(answer)
            if room is None:
                taken.set_result(True)
            else:
                room.add_done_callback(partial(_pass_room, taken))
        except Exception as error:  # noqa: BLE001 - a defect of ours; the model must not wait for ever for that
            self.pending.end(report_failure(error, self.request, self.placement))
            taken.set_result(False)

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

    def fail(self, error: BaseException) -> None:
        """Report `error`, and take it as the end of the stream, unless that was there before the model failed to
        close.
        """
        told = report_failure(error, self.request, self.placement)
        if self.times is None and not self._stopping:
            self.error = told
            self._end_step(time.monotonic_ns(), ResponseFate.FAIL)

    def closed(self) -> None:
        """The model works on it no longer."""
        if self._stopping:
            self._end_step(time.monotonic_ns(), ResponseFate.CANCEL)

    def _settle(self) -> None:
        pending, statistics, trace = self.pending, self.spec.statistics, self.request.trace
        for index, step in enumerate(self.steps):
            statistics.record_response(index, step)
        if self.times is not None:
            self._count(self.times)
            if trace is not None:
                trace_execution(trace, pending, self.times, self.spec.signature)
                trace.stamp("REQUEST_END")
            pending.end()
        elif self.error is None:
            record_failure(self.spec, pending, FailureReason.CANCELED)
            # Usually nobody is told, but a model may raise a cancellation itself.
            pending.end(RequestCancelledError("the request was cancelled"))
        else:
            if trace is not None:
                trace_failure(trace, pending, self.taken_ns)
            record_failure(self.spec, pending, failure_reason(self.error))
            pending.end(self.error)

    def _count(self, times: ExecutionTimes) -> None:
        """It has ended well. Those that are executed together are one execution."""
        statistics, together, enqueued_ns = self.spec.statistics, self._together, self.pending.enqueued_ns
        if together.counted:
            compute = ComputeTimes().and_of(times)
            statistics.inference_count += self.rows
            statistics.record_joined(enqueued_ns, times.taken_ns, times.output_end_ns, compute)
            return
        together.counted = True
        now_ms, others = time.time_ns() // 1_000_000, together.rows - self.rows
        statistics.record_success(
            together.rows, 1, enqueued_ns, times, together.reason, now_ms, null_rows=others
        )
        statistics.record_waits(times.taken_ns, (enqueued_ns,))
        statistics.record_answers(times.output_end_ns, (enqueued_ns,))


def _pass_room(taken: Future[bool], room: "asyncio.Future[bool]") -> None:
    taken.set_result(is_room(room))


def marked(answer: InferResponse, error: ServingError | None, final: bool) -> MarkedResponse:
    """A response of a stream, as it is marked."""
    return MarkedResponse(
        answer.model_name,
        answer.model_version,
        answer.id,
        answer.outputs,
        answer.parameters,
        error=error,
        final=final,
    )
