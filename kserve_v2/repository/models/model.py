"""A loaded version of a model: its configuration, signature, statistics and scheduler, ready to be asked."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ParamSpec

from kserve_v2.backend import (
    Backend,
    HasProcesses,
    KnowsMemory,
    LabelledModel,
    Model,
    ModelConfig,
    ModelSource,
    Placement,
    RevivesInstances,
    separates_requests,
)
from kserve_v2.caching.cache import Caching
from kserve_v2.config.hidden import with_hidden_tensors
from kserve_v2.config.latency_budget import latency_budget_ns
from kserve_v2.config.loaded_fields import adopt
from kserve_v2.config.support import batching_of_streams
from kserve_v2.config.switches import PIN, switch
from kserve_v2.errors import InternalError, InvalidArgumentError, UnavailableError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.metrics.registry import MetricsOfModel
from kserve_v2.repository.models.batching import (
    BatchingDecision,
    BatchingOrigin,
    LargeRequests,
    decide_batching,
    large_requests,
    without_batch,
)
from kserve_v2.repository.models.readiness import Readiness, says_readiness
from kserve_v2.repository.reading.class_labels import read_labels
from kserve_v2.repository.reading.file_content import explained
from kserve_v2.repository.residency.measuring import MemoryUse
from kserve_v2.scheduling.calling.waits import ModelVersion, refuse_circle
from kserve_v2.scheduling.chain import make_target
from kserve_v2.scheduling.contained import call_on_thread, log_error
from kserve_v2.scheduling.limiting.resources import Limits, instance_limits
from kserve_v2.scheduling.merging.choice import make_merger
from kserve_v2.scheduling.merging.padded import PaddedMerger
from kserve_v2.scheduling.queueing.levels import priority_levels
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.sequences.gate import SequenceGate
from kserve_v2.scheduling.sequences.rules import sequence_rules, step_of
from kserve_v2.scheduling.sequences.states import StateTensor
from kserve_v2.scheduling.shared import Shared
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import ModelStatistics
from kserve_v2.scheduling.target import Reply, Target, Ticket
from kserve_v2.scheduling.under_way import UnderWay
from kserve_v2.scheduling.warm_up import WarmedUp, WarmUp
from kserve_v2.tracing.trace import Trace

logger = logging.getLogger(__name__)

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version that is ready to be loaded: `config` is complete and valid."""

    source: ModelSource
    config: ModelConfig
    backend: Backend
    batching: BatchingOrigin = field(default_factory=BatchingOrigin)
    caching: Caching | None = None
    states: tuple[StateTensor, ...] = ()
    warm_up: WarmUp = field(default_factory=WarmUp)


