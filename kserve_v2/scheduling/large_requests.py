"""Requests of more rows than a model takes at once: cut into parts, executed as requests of their own, and put together
again.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from kserve_v2.errors import InvalidArgumentError, ServingError, UnavailableError
from kserve_v2.messages import InferRequest, InferResponse, ParameterValue
from kserve_v2.scheduling.failures import report_failure
from kserve_v2.scheduling.pending import OnOutcome, Outcome, Outputs, Pending
from kserve_v2.scheduling.pool import InstancePool
from kserve_v2.scheduling.statistics import ComputeTimes, ExecutionTimes, FailureReason

# Parts of one request that are under way at a time, at least: the others need no memory yet, and keep no one waiting.
_MIN_PARTS = 8

OnEnd = Callable[["LargeRequest", ServingError | None], None]
"""All parts have been executed; or one has failed, and the error is the request's."""


class Part(Pending):
    """Some rows of a large request, from `start` on. `times`: those of its execution, before it is concluded."""

    __slots__ = ("_large", "admitted", "start", "times")

    counted = False

    def __init__(self, large: "LargeRequest", start: int, rows: int) -> None:
        whole = large.request
        inputs = {name: array[start : start + rows] for name, array in whole.inputs.items()}
        request = replace(whole, inputs=inputs, rows=rows, trace=None, response_parameters={})
        super().__init__(request, _no_outcome)
        # The first one waits for the whole request. The others follow it, however full the queue is by now.
        self.admitted = start > 0
        self.start = start
        self.times: ExecutionTimes | None = None
        self._large = large

    def conclude(self, outcome: Outcome) -> None:
        """See `Pending.conclude`."""
        if not self.done:
            self.leave()
            self._large.take(self, outcome)

    def failing_since_ns(self) -> int | None:
        """See `Pending.failing_since_ns`."""
        return self._large.failing_since_ns()


class LargeRequest(Pending):
    """The whole. `taken_ns` and `end_ns`: when the first part began and the last one ended; `compute`: of all
    together.
    """

    __slots__ = (
        "_failing", "_joined_rows", "_max_rows", "_next", "_on_end", "_parameters", "_pool", "_under_way",
        "compute", "end_ns", "outputs", "taken_ns",
    )  # fmt: skip

    def __init__(
        self, request: InferRequest, on_outcome: OnOutcome, max_rows: int, pool: InstancePool, on_end: OnEnd
    ) -> None:
        """`max_rows`: of a part."""
        super().__init__(request, on_outcome)
        self.outputs: Outputs = {}
        self.taken_ns = self.end_ns = 0
        self.compute = ComputeTimes()
        self._max_rows = max_rows
        self._pool = pool
        self._on_end = on_end
        self._next = self._joined_rows = 0
        self._under_way: set[Part] = set()
        self._parameters: dict[int, dict[str, ParameterValue]] = {}
        self._failing = False

    def begin(self) -> None:
        """Have the first parts executed. Raises as `InstancePool.admit`: then there is no outcome."""
        self._pool.hold(self)
        self._pool.count(self)
        try:
            self._admit_next()
        except UnavailableError:
            self.leave()
            raise
        self._admit()

    def _admit(self) -> None:
        """Go on, as long as there are not too many parts under way."""
        try:
            while self._next < self.rows and len(self._under_way) < max(_MIN_PARTS, 2 * self._pool.instances):
                self._admit_next()
        except UnavailableError as error:
            self._end(error)

    def _admit_next(self) -> None:
        part = Part(self, self._next, min(self._max_rows, self.rows - self._next))
        self._pool.admit(part)
        self._under_way.add(part)
        self._next += part.rows

    def take(self, part: Part, outcome: Outcome) -> None:
        """The outcome of one part."""
        self._under_way.discard(part)
        if self.done:
            return
        if isinstance(outcome, ServingError):
            self._end(outcome)
            return
        try:
            self._join(part, outcome)
        except Exception as error:  # noqa: BLE001 - such as no memory for the whole; nobody must wait for ever
            self._pool.record_failure(self, FailureReason.BACKEND)
            self._end(report_failure(error, self.request.id, self._pool.first.placement))
            return
        if self._joined_rows == self.rows:
            self._end(None)
        else:
            self._admit()

    def _join(self, part: Part, answer: InferResponse) -> None:
        rows = slice(part.start, part.start + part.rows)
        for name, array in answer.outputs.items():
            whole = self.outputs.get(name)
            if whole is None:
                whole = self.outputs[name] = np.empty((self.rows, *array.shape[1:]), array.dtype)
            if whole.shape[1:] != array.shape[1:]:
                raise InvalidArgumentError(
                    f"output '{name}' has rows of shape {list(whole.shape[1:])} and of {list(array.shape[1:])} in "
                    f"different parts of this request, which cannot be put together: send at most {self._max_rows} "
                    "rows at a time"
                )
            whole[rows] = array
        if answer.parameters:
            self._parameters[part.start] = answer.parameters
        self._joined_rows += part.rows
        assert part.times is not None  # noqa: S101 - what is answered has been executed
        times = part.times
        self.taken_ns = min(self.taken_ns or times.taken_ns, times.taken_ns)
        self.end_ns = max(self.end_ns, times.output_end_ns)
        self.compute = self.compute.and_of(times)

    def _end(self, error: ServingError | None) -> None:
        self._give_up_parts()
        # Where parts say different things, the last one has the last word.
        for _, parameters in sorted(self._parameters.items()):
            self.request.response_parameters.update(parameters)
        self._on_end(self, error)

    def give_up(self) -> None:
        """Nobody wants the outcome any more."""
        self.request.cancelled = True
        self._pool.record_failure(self, FailureReason.CANCELED)
        self._give_up_parts()
        self.leave()

    def _give_up_parts(self) -> None:
        parts, self._under_way = self._under_way, set()
        for part in parts:
            self._pool.give_up(part)

    def failing_since_ns(self) -> int | None:
        """See `Pending.failing_since_ns`."""
        first, self._failing = not self._failing, True
        return self.enqueued_ns if first else None


def uncut(members: Iterable[Pending]) -> list[Pending]:
    """The members of a batch that are requests by themselves."""
    return [pending for pending in members if not isinstance(pending, Part)]


def note_times(members: Iterable[Pending], times: ExecutionTimes) -> None:
    """Tell the parts among the members of a batch how it was executed."""
    for pending in members:
        if isinstance(pending, Part):
            pending.times = times


def _no_outcome(outcome: Outcome) -> None:
    """A part's outcome goes to the whole."""
