"""What all models of a server share."""

import sys
from dataclasses import dataclass, field

from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.metrics.registry import MetricsRegistry
from kserve_v2.scheduling.calling.waits import Waits
from kserve_v2.scheduling.changes import Changes
from kserve_v2.scheduling.limiting.rate_limiter import RateLimiter


@dataclass(frozen=True, slots=True)
class Shared:
    """Given to every model that is loaded. `inflight`: what the requests of all of them may hold together; any amount
    by default. `limiter`: what their executions share; None if they don't wait for each other for that. `waits`: which
    of them wait for each other's answers. `changes`: of those that answer. `metrics`: those that they make themselves.
    """

    inflight: InflightBytes = field(default_factory=lambda: InflightBytes(sys.maxsize))
    limiter: RateLimiter | None = None
    waits: Waits = field(default_factory=Waits)
    changes: Changes = field(default_factory=Changes)
    metrics: MetricsRegistry = field(default_factory=MetricsRegistry)
