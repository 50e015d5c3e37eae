"""The schedulers: how the requests of one model version become executions, and executions answers."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from kserve_v2.backend import Model, Placement
from kserve_v2.errors import RequestCancelledError, ServingError, UnsupportedError
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.batch import BatchRun, StreamRun, response
from kserve_v2.scheduling.failures import report_failure
from kserve_v2.scheduling.in_place import InPlace
from kserve_v2.scheduling.large_requests import LargeRequest, note_times, uncut
from kserve_v2.scheduling.pending import OnOutcome, Outcome, Pending, PendingStream
from kserve_v2.scheduling.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.pool import InstancePool, QueuePolicy
from kserve_v2.scheduling.quickness import Quickness
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import BatchReason, ExecutionTimes, FailureReason, ModelStatistics
from kserve_v2.scheduling.traces import trace_execution, trace_failure, trace_response


class Scheduler(Protocol):
    """What a loaded model needs of its scheduler, whatever its kind."""

    pool: InstancePool

    async def start(self) -> None:
        """Make the instances; see `InstancePool.start`."""
        ...

    def infer_now(self, request: InferRequest) -> InferResponse | None:
        """The answer to a checked request, if it can be executed before this returns, and the model is quick enough
        for that; None if it has to be submitted. Raises the ServingError that is its outcome.
        """
        ...

    def submit(self, request: InferRequest, on_outcome: OnOutcome) -> Pending:
        """Have a checked request executed that cannot be at once; `on_outcome` is called once, later.

        Raises the error of a request that is refused at the door: then there is no other outcome.
        """
        ...

    def give_up(self, pending: Pending) -> None:
        """Nobody wants the outcome any more: it is not handed over, and what has not begun is not executed."""
        ...

    def stream(self, request: InferRequest) -> AsyncGenerator[InferResponse, None]:
        """The responses to one checked request, one for a model that is not decoupled. Raises as `infer`.

        An async generator: who does not read it to its end closes it, which gives the request up.
        """
        ...


class QueueScheduler:
    """One response per request. Requests wait in one queue, from which every instance pulls its next batch."""

    def __init__(
        self,
        signature: ModelSignature,
        version: int,
        model: Model,
        placements: Sequence[Placement],
        rules: BatchRules,
        policy: QueuePolicy,
        statistics: ModelStatistics,
        inflight: InflightBytes | None = None,
        *,
        tries_batching: bool = False,
        quickness: Quickness | None = None,
    ) -> None:
        """`tries_batching`: see `InstancePool`. `quickness`: what is measured of the model, by which clocks; its own by
        default.
        """
        self._signature = signature
        self._version = str(version)
        self._loop = asyncio.get_running_loop()
        self.pool = InstancePool(
            signature,
            model,
            placements,
            rules,
            policy,
            statistics,
            self._deliver,
            inflight,
            tries_batching=tries_batching,
        )
        self._in_place = InPlace(self.pool, signature, self._version, self._settle, quickness or Quickness())
        self.infer_now = self._in_place.infer
        # What becomes of a request of more rows than a batch may have, if the signature lets it pass: otherwise it is
        # executed as it is.
        self.splits_large_requests = False

    def __repr__(self) -> str:
        return f"<QueueScheduler {self._signature.model_name} version={self._version} {self.pool!r}>"

    async def start(self) -> None:
        """See `Scheduler.start`."""
        await self.pool.start()
        self._in_place.started()

    def submit(self, request: InferRequest, on_outcome: OnOutcome) -> Pending:
        """See `Scheduler.submit`."""
        if request.rows > self._signature.max_rows:
            return self._submit_large(request, on_outcome)
        pending = Pending(request, on_outcome)
        if not self._in_place.take(pending):
            self.pool.admit(pending)
        return pending

    def _submit_large(self, request: InferRequest, on_outcome: OnOutcome) -> Pending:
        """Not in place: nothing is known of how long it takes."""
        if self.splits_large_requests:
            large = LargeRequest(request, on_outcome, self._signature.max_rows, self.pool, self._settle_large)
            large.begin()
            return large
        pending = Pending(request, on_outcome)
        self.pool.admit(pending)
        return pending

    def give_up(self, pending: Pending) -> None:
        """See `Scheduler.give_up`."""
        if pending.done:
            return
        if isinstance(pending, LargeRequest):
            pending.give_up()
        elif self._in_place.discard(pending):
            self.pool.record_failure(pending, FailureReason.CANCELED)
            pending.leave()
        else:
            self.pool.give_up(pending)

    async def stream(self, request: InferRequest) -> AsyncGenerator[InferResponse, None]:
        """See `Scheduler.stream`."""
        yield await infer(self, request)

    def _deliver(self, runs: list[BatchRun]) -> None:
        for run in runs:
            if run.rows <= self._signature.max_rows:
                self._in_place.observe(run)
        self._settle(runs)

    def _settle(self, runs: list[BatchRun]) -> None:
        """Give every member of finished runs its outcome."""
        for run in runs:
            try:
                if run.times is None:
                    self._settle_error(run)
                else:
                    self._settle_outputs(run)
            except Exception as error:  # noqa: BLE001 - a defect of ours; nobody must wait for ever for that
                for pending in run.members:
                    pending.fail(report_failure(error, pending.request.id, self.pool.first.placement))

    def _settle_outputs(self, run: BatchRun) -> None:
        times, rows, members = run.times, run.rows, run.members
        assert times is not None  # noqa: S101 - for the type checker
        counted = members
        if self.splits_large_requests:
            counted = uncut(members)
            note_times(members, times)
        requests = len(counted)
        enqueued_ns = counted[0].enqueued_ns if requests == 1 else sum([each.enqueued_ns for each in counted])
        now_ms = time.time_ns() // 1_000_000
        self.pool.statistics.record_success(rows, requests, enqueued_ns, times, run.reason, now_ms)
        execution = (rows, times.taken_ns, times.output_end_ns - times.taken_ns)
        for pending, outputs in zip(members, run.outputs, strict=True):
            # A caller that left while its request was executed has no use for the result.
            if not pending.done:
                if (trace := pending.request.trace) is not None:
                    trace_execution(trace, pending, times, self._signature)
                    trace_response(trace, outputs)
                    trace.stamp("REQUEST_END")
                pending.conclude(
                    response(pending.request, outputs, self._signature, self._version, execution)
                )

    def _settle_error(self, run: BatchRun) -> None:
        # A failed batch was tried again one by one: the error belongs to one request.
        (pending,) = run.members
        error = run.error
        if error is None:
            # It was not executed again, because the client had left.
            self.pool.record_failure(pending, FailureReason.CANCELED)
            return
        if pending.request.trace is not None:
            trace_failure(pending.request.trace, pending, run.taken_ns)
        self.pool.record_failure(pending, FailureReason.BACKEND)
        pending.fail(error)

    def _settle_large(self, large: LargeRequest, error: ServingError | None) -> None:
        """Give a request that was executed in parts its outcome."""
        trace = large.request.trace
        if error is not None:
            if trace is not None:
                trace_failure(trace, large, large.taken_ns or time.monotonic_ns())
            large.fail(error)
            return
        compute = large.compute
        self.pool.statistics.record_joined(large.enqueued_ns, large.taken_ns, large.end_ns, compute)
        if trace is not None:
            input_end_ns = large.taken_ns + compute.input_ns
            times = ExecutionTimes(large.taken_ns, input_end_ns, large.end_ns, large.end_ns)
            trace_execution(trace, large, times, self._signature)
            trace_response(trace, large.outputs)
            trace.stamp("REQUEST_END")
        execution = (large.rows, large.taken_ns, sum(compute))
        large.conclude(response(large.request, large.outputs, self._signature, self._version, execution))


class StreamScheduler:
    """Decoupled models: any number of responses per request. An instance works on one request at a time, or on
    several if it is asynchronous; requests are not batched.
    """

    def __init__(
        self,
        signature: ModelSignature,
        version: int,
        model: Model,
        placements: Sequence[Placement],
        policy: QueuePolicy,
        statistics: ModelStatistics,
        inflight: InflightBytes | None = None,
    ) -> None:
        self._signature = signature
        self._version = str(version)
        self._loop = asyncio.get_running_loop()
        self.pool = InstancePool(
            signature,
            model,
            placements,
            ONE_AT_A_TIME,
            policy,
            statistics,
            self._deliver,
            inflight,
            streams=True,
        )

    def __repr__(self) -> str:
        return f"<StreamScheduler {self._signature.model_name} version={self._version} {self.pool!r}>"

    async def start(self) -> None:
        """See `Scheduler.start`."""
        await self.pool.start()

    def infer_now(self, request: InferRequest) -> InferResponse | None:
        """See `Scheduler.infer_now`. Streams take as long as their readers."""
        return None

    def submit(self, request: InferRequest, on_outcome: OnOutcome) -> Pending:
        """A single response cannot stand for any number of them. Raises UnsupportedError."""
        raise UnsupportedError(
            f"model '{self._signature.model_name}' has a decoupled transaction policy: ask for a stream"
        )

    def give_up(self, pending: Pending) -> None:
        """See `Scheduler.give_up`."""
        if not pending.done:
            self.pool.give_up(pending)

    async def stream(self, request: InferRequest) -> AsyncGenerator[InferResponse, None]:
        """See `Scheduler.stream`."""
        pending = PendingStream(request, self._loop)
        self.pool.admit(pending)
        try:
            while (got := await pending.next()) is not None:
                if request.trace is not None:
                    trace_response(request.trace, got.outputs)
                answer = response(request, got.outputs, self._signature, self._version)
                answer.parameters = got.parameters
                yield answer
        except (asyncio.CancelledError, GeneratorExit):
            self.give_up(pending)
            raise
        finally:
            pending.leave()

    def _deliver(self, run: StreamRun) -> None:
        try:
            self._settle(run)
        except Exception as error:  # noqa: BLE001 - as in QueueScheduler
            run.pending.fail(report_failure(error, run.request.id, self.pool.first.placement))

    def _settle(self, run: StreamRun) -> None:
        pending, statistics, trace = run.pending, self.pool.statistics, run.request.trace
        for index, step in enumerate(run.steps):
            statistics.record_response(index, step)
        if run.times is not None:
            now_ms = time.time_ns() // 1_000_000
            statistics.record_success(
                pending.rows, 1, pending.enqueued_ns, run.times, BatchReason.NOT_BATCHABLE, now_ms
            )
            if trace is not None:
                trace_execution(trace, pending, run.times, self._signature)
                trace.stamp("REQUEST_END")
            pending.end()
        elif run.error is None:
            self.pool.record_failure(pending, FailureReason.CANCELED)
            # Told to nobody, as a rule: but a model can say of itself that the client has left.
            pending.fail(RequestCancelledError("the request was cancelled"))
        else:
            if trace is not None:
                trace_failure(trace, pending, run.taken_ns)
            self.pool.record_failure(pending, FailureReason.BACKEND)
            pending.fail(run.error)


async def infer(scheduler: Scheduler, request: InferRequest) -> InferResponse:
    """Answer one checked request, or raise the error that is its outcome instead. Cancelling the call gives the
    request up.
    """
    answer = scheduler.infer_now(request)
    if answer is not None:
        return answer
    future: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()

    def take(outcome: Outcome) -> None:
        if future.done():
            return
        if isinstance(outcome, ServingError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    pending = scheduler.submit(request, take)
    try:
        return await future
    except asyncio.CancelledError:
        scheduler.give_up(pending)
        raise
