"""The scheduler of one model version: a request queue and the instances that pull from it."""

import asyncio
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kserve_v2.backend import Model, Placement
from kserve_v2.errors import InvalidArgumentError, UnavailableError
from kserve_v2.messages import Execution, InferRequest, InferResponse
from kserve_v2.scheduling.batch import BatchRun, client_error
from kserve_v2.scheduling.instance import InstanceThread
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.policy import BatchRules
from kserve_v2.scheduling.queue import RequestQueue
from kserve_v2.signature import ModelSignature, request_prefix
from kserve_v2.statistics import FailureReason, ModelStatistics


class Scheduler(Protocol):
    """What a loaded model needs of its scheduler, whatever its kind."""

    async def infer(self, request: InferRequest, rows: int, key: Hashable) -> InferResponse:
        """Answer one checked request. Raises the error that is its outcome instead."""
        ...

    @property
    def depth(self) -> int:
        """Requests that wait for an instance."""
        ...

    async def start(self) -> None:
        """Make the instances. Raises what the first failing one raised, after the others are closed again."""
        ...

    async def drain(self) -> None:
        """Wait until no request is under way."""
        ...

    def abandon(self) -> None:
        """Fail what still waits, for a shutdown whose time is up."""
        ...

    async def stop(self) -> None:
        """Take no more requests, execute what waits, and close the instances."""
        ...


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """Limits of a model's queue, with the meaning of Triton's `default_queue_policy`.

    `max_size`: most requests that may wait, 0 for no limit. `timeout_us`: how long one may wait, 0 for ever.
    `reject`: what happens then, an error or a place behind all others. `allow_override`: a request may ask
    for a shorter time.
    """

    max_size: int = 0
    timeout_us: int = 0
    reject: bool = True
    allow_override: bool = False

    def timeout_for(self, request: InferRequest) -> int:
        """Microseconds that this request may wait, 0 for ever. A request can shorten the model's time-out
        only.
        """
        wanted = request.parameters.get("timeout")
        if not (self.timeout_us and self.allow_override and wanted):
            return self.timeout_us
        if not isinstance(wanted, int) or wanted < 0:
            raise InvalidArgumentError(
                f"request parameter 'timeout' must be microseconds >= 0, got {wanted!r}"
            )
        return min(self.timeout_us, wanted)


class QueueScheduler:
    """Requests wait in one queue, from which every instance pulls its next batch.

    Lives on the event loop that made it; statistics and futures are touched there alone.
    """

    def __init__(
        self,
        signature: ModelSignature,
        version: int,
        model: Model,
        placements: Sequence[Placement],
        rules: BatchRules,
        policy: QueuePolicy,
        statistics: ModelStatistics,
    ) -> None:
        self._signature = signature
        self._version = str(version)
        self._policy = policy
        self._statistics = statistics
        self._queue = RequestQueue(rules, policy.max_size)
        self._loop = asyncio.get_running_loop()
        self._instances = [
            InstanceThread(placement, model, self._queue, signature, self._deliver_from_thread)
            for placement in placements
        ]
        self._in_flight = 0
        self._drained = asyncio.Event()
        self._drained.set()

    def __repr__(self) -> str:
        return (
            f"<QueueScheduler {self._signature.model_name} version={self._version} instances={len(self._instances)} "
            f"depth={self.depth} in_flight={self._in_flight}>"
        )

    @property
    def depth(self) -> int:
        """See `Scheduler.depth`."""
        return len(self._queue)

    async def start(self) -> None:
        """See `Scheduler.start`."""
        results = await asyncio.gather(
            *(instance.start() for instance in self._instances), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self.stop()
            raise failures[0]

    async def infer(self, request: InferRequest, rows: int, key: Hashable) -> InferResponse:
        """See `Scheduler.infer`. Cancelling the call gives the request up: if it still waits, it never runs."""
        timeout_us = self._policy.timeout_for(request) if self._policy.timeout_us else 0
        pending = Pending(request, rows, key, self._loop.create_future(), time.monotonic_ns())
        if not self._queue.put(pending):
            self._statistics.record_failure(FailureReason.REJECTED, 0)
            raise UnavailableError(f"{request_prefix(request.id)}Exceeds maximum queue size")
        timer = self._loop.call_later(timeout_us / 1e6, self._expire, pending) if timeout_us else None
        self._in_flight += 1
        self._drained.clear()
        try:
            return await pending.future
        except asyncio.CancelledError:
            if self._queue.discard(pending):
                self._fail(pending, FailureReason.CANCELED)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._in_flight -= 1
            if not self._in_flight:
                self._drained.set()

    def _expire(self, pending: Pending) -> None:
        if not self._policy.reject:
            self._queue.postpone(pending)
        elif self._queue.discard(pending):
            self._fail(pending, FailureReason.REJECTED)
            pending.future.set_exception(UnavailableError("Request timeout expired"))

    def _fail(self, pending: Pending, reason: FailureReason) -> None:
        self._statistics.record_failure(reason, time.monotonic_ns() - pending.enqueued_ns)

    def _deliver_from_thread(self, placement: Placement, runs: list[BatchRun]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, placement, runs)

    def _deliver(self, placement: Placement, runs: list[BatchRun]) -> None:
        for run in runs:
            if run.times is None:
                self._deliver_error(placement, run)
            else:
                self._deliver_outputs(run)

    def _deliver_outputs(self, run: BatchRun) -> None:
        times, rows = run.times, run.rows
        assert times is not None  # noqa: S101 - for the type checker
        self._statistics.record_success(
            rows,
            [pending.enqueued_ns for pending in run.members],
            times,
            run.reason,
            time.time_ns() // 1_000_000,
        )
        execution = Execution(rows, times.taken_ns, times.output_end_ns - times.taken_ns)
        for pending, outputs in zip(run.members, run.outputs, strict=True):
            # A caller that left while its request was executed has no use for the result.
            if pending.future.done():
                continue
            request = pending.request
            wanted = request.requested_outputs
            if wanted:
                outputs = {name: array for name, array in outputs.items() if name in wanted}  # noqa: PLW2901
            response = InferResponse(self._signature.model_name, self._version, request.id, outputs)
            response.execution = execution
            pending.future.set_result(response)

    def _deliver_error(self, placement: Placement, run: BatchRun) -> None:
        # A failed batch was tried again one by one: the error belongs to one request.
        (pending,) = run.members
        self._fail(pending, FailureReason.BACKEND)
        if not pending.future.done():
            error = run.error or RuntimeError("the run has no outcome")
            pending.future.set_exception(client_error(error, placement.name))

    async def drain(self) -> None:
        """See `Scheduler.drain`."""
        await self._drained.wait()

    def abandon(self) -> None:
        """See `Scheduler.abandon`."""
        for pending in self._queue.abandon():
            self._fail(pending, FailureReason.CANCELED)
            if not pending.future.done():
                pending.future.set_exception(UnavailableError("Server exiting: the request was not executed"))

    async def stop(self) -> None:
        """See `Scheduler.stop`."""
        self._queue.close()
        await asyncio.gather(*(instance.stopped() for instance in self._instances))
