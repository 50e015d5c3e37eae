"""What a version is made from: what is prepared for its load, and how it is going to be scheduled."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from kserve_v2.backend import (
    Backend,
    Model,
    ModelConfig,
    ModelSource,
    Placement,
    separates_requests,
)
from kserve_v2.caching.cache import Caching
from kserve_v2.config.latency_budget import latency_budget_ns
from kserve_v2.config.support import batching_of_streams
from kserve_v2.repository.models.batching import (
    BatchingOrigin,
)
from kserve_v2.repository.models.homes import ONE_PROCESS, ModelHome
from kserve_v2.repository.preparing.threads import cpu_budget
from kserve_v2.scheduling.limiting.resources import Limits, instance_limits
from kserve_v2.scheduling.merging.choice import make_merger
from kserve_v2.scheduling.queueing.levels import priority_levels
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.sequences.rules import sequence_rules
from kserve_v2.scheduling.sequences.states import StateTensor
from kserve_v2.scheduling.shared import Shared
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.warm_up import WarmUp

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version that is ready to be loaded: `config` is complete and valid. `home`: which processes are to have it."""

    source: ModelSource
    config: ModelConfig
    backend: Backend
    batching: BatchingOrigin = field(default_factory=BatchingOrigin)
    caching: Caching | None = None
    states: tuple[StateTensor, ...] = ()
    warm_up: WarmUp = field(default_factory=WarmUp)
    home: ModelHome = ONE_PROCESS


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
        cpus=cpu_budget(),
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
