"""Iterative sequences: a model may ask for another round of a request, which is executed again with new inputs, in
whatever batch comes next.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from kserve_v2.errors import InternalError, InvalidArgumentError, RequestCancelledError
from kserve_v2.messages import Answers, InferRequest, SequenceStep, Tensors
from kserve_v2.scheduling.executing.execution import BatchExecution, record_failure, response
from kserve_v2.scheduling.executing.traces import trace_execution, trace_response
from kserve_v2.scheduling.merging.outputs import finish_present_outputs
from kserve_v2.scheduling.merging.rows import Merger
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.room import is_room
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import ExecutionTimes, FailureReason, ResponseFate, ResponseTimes
from kserve_v2.tensors.datatypes import Array


def goes_on(request: InferRequest) -> bool:
    """Whether the model has asked for another round."""
    return request.sequence is not None and request.sequence.next_inputs is not None


def next_round(request: InferRequest, signature: ModelSignature) -> InferRequest:
    """The request as it is executed next. Raises InternalError if that is none that the model takes."""
    step = request.sequence
    assert step is not None  # noqa: S101 - it goes on
    given, step.next_inputs = step.next_inputs or {}, None
    step.start = step.end = False
    step.round += 1
    following = replace(request, inputs={**request.inputs, **given}, response_parameters={})
    try:
        following.rows, following.batch_key = signature.check(following)
    except InvalidArgumentError as error:
        raise InternalError(f"a request was rescheduled with wrong inputs: {error.message}") from error
    if following.rows != 1:
        raise InternalError(
            f"a request of model '{signature.model_name}' was rescheduled with {following.rows} rows, expected 1"
        )
    return following


class RoundMerger:
    """A merger around another. Of a model that answers each round, and where all requests go on, outputs may be
    missing.
    """

    def __init__(self, inner: Merger, signature: ModelSignature, *, streams: bool) -> None:
        self._inner = inner
        self._signature = signature
        self._streams = streams
        self.separate = inner.separate
        self.merge = inner.merge
        self.split = inner.split

    def check(self, outputs: Tensors, members: Sequence[Pending]) -> Outputs:
        """The declared outputs; if all requests go on, those that are there."""
        if self._streams or all(pending.is_null or goes_on(pending.request) for pending in members):
            declared = {name: array for name, array in outputs.items() if name in self._signature.outputs}
            return finish_present_outputs(declared, self._signature, len(members))
        return self._inner.check(outputs, members)


class RoundExecution(BatchExecution):
    """The execution of one round of several requests, some of which may go on."""

    __slots__ = ()

    def inputs(self) -> dict[str, Array]:
        """The merged inputs; from now on the model may ask for another round."""
        for step in self._steps:
            step.round_open, step.next_inputs = step.ready, None
        for request in self.requests:
            # The next round may have them again: a model that writes to its inputs writes to copies.
            for array in request.inputs.values():
                array.flags.writeable = False
        return super().inputs()

    @property
    def _steps(self) -> list[SequenceStep]:
        return [step for pending in self.members if (step := pending.request.sequence) is not None]

    def finish(self, answers: list[Answers], *, fresh: bool) -> None:
        """The round is over: take its outputs."""
        for step in self._steps:
            step.round_open = False
        super().finish(answers, fresh=fresh)
        for pending in self.failures:
            if pending.request.sequence is not None:
                pending.request.sequence.next_inputs = None

    def fail(self, error: BaseException) -> None:
        """The round is over, and there will be no other."""
        for step in self._steps:
            step.round_open, step.next_inputs = False, None
        super().fail(error)

    def _settle_outputs(self, times: ExecutionTimes) -> None:
        """A request is a success once, and not with every round."""
        rules = self.spec.sequences
        real = [pending for pending in self.members if not pending.is_null and pending not in self.failures]
        ending = [pending for pending in real if not goes_on(pending.request)]
        if real:
            self.spec.statistics.record_success(
                self.rows,
                len(ending),
                sum([pending.enqueued_ns for pending in ending]),
                times,
                self.reason,
                time.time_ns() // 1_000_000,
                len(self.members) - len(real),
            )
            self.spec.statistics.record_answers(times.output_end_ns, [each.enqueued_ns for each in ending])
        self.spec.statistics.record_waits(times.taken_ns, [pending.enqueued_ns for pending in real])
        streams = rules is not None and rules.streams
        for pending, outputs in zip(self.members, self.outputs, strict=True):
            if pending in self.failures:
                self._end_failed(pending, self.failures[pending])
                continue
            if streams and not pending.is_null:
                self._count_response(pending, outputs, times)
            if pending.done:
                continue
            if not goes_on(pending.request):
                self._answer(pending, outputs, times)
            elif outputs and streams:
                room = pending.respond(response(pending.request, outputs, self.spec))
                if room is None:
                    pending.end()
                else:
                    room.add_done_callback(partial(self._taken, pending))
            else:
                # Of this round only; whoever stands in front of the queue knows what is next.
                pending.end()

    def _count_response(self, pending: Pending, outputs: Outputs, times: ExecutionTimes) -> None:
        step = pending.request.sequence
        taken = ResponseTimes(
            times.infer_end_ns - times.taken_ns,
            times.output_end_ns - times.infer_end_ns,
            ResponseFate.SUCCESS if outputs else ResponseFate.EMPTY,
        )
        self.spec.statistics.record_response(step.round if step is not None else 0, taken)

    def _answer(self, pending: Pending, outputs: Outputs, times: ExecutionTimes) -> None:
        """The last round is over."""
        trace = pending.request.trace
        if trace is not None:
            trace_execution(trace, pending, times, self.spec.signature)
            trace_response(trace, outputs)
            trace.stamp("REQUEST_END")
        if outputs:
            execution = (self.rows, times.taken_ns, times.output_end_ns - times.taken_ns)
            pending.answer(response(pending.request, outputs, self.spec, execution))
        else:
            pending.end()

    def _taken(self, pending: Pending, room: "asyncio.Future[bool]") -> None:
        """The response of a round was taken, and the next round may begin; or nobody is there who takes another."""
        if is_room(room):
            pending.end()
        elif not pending.done:
            record_failure(self.spec, pending, FailureReason.CANCELED)
            pending.end(RequestCancelledError("the request was cancelled"))
