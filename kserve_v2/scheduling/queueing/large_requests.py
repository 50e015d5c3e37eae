"""Requests of more rows than a model takes at once: cut into parts, executed as requests of their own, and put together
again.
"""

import time
from dataclasses import replace
from typing import Protocol

import numpy as np

from kserve_v2.errors import InvalidArgumentError, ServingError, UnavailableError, UnfinishedError
from kserve_v2.messages import InferRequest, InferResponse, ParameterValue
from kserve_v2.scheduling.executing.execution import record_failure, response
from kserve_v2.scheduling.executing.traces import trace_execution, trace_failure, trace_response
from kserve_v2.scheduling.failures import report_failure
from kserve_v2.scheduling.holding import hold
from kserve_v2.scheduling.pending import Outputs, Owner, Pending
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import ComputeTimes, ExecutionTimes, FailureReason
from kserve_v2.scheduling.target import Reply

# At least this many parts of one request are in flight at a time. The others need no memory yet, and delay nobody.
_MIN_PARTS = 8


class Queue(Owner, Protocol):
    """Where the parts wait. `instances`: how many execute them."""

    instances: int

    def count(self, pending: Pending) -> None:
        """The request is under way until it is over."""
        ...

    def admit(self, pending: Pending) -> None:
        """Queue a request. Raises UnavailableError if there is no room."""
        ...


class Part(Pending):
    """Some rows of a large request, from `start` on. `times`: those of its execution, before it is answered."""

    __slots__ = ("_large", "admitted", "start", "times")

    is_part = True

    def __init__(self, large: "LargeRequest", start: int, rows: int) -> None:
        whole = large.request
        inputs = {name: array[start : start + rows] for name, array in whole.inputs.items()}
        request = replace(whole, inputs=inputs, rows=rows, trace=None, response_parameters={})
        request.logs_failure = whole.logs_failure
        super().__init__(request, self)
        # The first part is admitted for the whole request; the others are queued even if the queue is full by then.
        self.admitted = start > 0
        self.start = start
        self.times: ExecutionTimes | None = None
        self._large = large

    def executed(self, times: ExecutionTimes) -> None:
        """Keep the times for the whole."""
        self.times = times

    def answer(self, response: InferResponse) -> None:
        """Let the whole have its rows."""
        if not self.done:
            self._close()
            self._large.join(self, response)

    def end(self, error: ServingError | None = None) -> None:
        """Let the whole have the error."""
        if not self.done and error is not None:
            self._close()
            self._large.part_failed(self, error)

    def failing_since_ns(self) -> int | None:
        """The whole fails, and is counted once."""
        return self._large.failing_since_ns()