class LoadedModel:
    """One loaded version. Lives on the server's event loop."""

    splits = False
    """Whether it stands for several versions, and each request has to be routed to one of them first."""

    def __init__(
        self,
        source: ModelSource,
        config: ModelConfig,
        target: Target,
        statistics: ModelStatistics,
        labels: dict[str, tuple[str, ...]],
        signature: ModelSignature,
    ) -> None:
        """`target`: what checked requests are submitted to."""
        self.name = source.name
        self.version = source.version
        self.path = source.model_path
        self.config = config
        self.signature = signature
        self.labels = labels
        self.batched = config.max_batch_size > 0
        self.batching = BatchingDecision()
        self.decoupled = config.model_transaction_policy.decoupled
        self.statistics = statistics
        self.warmed_up = WarmedUp()
        self.memory: MemoryUse | None = None
        """What it uses; None while that is not known, and of what is made of other models."""
        self._target = target
        self.sequences = target if isinstance(target, SequenceGate) else None
        """Of a model with sequences: those that are live."""
        self.down = ""
        """Why it cannot answer for now, although it is loaded; "" if it can."""
        self.on_down: Callable[[], None] = lambda: None
        """Called when that changes."""
        self.leaving = False
        """Whether it is to answer what is under way, and no more."""
        self._leases = UnderWay()
        # For checked requests of clients; see `Target`. A release may put something before the target.
        self.submit = target.submit

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} version={self.version} {self._target!r}>"

    def begin_trace(self, request: InferRequest, trace: Trace) -> None:
        """Have what happens to a decoded request taken down in `trace`."""
        request.trace = trace
        trace.begin_request(str(self.version), request.id, request.inputs)

    def check(self, request: InferRequest) -> None:
        """Check a request against the signature, if that has not been done yet.

        Raises InvalidArgumentError for a request that does not fit.
        """
        if not request.checked:
            request.rows, request.batch_key = self.signature.check(request)
            if request.control:
                request.sequence = step_of(request.control)
            request.checked = True

    def call(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Check a request of another model, and have it answered; see `Target.submit`."""
        self._raise_if_down()
        self._begin_call(request)
        return self._target.submit(request, reply)

    def _raise_if_down(self) -> None:
        """Other models hold it, whether it answers or not. Raises UnavailableError."""
        if self.down:
            raise UnavailableError(self.down)

    def _begin_call(self, request: InferRequest) -> None:
        if request.trace is not None:
            self.begin_trace(request, request.trace)
        self.check(request)

    async def says_ready(self) -> bool:
        """Whether the model itself says that it is ready, if it says anything of that."""
        return True

    def adopt(self, written: ModelConfig) -> None:
        """The configuration has changed, but in nothing that a load goes by: show it as it is now."""
        self.config = adopt(self.config, written)

    async def change_instances(self, config: ModelConfig, gpu_count: int) -> tuple[int, int]:
        """Have the instances that a complete configuration says, which differs from its own in nothing else. Returns
        how many have come, and how many go. Raises InvalidArgumentError where that takes a load, and what making one
        raises; then nothing has changed.
        """
        raise InvalidArgumentError("it has no instances")

    @property
    def note(self) -> str:
        """What the table of models tells of it."""
        notes = [str(self.memory)] if self.memory is not None and self.memory.bytes else []
        if self.warmed_up.executions:
            notes.append(f"warmed up in {self.warmed_up.seconds:.2f} s")
        return ", ".join(notes)

    @property
    def idle(self) -> bool:
        """Whether nobody needs it now: no request waits, no sequence is live, and nobody has a lease."""
        return not (self._leases.count or self.live or self._target.depth)

    @property
    def activity(self) -> int:
        """Another number when it was asked."""
        return self.statistics.activity

    @property
    def executed_ms(self) -> int:
        """When its last execution has ended, in milliseconds of the system's clock; 0 if there was none."""
        return self.statistics.last_inference_ms

    @property
    def pinned(self) -> bool:
        """Whether it is to stay loaded."""
        return switch(self.config, PIN) is True

    @property
    def pids(self) -> Sequence[int]:
        """Of the processes that it runs in, if these are its own."""
        return ()

    def known_memory(self) -> Mapping[str, int] | None:
        """Its weights in bytes by device, in PyTorch's spelling; None if nobody knows. May block."""
        return None

    # --- its life -------------------------------------------------------------------------------------------------

    @property
    def like(self) -> "LoadedModel":
        """Itself; of one that stands for several versions, that which gets most requests."""
        return self

    @property
    def target(self) -> Target:
        """What checked requests end up at."""
        return self._target

    @property
    def depth(self) -> int:
        """How many requests wait for their execution."""
        return self._target.depth

    @property
    def processes(self) -> Sequence[tuple[bool, int]]:
        """Of each process of its own: whether it is alive, and how many have died in its place."""
        return ()

    @property
    def depths(self) -> list[int]:
        """How many requests wait on each level of priority, the one that is served first in front."""
        return [self._target.depth]

    @property
    def live(self) -> int:
        """How many sequences it has begun that are not over."""
        return self.sequences.live if self.sequences is not None else 0

    async def sequences_over(self) -> None:
        """Wait until it has no live sequence."""
        if self.sequences is not None:
            await self.sequences.over()

    def lease(self) -> "Lease":
        """Keep this version loaded, and its instances alive, until the lease is released."""
        return Lease(self, self._leases)

    async def drain(self) -> None:
        """Wait until no request is under way, and nobody has a lease."""
        await self._leases.none()
        await self._target.drain()

    def abandon(self, why: str = "") -> None:
        """The time to wait is up: fail what has not begun; see `Target.abandon`."""
        self._target.abandon(why)

    async def close(self) -> None:
        """Close what answers the requests, and free what it holds."""
        await self._target.stop()


class Lease:
    """Keeps a loaded version from being closed, for whoever needs it for longer than a turn of the event loop."""

    __slots__ = ("_leases", "model")

    def __init__(self, model: LoadedModel, leases: UnderWay) -> None:
        self.model = model
        self._leases: UnderWay | None = leases
        leases.begin()

    def release(self) -> None:
        """It is not needed any more. May be called again."""
        leases, self._leases = self._leases, None
        if leases is not None:
            leases.end()


class ExecutedModel(LoadedModel):
    """A version that a backend has loaded, and that is executed by instances of its own."""

    def __init__(
        self,
        prepared: Prepared,
        model: Model,
        labels: dict[str, tuple[str, ...]],
        shared: Shared,
        metrics: MetricsOfModel,
    ) -> None:
        """`shared`: what it has in common with the server's other models. `metrics`: those that it makes itself."""
        signature = ModelSignature(prepared.config)
        spec = model_spec(prepared, model, signature, shared)
        self._waits = shared.waits
        self._model = model
        self._readiness = Readiness(model, prepared.source.name) if says_readiness(model) else None
        self._metrics = metrics
        if isinstance(spec.merger, PaddedMerger):
            spec.statistics.padded = spec.merger.elements
        self._queue = QueueTarget(spec, model)
        target = make_target(spec, self._queue)
        super().__init__(prepared.source, prepared.config, target, spec.statistics, labels, signature)

    @classmethod
    async def load(
        cls, prepared: Prepared, executor: Executor, shared: Shared | None = None
    ) -> "ExecutedModel":
        """Load the weights on a thread of `executor`, then make the instances. Raises what the backend
        raises. `shared`: what it has in common with the server's other models; nothing by default.
        """
        shared = shared or Shared()
        loaded = await cls._load(prepared, executor, shared)
        if loaded.batching.batches:
            return loaded
        # The batch dimension was a guess, and a wrong one.
        await loaded.close()
        unbatched = replace(prepared, config=without_batch(prepared.config), batching=BatchingOrigin())
        return await cls._load(unbatched, executor, shared)

    @classmethod
    async def _load(cls, prepared: Prepared, executor: Executor, shared: Shared) -> "ExecutedModel":
        metrics = shared.metrics.of_model(prepared.source.name)
        prepared = replace(prepared, source=replace(prepared.source, metrics=metrics))
        try:
            return await cls._load_with(prepared, executor, shared, metrics)
        except BaseException:
            metrics.close()
            raise

    @classmethod
    async def _load_with(
        cls, prepared: Prepared, executor: Executor, shared: Shared, metrics: MetricsOfModel
    ) -> "ExecutedModel":
        loop = asyncio.get_running_loop()
        labels = await loop.run_in_executor(
            executor, read_labels, prepared.config, prepared.source.model_path
        )
        model = await call_on_thread(executor, _load_weights, prepared)
        try:
            labels = await call_on_thread(executor, _own_labels, model) | labels
            loaded = cls(prepared, model, labels, shared, metrics)
            await loaded._target.start()
            loaded._settle_batching(prepared.batching)
            await loaded._warm_up(prepared.warm_up)
        except BaseException:
            await loop.run_in_executor(executor, _close, model, prepared.source.name)
            raise
        if isinstance(model, RevivesInstances):
            model.watch(lambda *found: _tell_loop(loop, loaded._lost_instances, *found))
        return loaded

    async def change_instances(self, config: ModelConfig, gpu_count: int) -> tuple[int, int]:
        """Have other instances."""
        placed = placements(config, gpu_count)
        if why := self._queue.keeps_its_instances(placed):
            raise InvalidArgumentError(why)
        change = await self._queue.change_instances(placed)
        self.config = config
        return change

    async def _warm_up(self, plan: WarmUp) -> None:
        if not (plan and self.batching.batches):
            # Without its batch dimension it is going to be another model.
            return
        try:
            self.warmed_up = await self._queue.warm_up(plan)
        except BaseException:
            await self._target.stop()
            raise

    async def says_ready(self) -> bool:
        """As its model says."""
        return self._readiness is None or await self._readiness.ask()

    @property
    def processes(self) -> Sequence[tuple[bool, int]]:
        """Of each process of its own: whether it is alive, and how many have died in its place."""
        return self._model.processes if isinstance(self._model, RevivesInstances) else ()

    @property
    def idle(self) -> bool:
        """Nor is anything executed."""
        return super().idle and self._queue.idle

    @property
    def pids(self) -> Sequence[int]:
        """As its model says."""
        return self._model.pids if isinstance(self._model, HasProcesses) else ()

    def known_memory(self) -> Mapping[str, int] | None:
        """As its model says."""
        return _memory_of(self._model) if isinstance(self._model, KnowsMemory) else None

    def _lost_instances(self, lost: Sequence[int], why: str, reason: str, hopeless: bool) -> None:
        """Some instances are lost; all of them, if there is a `reason`. What waits goes on waiting while they are
        started again. Once that has failed, it is told: the next attempt comes later.
        """
        if lost and self.sequences is not None:
            self.sequences.lose_instances(lost, why)
        if hopeless:
            self._queue.fail_waiting(reason)
        if self.down != reason:
            self.down = reason
            self.on_down()

    def _settle_batching(self, origin: BatchingOrigin) -> None:
        """Merge requests, or don't, by what the instances have found out about the model."""
        queue = self._queue
        self.batching = decide_batching(self.name, origin, queue.findings)
        if not self.batching.merges:
            self.config.ClearField("dynamic_batching")
            queue.rules = ONE_AT_A_TIME
        independent, merging = self.batching.rows_independent, queue.rules.max_rows > 0
        large = large_requests(origin, independent=independent, merging=merging)
        if self.batching.batches and not self.decoupled:
            self.signature.takes_large_requests = large is not LargeRequests.REFUSED
            queue.splits_large_requests = large is LargeRequests.SPLIT

    def call(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """As that of any version. Raises InternalError or UnavailableError as well, if this one waits, or could come to
        wait, for the answer itself.
        """
        if not request.callers:
            return super().call(request, reply)
        self._raise_if_down()
        this = ModelVersion(self.name, self.version)
        refuse_circle(request, this)
        self._queue.refuse_vain_wait(request)
        self._begin_call(request)
        return self._waits.submit(request, reply, this, self._queue.places, self._target.submit)

    @property
    def depths(self) -> list[int]:
        """Those of the queue."""
        return self._queue.depths

    async def close(self) -> None:
        """Close the instances, then free the weights, on a thread of its own: a model that hangs in this is the only
        one that suffers.
        """
        await self._target.stop()
        await _on_own_thread(partial(_close, self._model, self.name), f"{self.name}-close")
        self._metrics.close()


def model_spec(prepared: Prepared, model: Model, signature: ModelSignature, shared: Shared) -> ModelSpec:
    """What the scheduling of a version is made from."""
    config, placements = prepared.config, prepared.source.placements
    sequences = sequence_rules(config, prepared.states)
    yields = config.model_transaction_policy.decoupled and not (sequences is not None and sequences.iterative)
    if yields and not separates_requests(model):
        for problem in batching_of_streams(config):
            logger.warning("model '%s': %s", config.name, problem)
    return ModelSpec(
        signature,
        str(prepared.source.version),
        placements,
        make_merger(config, signature, model, sequences),
        # What yields its responses works on one request, unless it takes the tensors of each by themselves.
        batch_rules(config) if separates_requests(model) or not yields else ONE_AT_A_TIME,
        priority_levels(config),
        decoupled=yields,
        tries_batching=prepared.batching.tried,
        ordered=config.dynamic_batching.preserve_ordering
        or config.sequence_batching.oldest.preserve_ordering,
        latency_budget_ns=latency_budget_ns(config),
        limits=_limits(config, placements, shared),
        limiter=shared.limiter,
        sequences=sequences,
        inflight=shared.inflight,
        caching=prepared.caching,
        changes=shared.changes,
        warms_up=bool(prepared.warm_up),
    )


def _limits(config: ModelConfig, placements: Sequence[Placement], shared: Shared) -> tuple[Limits, ...]:
    limits = instance_limits(config, placements)
    if shared.limiter is None and any(each.needs for each in limits):
        logger.warning(
            "model '%s': the resources of its instance groups have no effect: start the server with --rate-limit "
            "execution_count",
            config.name,
        )
    return limits


def _own_labels(model: Model) -> dict[str, tuple[str, ...]]:
    """What a model says itself of its classes. Raises what that raises."""
    if not isinstance(model, LabelledModel):
        return {}
    labels = {name: tuple(texts) for name, texts in model.output_labels.items()}
    for name, texts in labels.items():
        if {str} != {type(name), *map(type, texts)}:
            raise InternalError(f"the model's labels of output '{name}' are no texts")
    return labels


def _memory_of(model: KnowsMemory) -> Mapping[str, int] | None:
    """What a model says of its weights. What it raises is logged, and means that it does not know."""
    try:
        return dict(model.memory())
    except BaseException as error:  # noqa: BLE001 - whatever a plug-in raises
        log_error(logger, "a model cannot say what memory it takes", error=error)
        return None


def _tell_loop(
    loop: asyncio.AbstractEventLoop, callback: Callable[P, None], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Call something on the loop's thread, from any thread, and wait until that is done."""
    if asyncio._get_running_loop() is loop:
        callback(*args, **kwargs)
        return
    done = threading.Event()

    def run() -> None:
        try:
            callback(*args, **kwargs)
        finally:
            done.set()

    # The loop is closed only when the process exits.
    if not loop.is_closed():
        loop.call_soon_threadsafe(run)
        done.wait()


def _load_weights(prepared: Prepared) -> Model:
    source, config = prepared.source, prepared.config
    with explained(source.model_file(config), config.backend):
        return prepared.backend.load(source, with_hidden_tensors(config))


def _close(model: Model, name: str) -> None:
    try:
        model.close()
    except BaseException as error:  # noqa: BLE001 - whatever a plug-in raises
        log_error(logger, "model %s failed to close", name, error=error)


def _on_own_thread(function: Callable[[], None], name: str) -> asyncio.Future[None]:
    """Done when `function`, which raises nothing, has returned."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    # Emptied by the thread, which outlives its last callback for a moment and would keep the model alive until then.
    box = [function]

    def end() -> None:
        if not done.done():
            done.set_result(None)

    def run() -> None:
        try:
            box.pop()()
        finally:
            # The loop is closed only when the process exits.
            if not loop.is_closed():
                loop.call_soon_threadsafe(end)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done


def batch_rules(config: ModelConfig) -> BatchRules:
    """The batching rules of a configuration; without `dynamic_batching` requests are executed one at a time."""
    if not (config.HasField("dynamic_batching") and config.max_batch_size):
        return ONE_AT_A_TIME
    batching = config.dynamic_batching
    return BatchRules(
        max_rows=config.max_batch_size,
        preferred_rows=frozenset(batching.preferred_batch_size),
        max_delay_ns=batching.max_queue_delay_microseconds * 1000,
    )


def placements(config: ModelConfig, gpu_count: int) -> tuple[Placement, ...]:
    """The instances that `instance_group` asks for: `count` on the CPU, or on each of the group's GPUs (all
    where none is named).
    """
    made: list[Placement] = []
    for group in config.instance_group:
        count = group.count or 1
        if group.kind == group.KIND_GPU:
            for device_id in group.gpus or range(gpu_count):
                made += [
                    Placement(f"{group.name}_gpu{device_id}_{n}", "GPU", device_id) for n in range(count)
                ]
        else:
            made += [Placement(f"{group.name}_{n}", "CPU") for n in range(count)]
    return tuple(made)
