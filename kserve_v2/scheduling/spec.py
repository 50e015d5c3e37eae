"""What the parts of a model's scheduling are made from: one frozen description of a loaded version."""

import sys
from dataclasses import dataclass, field

from kserve_v2.backend import Placement
from kserve_v2.caching.cache import Caching
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.scheduling.changes import Changes
from kserve_v2.scheduling.limiting.rate_limiter import RateLimiter
from kserve_v2.scheduling.limiting.resources import Limits
from kserve_v2.scheduling.merging.rows import Merger
from kserve_v2.scheduling.queueing.levels import ONE_LEVEL, PriorityLevels
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.sequences.rules import SequenceRules
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import ModelStatistics


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One loaded version, as its scheduling sees it. `inflight`: what the requests of all models may hold together.
    `tries_batching`: the first instance on each kind of device finds out whether requests may be merged. `ordered`:
    answers leave in the order of their requests. `latency_budget_ns`: the delay of batches is chosen so that answers
    take no longer, 0 for one that the rules give. `limits`: what each instance needs of the resources that
    `limiter`, if there is one, shares out. `sequences`: how requests are kept together, of a model that does.
    `warms_up`: whether instances execute something before the first request. `cpus`: how many there are for all that
    the server does.
    """

    signature: ModelSignature
    version: str
    placements: tuple[Placement, ...]
    merger: Merger
    rules: BatchRules = ONE_AT_A_TIME
    levels: PriorityLevels = ONE_LEVEL
    decoupled: bool = False
    tries_batching: bool = False
    ordered: bool = False
    latency_budget_ns: int = 0
    limits: tuple[Limits, ...] = ()
    limiter: RateLimiter | None = None
    sequences: SequenceRules | None = None
    inflight: InflightBytes = field(default_factory=lambda: InflightBytes(sys.maxsize))
    statistics: ModelStatistics = field(default_factory=ModelStatistics)
    caching: Caching | None = None
    changes: Changes = field(default_factory=Changes)
    warms_up: bool = False
    cpus: int = sys.maxsize

    @property
    def posts(self) -> bool:
        """Whether the event loop may give batches to instances that take them from there; see `PostingInstance`. It
        does not wait for resources, and knows nothing of sequences.
        """
        return not self.decoupled and self.sequences is None and self.limiter is None

    @property
    def name(self) -> str:
        """The model's."""
        return self.signature.model_name
