"""What the parts of a model's scheduling are made from: one frozen description of a loaded version."""

import sys
from dataclasses import dataclass, field

from kserve_v2.backend import Placement
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.merge import Merger
from kserve_v2.scheduling.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import ModelStatistics


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


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One loaded version, as its scheduling sees it. `inflight`: what the requests of all models may hold together.
    `tries_batching`: the first instance on each kind of device finds out whether requests may be merged.
    """

    signature: ModelSignature
    version: str
    placements: tuple[Placement, ...]
    merger: Merger
    rules: BatchRules = ONE_AT_A_TIME
    policy: QueuePolicy = field(default_factory=QueuePolicy)
    decoupled: bool = False
    tries_batching: bool = False
    inflight: InflightBytes = field(default_factory=lambda: InflightBytes(sys.maxsize))
    statistics: ModelStatistics = field(default_factory=ModelStatistics)

    @property
    def name(self) -> str:
        """The model's."""
        return self.signature.model_name
