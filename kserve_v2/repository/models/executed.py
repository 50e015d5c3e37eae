"""Loaded versions that a backend has loaded, and that instances of their own execute."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import ParamSpec

from kserve_v2.backend import (
    HasProcesses,
    KnowsMemory,
    LabelledModel,
    Model,
    ModelConfig,
    RevivesInstances,
    SaysMetadata,
    TakesMessages,
    keeps_nothing,
)
from kserve_v2.config.hidden import with_hidden_tensors
from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.metrics.registry import MetricsOfModel
from kserve_v2.repository.models.batching import (
    BatchingOrigin,
    LargeRequests,
    decide_batching,
    large_requests,
    without_batch,
)
from kserve_v2.repository.models.homes import home_once_loaded
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.models.readiness import Readiness, says_readiness
from kserve_v2.repository.models.spec import Prepared, model_spec, placements
from kserve_v2.repository.reading.class_labels import read_labels
from kserve_v2.repository.reading.file_content import explained
from kserve_v2.scheduling.calling.waits import ModelVersion, refuse_circle
from kserve_v2.scheduling.chain import make_target
from kserve_v2.scheduling.contained import call_on_thread, log_error, on_own_thread
from kserve_v2.scheduling.merging.padded import PaddedMerger
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.shared import Shared
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.target import Reply, Ticket
from kserve_v2.scheduling.verbatim import VerbatimSignature
from kserve_v2.scheduling.warm_up import WarmUp

logger = logging.getLogger(__name__)
P = ParamSpec("P")


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
        kind = VerbatimSignature if isinstance(prepared.backend, TakesMessages) else ModelSignature
        signature = kind(prepared.config)
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
        self.home = home_once_loaded(prepared.home, prepared.config, keeps_nothing(model))
        self.large_requests = LargeRequests.REFUSED
        """What becomes of requests with more rows than `max_batch_size`."""

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
        served = await cls._load(unbatched, executor, shared)
        served.batching = replace(served.batching, reason=loaded.batching.reason)
        return served

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
            said = model.said_metadata if isinstance(model, SaysMetadata) else ""
            if said and isinstance(loaded.signature, VerbatimSignature):
                loaded.signature.describe(said)
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
    def places(self) -> int:
        """Those of its instances."""
        return self._queue.places + self.elsewhere.places

    @property
    def under_way_since(self) -> Sequence[int]:
        """What its instances do."""
        return self._queue.under_way_since

    @property
    def in_place(self) -> bool:
        """As has been measured."""
        return self._queue.in_place

    @property
    def processes(self) -> Sequence[tuple[bool, int]]:
        """Of each process of its own: whether it is alive, and how many have died in its place."""
        return self._model.processes if isinstance(self._model, RevivesInstances) else ()

    @property
    def idle(self) -> bool:
        """Nor is anything executed."""
        return super().idle and self._queue.idle

    @property
    def quiet(self) -> bool:
        """Nor is anything executed."""
        return super().quiet and self._queue.idle

    @property
    def spare(self) -> bool:
        """Requests that share a batch count as if each had an instance."""
        return not self._target.depth and self._queue.under_way < self._queue.places

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
            self.large_requests = large
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
        """Those of the queues."""
        depths, others = self._queue.depths, self.elsewhere.depths
        return list(map(sum, zip_longest(depths, others, fillvalue=0))) if others else depths

    async def close(self) -> None:
        """Close the instances, then free the weights, on a thread of its own: a model that hangs in this is the only
        one that suffers.
        """
        await self._target.stop()
        await on_own_thread(partial(_close, self._model, self.name), f"{self.name}-close")
        self._metrics.close()


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