class LargeRequest(Pending):
    """The whole."""

    __slots__ = (
        "_compute", "_end_ns", "_failing", "_joined_rows", "_next", "_outputs", "_parameters", "_queue", "_spec",
        "_taken_ns", "_under_way",
    )  # fmt: skip

    def __init__(self, request: InferRequest, reply: Reply, spec: ModelSpec, queue: Queue) -> None:
        super().__init__(request, reply)
        self._spec = spec
        self._queue = queue
        self._outputs: Outputs = {}
        # When the first part began and the last one ended, and the sum of their times.
        self._taken_ns = self._end_ns = 0
        self._compute = ComputeTimes()
        self._next = self._joined_rows = 0
        self._under_way: set[Part] = set()
        self._parameters: dict[int, dict[str, ParameterValue]] = {}
        self._failing = False

    def begin(self) -> None:
        """Have the first parts executed. Raises the ServingError of a request that is refused: then it has no other
        outcome.
        """
        self.held_bytes = hold(self.request, self._spec)
        self._queue.count(self)
        try:
            self._admit()
        except UnavailableError:
            self._give_up_parts()
            self._close()
            raise

    def _admit(self) -> None:
        """Go on, as long as there are not too many parts under way. Raises UnavailableError."""
        while self._next < self.rows and len(self._under_way) < max(_MIN_PARTS, 2 * self._queue.instances):
            part = Part(self, self._next, min(self._spec.signature.max_rows, self.rows - self._next))
            self._queue.admit(part)
            self._under_way.add(part)
            self._next += part.rows

    def part_failed(self, part: Part, error: ServingError) -> None:
        """One part has failed, and so has the whole."""
        self._under_way.discard(part)
        if not self.done:
            self._fail(error)

    def join(self, part: Part, answer: InferResponse) -> None:
        """Take the rows of one part."""
        self._under_way.discard(part)
        if self.done:
            return
        try:
            self._join(part, answer)
            if self._joined_rows == self.rows:
                self._succeed()
            else:
                self._admit()
        except UnavailableError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - such as no memory for the whole; nobody must wait for ever
            record_failure(self._spec, self, FailureReason.BACKEND)
            self._fail(report_failure(error, self.request, self._spec.placements[0]))

    def _join(self, part: Part, answer: InferResponse) -> None:
        self.request.answered_through(part.request)
        rows = slice(part.start, part.start + part.rows)
        for name, array in answer.outputs.items():
            whole = self._outputs.get(name)
            if whole is None:
                whole = self._outputs[name] = np.empty((self.rows, *array.shape[1:]), array.dtype)
            if whole.shape[1:] != array.shape[1:]:
                raise InvalidArgumentError(
                    f"output '{name}' has rows of shape {list(whole.shape[1:])} and of {list(array.shape[1:])} in "
                    f"different parts of this request, which cannot be put together: send at most "
                    f"{self._spec.signature.max_rows} rows at a time"
                )
            whole[rows] = array
        if answer.parameters:
            self._parameters[part.start] = answer.parameters
        self._joined_rows += part.rows
        assert part.times is not None  # noqa: S101 - what is answered has been executed
        times = part.times
        self._taken_ns = min(self._taken_ns or times.taken_ns, times.taken_ns)
        self._end_ns = max(self._end_ns, times.output_end_ns)
        self._compute = self._compute.and_of(times)

    def _fail(self, error: ServingError) -> None:
        if isinstance(error, UnavailableError) and (self._joined_rows or self._under_way):
            # Other parts have been executed, or may be just now.
            error = UnfinishedError(error.message)
        self._give_up_parts()
        if self.request.trace is not None:
            trace_failure(self.request.trace, self, self._taken_ns or time.monotonic_ns())
        self.end(error)

    def _succeed(self) -> None:
        request, spec, compute = self.request, self._spec, self._compute
        # Where the parts set one parameter differently, the last one wins.
        for _, parameters in sorted(self._parameters.items()):
            request.response_parameters.update(parameters)
        spec.statistics.record_joined(self.enqueued_ns, self._taken_ns, self._end_ns, compute)
        if request.trace is not None:
            input_end_ns = self._taken_ns + compute.input_ns
            times = ExecutionTimes(self._taken_ns, input_end_ns, self._end_ns, self._end_ns)
            trace_execution(request.trace, self, times, spec.signature)
            trace_response(request.trace, self._outputs)
            request.trace.stamp("REQUEST_END")
        execution = (self.rows, self._taken_ns, sum(compute))
        self.answer(response(request, self._outputs, spec, execution))

    def give_up(self) -> None:
        """Nobody waits for the outcome any more: neither do the parts."""
        if not self.done:
            self.request.cancel()
            record_failure(self._spec, self, FailureReason.CANCELED)
            self._give_up_parts()
            self._close()

    def _give_up_parts(self) -> None:
        parts, self._under_way = self._under_way, set()
        for part in parts:
            part.give_up()

    def failing_since_ns(self) -> int | None:
        """The first time it is asked; see `Pending.failing_since_ns`."""
        first, self._failing = not self._failing, True
        return self.enqueued_ns if first else None
