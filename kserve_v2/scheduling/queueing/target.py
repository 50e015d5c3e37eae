"""The target of a model that has instances: one queue, from which they pull their batches."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from kserve_v2.backend import Model, Placement, RevivesInstances, adds_instances
from kserve_v2.errors import InternalError, ServingError, UnavailableError, request_prefix
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.executing.batching_trial import Finding
from kserve_v2.scheduling.executing.execution import Execution, record_failure
from kserve_v2.scheduling.executing.in_place import InPlace
from kserve_v2.scheduling.executing.made_up_samples import made_up_samples
from kserve_v2.scheduling.executing.pool import InstancePool
from kserve_v2.scheduling.executing.posting import Poster
from kserve_v2.scheduling.executing.quickness import Quickness
from kserve_v2.scheduling.failures import not_executed
from kserve_v2.scheduling.feed import RequestFeed
from kserve_v2.scheduling.holding import hold
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.delay_control import DelayControl
from kserve_v2.scheduling.queueing.large_requests import LargeRequest
from kserve_v2.scheduling.queueing.policy import BatchRules
from kserve_v2.scheduling.queueing.queue import RequestQueue
from kserve_v2.scheduling.sequences.feed import SequenceFeed
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import FailureReason
from kserve_v2.scheduling.target import Reply, Ticket
from kserve_v2.scheduling.under_way import UnderWay
from kserve_v2.scheduling.warm_up import WarmedUp, WarmUp


class QueueTarget:
    """Queues requests for the instances. Lives on the event loop that made it; statistics and replies are touched there
    alone.
    """

    def __init__(self, spec: ModelSpec, model: Model, quickness: Quickness | None = None) -> None:
        """`quickness`: what is measured of the model, by which clocks; its own by default."""
        self.spec = spec
        self._max_rows = spec.signature.max_rows
        self._loop = asyncio.get_running_loop()
        self.instances = len(spec.placements)
        owner = (spec.name, int(spec.version))
        gate = spec.limiter.gate(spec.limits, owner) if spec.limiter is not None else None
        self._queue: RequestFeed
        self.sequences: SequenceFeed | None = None
        """The feed of a model with sequences."""
        self._delay: DelayControl | None = None
        if spec.sequences is None:
            queue = RequestQueue(spec.rules, spec.levels.sizes, instances=self.instances, gate=gate)
            self._queue = queue
            if spec.latency_budget_ns:
                self._delay = DelayControl(spec, queue)
        else:
            self._queue = self.sequences = SequenceFeed(spec.sequences, self.instances, gate)
        self._model = model
        self._changing = asyncio.Lock()
        self._stopping = False
        self._revives = model if isinstance(model, RevivesInstances) else None
        self._pool = InstancePool(spec, model, self._queue, self._settle, self._interrupted)
        quickness = quickness or Quickness()
        self._clock_ns = quickness.clock_ns
        self._in_place = InPlace(spec, self._queue, quickness, self._enqueue, self._submit_to_instances)
        # See `Target.submit`. It stands in front of the queue, and is not called through it: a lone request to a small
        # model is mostly the fetching of code.
        self.submit = self._in_place.submit
        self._poster: Poster | None = None
        self._under_way = UnderWay()
        # Of a decoupled model, the requests that are under way.
        self._streams: set[Pending] = set()
        # What becomes of a request of more rows than a batch may have, if the signature lets it pass: otherwise it is
        # executed as it is.
        self.splits_large_requests = False

    def __repr__(self) -> str:
        return (
            f"<QueueTarget {self.spec.name} version={self.spec.version} {self._queue!r} "
            f"under_way={self._under_way.count} {self._pool!r}>"
        )

    def refuse_vain_wait(self, request: InferRequest) -> None:
        """Raises InternalError if the models that wait for the answer keep the resources that this one needs."""
        if self._queue.gate is None:
            return
        missing = self._queue.gate.vain_wait([(each.name, each.version) for each in request.callers])
        if missing is not None:
            raise InternalError(
                f"Model {self.spec.name} - Error when running inference: it would wait for ever: executions that wait "
                f"for its answer keep resource '{missing.name}', and leave less of it than it needs"
            )

    async def start(self) -> None:
        """Make the instances. They take requests from now on, or if there are samples to be executed before, after
        `warm_up`. Raises what the first failing one raised.
        """
        try:
            await self._pool.start()
        except BaseException:
            await self.stop()
            raise
        self._in_place.started(self._pool.first)
        if not self.spec.warms_up:
            self._begin()

    async def warm_up(self, plan: WarmUp) -> WarmedUp:
        """Have each instance execute samples, then let them take requests. Raises what the first failing one raised."""
        samples = made_up_samples(self.spec, self.rules) if plan.automatic else plan.samples
        began, executions = self._loop.time(), 0
        if samples:
            executions = await self._pool.warm_up(samples, automatic=plan.automatic)
        self._begin()
        return WarmedUp(executions, self._loop.time() - began)

    def _begin(self) -> None:
        runners = self._pool.post_runners
        if runners and isinstance(self._queue, RequestQueue):
            self._poster = Poster(self.spec, self._queue, runners, self._settle, self._clock_ns)
        self._pool.begin()

    @property
    def places(self) -> int:
        """How many batches can be executed at a time."""
        return self._pool.places

    @property
    def in_place(self) -> bool:
        """Whether requests are executed on the event loop at present, as the model has shown to be quick."""
        return self._in_place.expected

    @property
    def under_way_since(self) -> list[int]:
        """When each execution has begun that an instance does now, in nanoseconds of the monotonic clock."""
        posted = self._poster.under_way_since if self._poster is not None else []
        return [*posted, *(batch.taken_ns for batch in self._pool.under_way)]

    @property
    def findings(self) -> list[Finding]:
        """What trials of batching have shown; see `InstancePool.findings`."""
        return self._pool.findings

    @property
    def rules(self) -> BatchRules:
        """The rules for batches, which may change while the model is loaded."""
        return self._queue.rules

    @rules.setter
    def rules(self, rules: BatchRules) -> None:
        self._queue.rules = rules

    # --- other instances ------------------------------------------------------------------------------------------

    def keeps_its_instances(self, placements: Sequence[Placement]) -> str:
        """Why its instances cannot become these while it is loaded; "" if they can."""
        now = self._pool.placements
        devices = {each.device for each in placements}
        reasons = {
            "its backend makes them only when it loads the model": not adds_instances(self._model),
            "sequences are kept on them": self.spec.sequences is not None,
            "the delay of its batches was chosen for them": self._delay is not None,
            "they share resources": self.spec.limiter is not None,
            "they are to be on other devices": devices != {each.device for each in now},
            "some of them are lost": self._pool.living < len(self._pool),
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    async def change_instances(self, placements: Sequence[Placement]) -> tuple[int, int]:
        """Have instances at these placements, for which `keeps_its_instances` has said nothing; see
        `InstancePool.change`.
        """
        queue = self._queue
        assert isinstance(queue, RequestQueue)  # noqa: S101 - see there

        async with self._changing:
            if self._stopping:
                raise UnavailableError(f"model '{self.spec.name}' is being unloaded")
            change = await self._pool.change(placements, queue.join, queue.send_away, queue.gone)
            self.instances = len(self._pool)
            return change

    # --- requests ---------------------------------------------------------------------------------------------------

    def _submit_to_instances(self, request: InferRequest, reply: Reply) -> Ticket:
        """Let a request wait for an instance, or for the end of the loop's turn. Raises UnavailableError if there is no
        room for it, and as `InflightBytes.take`.
        """
        if request.rows > self._max_rows:
            return self._submit_large(request, reply)
        pending = Pending(request, reply)
        if self._in_place.take(pending):
            self.count(pending)
        else:
            self.admit(pending)
        return pending

    def _submit_large(self, request: InferRequest, reply: Reply) -> Ticket:
        """Not in place: nothing is known of how long it takes."""
        if self.splits_large_requests:
            large = LargeRequest(request, reply, self.spec, self)
            large.begin()
            return large
        pending = Pending(request, reply)
        self.admit(pending)
        return pending

    def admit(self, pending: Pending) -> None:
        """Queue a request. Raises as `submit`."""
        self._put(pending)
        self.count(pending)

    def count(self, pending: Pending) -> None:
        """A request is under way: `drain` waits until it is over."""
        pending.owner = self
        self._under_way.begin()
        if self.spec.decoupled:
            self._streams.add(pending)

    def _enqueue(self, pending: Pending) -> None:
        """Queue a request that is counted already. It fails if there is no room for it."""
        try:
            self._put(pending)
        except ServingError as error:
            pending.end(error)

    def _put(self, pending: Pending) -> None:
        levels = self.spec.levels
        pending.level = levels.level_of(pending.request)
        pending.found_idle = self._queue.idle
        timeout_us = levels.policies[pending.level].timeout_for(pending.request)
        if not pending.is_part:
            pending.held_bytes = hold(pending.request, self.spec)
        if not self._queue.put(pending):
            self._give_back(pending)
            if pending.failing_since_ns() is not None:
                self.spec.statistics.record_failure(FailureReason.REJECTED, 0)
            if self._lost:
                raise self._no_instance()
            raise UnavailableError(f"{request_prefix(pending.request.id)}Exceeds maximum queue size")
        if self._poster is not None:
            self._poster.queued()
        if timeout_us and not pending.admitted:
            pending.timer = self._loop.call_later(timeout_us / 1e6, self._expire, pending)

    def _give_back(self, pending: Pending) -> None:
        self.spec.inflight.give(pending.held_bytes)
        pending.held_bytes = 0

    def _expire(self, pending: Pending) -> None:
        if not self.spec.levels.policies[pending.level].reject:
            self._queue.postpone(pending)
        elif self._queue.discard(pending):
            record_failure(self.spec, pending, FailureReason.REJECTED)
            pending.end(UnavailableError("Request timeout expired"))

    # --- what becomes of them ---------------------------------------------------------------------------------------

    def ended(self, pending: Pending) -> None:
        """A request is over."""
        if pending.held_bytes:
            self._give_back(pending)
        self._under_way.end()
        if self._streams:
            self._streams.discard(pending)

    def given_up(self, pending: Pending) -> None:
        """Nobody waits for a request any more: if it still waits itself, it never runs."""
        if self._in_place.turn.discard(pending) or self._queue.discard(pending):
            record_failure(self.spec, pending, FailureReason.CANCELED)

    def withdraw(self, ticket: Ticket) -> bool:
        """Give a request up if it has not begun. False: it has, and is going to end; its model is told that nobody
        waits for it any more.
        """
        if not isinstance(ticket, Pending):
            return False
        ticket.request.cancel()
        if not self._queue.discard(ticket):
            return False
        record_failure(self.spec, ticket, FailureReason.CANCELED)
        ticket.give_up()
        return True

    def _settle(self, executions: Sequence[Execution]) -> None:
        """Take what an instance has finished."""
        for execution in executions:
            self._in_place.observe(execution)
            if self._delay is not None:
                self._delay.observe(execution)
        for execution in executions:
            execution.settle()

    def _interrupted(self) -> None:
        """An instance was interrupted, perhaps just when it fell asleep or woke up."""
        self._queue.all_sleeping = -1
        if self._lost:
            self._queue.close()
            self._end_waiting(FailureReason.BACKEND, self._no_instance)

    @property
    def _lost(self) -> bool:
        """Whether there are no instances any more; sequences cannot go on without any single one."""
        living = self._pool.living
        return not living or (self.spec.sequences is not None and living < self.instances)

    def _no_instance(self) -> UnavailableError:
        return UnavailableError(f"model '{self.spec.name}' has lost all of its instances: load it again")

    def fail_waiting(self, reason: str) -> None:
        """There is no hope for what waits, for now."""
        self._end_waiting(FailureReason.BACKEND, lambda: UnavailableError(reason))

    def _end_waiting(self, reason: FailureReason, error: Callable[[], UnavailableError]) -> None:
        for pending in self._queue.abandon():
            record_failure(self.spec, pending, reason)
            pending.end(error())

    # --- the end ----------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return not self._under_way.count

    @property
    def under_way(self) -> int:
        """How many requests wait, or are executed for somebody who waits."""
        return self._under_way.count

    @property
    def depth(self) -> int:
        """Requests that wait for an instance."""
        return len(self._queue)

    @property
    def depths(self) -> list[int]:
        """Those of each level of priority."""
        return self._queue.levels

    async def drain(self) -> None:
        """Wait until no request is under way."""
        await self._under_way.none()

    def abandon(self, why: str = "") -> None:
        """Fail what still waits when the time is up. `why`: if that is not the server's; streams end with it, too."""
        self._end_waiting(FailureReason.CANCELED, partial(not_executed, why))
        for pending in list(self._streams) if why else ():
            pending.request.cancel()
            pending.end(not_executed(why))

    async def stop(self) -> None:
        """Take no more requests, execute what waits, and close the instances."""
        self._stopping = True
        async with self._changing:
            await self._stop()

    async def _stop(self) -> None:
        if self._delay is not None:
            self._delay.stop()
        self._queue.close()
        if self._revives is not None:
            # Instances that wait for what they have lost are to end, too.
            self._revives.leave()
        if self._poster is not None:
            self._poster.close()
        else:
            self._pool.end_posting()
        # Those that have not been told to take requests are to end, too.
        self._pool.begin()
        await self._pool.stopped()
        if self._queue.gate is not None:
            self._queue.gate.close()
