"""The instances of one model version and the queue that they pull from: what its scheduler works with."""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from kserve_v2.backend import Model, Placement
from kserve_v2.errors import ServingError, UnavailableError, request_prefix
from kserve_v2.memory.inflight import InflightBytes, tensor_bytes
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.batching_trial import Finding
from kserve_v2.scheduling.instance import InstanceThread
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.policy import BatchRules
from kserve_v2.scheduling.queue import RequestQueue
from kserve_v2.scheduling.runners import Deliver
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import FailureReason, ModelStatistics


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
        wanted = request.control.get("timeout", 0)
        if not (self.timeout_us and self.allow_override and wanted):
            return self.timeout_us
        return min(self.timeout_us, int(wanted))


class InstancePool:
    """Lives on the event loop that made it; statistics and futures are touched there alone."""

    def __init__(
        self,
        signature: ModelSignature,
        model: Model,
        placements: Sequence[Placement],
        rules: BatchRules,
        policy: QueuePolicy,
        statistics: ModelStatistics,
        deliver: Deliver,
        inflight: InflightBytes | None = None,
        *,
        streams: bool = False,
        tries_batching: bool = False,
    ) -> None:
        """`deliver` is called with finished executions, on the event loop. `inflight`: what all requests of the server
        may hold together; None for any amount. `streams`: the model is decoupled. `tries_batching`: the first instance
        on each kind of device finds out whether requests may be merged; see `findings`.
        """
        self._inflight = inflight or InflightBytes(sys.maxsize)
        self.statistics = statistics
        self._policy = policy
        self.queue = RequestQueue(rules, policy.max_size)
        self._loop = asyncio.get_running_loop()
        self._deliver = deliver
        firsts = {placement.kind: placement for placement in reversed(placements)}
        self._instances = [
            InstanceThread(
                placement, model, self.queue, signature, self._deliver_from_thread, self._interrupted,
                streams=streams, tries_batching=tries_batching and placement is firsts[placement.kind],
            )
            for placement in placements
        ]  # fmt: skip
        # What `queue.sleeping` is when all instances sleep; -1 if that cannot be told any more.
        self.all_sleeping = self._living_instances = self.instances = len(self._instances)
        self._model_name = signature.model_name
        self._in_flight = 0
        self._drained = asyncio.Event()
        self._drained.set()

    def __repr__(self) -> str:
        return f"<InstancePool {self.queue!r} in_flight={self._in_flight} {self._instances!r}>"

    @property
    def idle(self) -> bool:
        """Whether every instance sleeps; see `RequestQueue.sleeping`."""
        return self.queue.sleeping == self.all_sleeping

    @property
    def first(self) -> InstanceThread:
        """The first of the instances."""
        return self._instances[0]

    @property
    def findings(self) -> list[Finding]:
        """What trials of batching have shown, one for each kind of device, once the instances are made."""
        return [each.finding for each in self._instances if each.finding is not None]

    @property
    def depth(self) -> int:
        """Requests that wait for an instance."""
        return len(self.queue)

    async def start(self) -> None:
        """Make the instances. Raises what the first failing one raised, after the others are closed again."""
        results = await asyncio.gather(
            *(instance.start() for instance in self._instances), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self.stop()
            raise failures[0]

    def admit(self, pending: Pending) -> None:
        """Take a request, and queue it. Raises UnavailableError if the queue is full, and as `InflightBytes.take`."""
        self._put(pending)
        self.count(pending)

    def count(self, pending: Pending) -> None:
        """A request is under way: `drain` waits until it is over."""
        pending.release = self._release
        self._in_flight += 1
        self._drained.clear()

    def enqueue(self, pending: Pending) -> None:
        """Queue a request that is counted already. It fails if there is no room for it."""
        try:
            self._put(pending)
        except ServingError as error:
            pending.fail(error)

    def _put(self, pending: Pending) -> None:
        pending.found_idle = self.idle
        timeout_us = self._policy.timeout_for(pending.request) if self._policy.timeout_us else 0
        if pending.counted:
            self.hold(pending)
        if not self.queue.put(pending):
            self._give_back(pending)
            if pending.failing_since_ns() is not None:
                self.statistics.record_failure(FailureReason.REJECTED, 0)
            if not self._living_instances:
                raise self._no_instance()
            prefix = request_prefix(pending.request.id)
            raise UnavailableError(f"{prefix}Exceeds maximum queue size")
        if timeout_us and not pending.admitted:
            pending.timer = self._loop.call_later(timeout_us / 1e6, self._expire, pending)

    def hold(self, pending: Pending) -> None:
        """Count the request's tensors among the bytes in flight until it is over. Raises as `InflightBytes.take`."""
        size = tensor_bytes(pending.request.inputs)
        try:
            self._inflight.take(size)
        except ServingError:
            if pending.failing_since_ns() is not None:
                self.statistics.record_failure(FailureReason.REJECTED, 0)
            raise
        pending.held_bytes = size

    def _give_back(self, pending: Pending) -> None:
        self._inflight.give(pending.held_bytes)
        pending.held_bytes = 0

    def _interrupted(self, goes_on: bool) -> None:
        """An instance was interrupted, perhaps just when it fell asleep or woke up."""
        self.all_sleeping = -1
        if goes_on:
            return
        self._living_instances -= 1
        if not self._living_instances:
            self.queue.close()
            for pending in self.queue.abandon():
                self.record_failure(pending, FailureReason.BACKEND)
                pending.fail(self._no_instance())

    def _no_instance(self) -> UnavailableError:
        return UnavailableError(f"model '{self._model_name}' has lost all of its instances: load it again")

    def give_up(self, pending: Pending) -> None:
        """The caller has left: if the request still waits, it never runs; if it runs, the model is told."""
        pending.request.cancelled = True
        if self.queue.discard(pending):
            self.record_failure(pending, FailureReason.CANCELED)
        pending.leave()

    def _release(self, pending: Pending) -> None:
        if pending.timer is not None:
            pending.timer.cancel()
        if pending.held_bytes:
            self._give_back(pending)
        self._in_flight -= 1
        if not self._in_flight:
            self._drained.set()

    def record_failure(self, pending: Pending, reason: FailureReason) -> None:
        """Count a request that ended without an answer."""
        since_ns = pending.failing_since_ns()
        if since_ns is not None:
            self.statistics.record_failure(reason, time.monotonic_ns() - since_ns)

    def _expire(self, pending: Pending) -> None:
        if not self._policy.reject:
            self.queue.postpone(pending)
        elif self.queue.discard(pending):
            self.record_failure(pending, FailureReason.REJECTED)
            pending.fail(UnavailableError("Request timeout expired"))

    def _deliver_from_thread(self, *arguments: object) -> None:
        # A closed loop means that the process is exiting without us.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, *arguments)

    async def drain(self) -> None:
        """Wait until no request is under way."""
        await self._drained.wait()

    def abandon(self) -> None:
        """Fail what still waits, for a shutdown whose time is up."""
        for pending in self.queue.abandon():
            self.record_failure(pending, FailureReason.CANCELED)
            pending.fail(UnavailableError("Server exiting: the request was not executed"))

    async def stop(self) -> None:
        """Take no more requests, execute what waits, and close the instances."""
        self.queue.close()
        await asyncio.gather(*(instance.stopped() for instance in self._instances))
