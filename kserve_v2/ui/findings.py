"""What an explanation is made of: what was seen of a model in a few seconds, and findings about it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from kserve_v2.backend import ModelConfig
from kserve_v2.ui.sampling import ModelSample, busy_share

Json = dict[str, Any]

_LOOP_BUSY = 0.85
"""A thread that computes, or is ready to, for this part of the time can hardly do more."""

_NO_CPU = 0.25
"""A thread that waits for a CPU for this part of the time lacks one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason. `about`: "batch", "latency" or "errors". `evidence`: what was seen, with its numbers. `change`: what
    to do; `field`: of config.pbtxt, or the flag of the server, that is to be changed, if it is one; `snippet`: to paste
    there.
    """

    name: str
    about: str
    title: str
    evidence: str
    change: str
    field: str = ""
    snippet: str = ""

    def view(self) -> Json:
        """As it is sent."""
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What was seen. `change`: what was counted of the model in `seconds`; `config`: complete; `refusal`: why requests
    are not merged though they could be, as a trial has shown. `caches`: whether the server has a response cache.

    Of the server: `cpu`: how many of its `cpus` it has kept busy; `loop_busy`: the part of the time that the event
    loop's thread has computed, `loop_waited`: the part that it has waited for a CPU; `lag_ms`: by how much it was late
    at most; `all_requests`: to all models. `steps`: of an ensemble, how long a request to each of its models took on
    average, in milliseconds. `url`: how whoever asks reaches the server, "" if that is not known.
    """

    change: ModelSample
    seconds: float
    config: ModelConfig
    refusal: str = ""
    caches: bool = True
    cpu: float = 0.0
    cpus: int = 1
    loop_busy: float = 0.0
    loop_waited: float = 0.0
    lag_ms: float = 0.0
    all_requests: int = 0
    steps: Mapping[str, float] = field(default_factory=dict)
    url: str = ""

    @cached_property
    def executed(self) -> int:
        """Requests that were executed: the others are the cache's."""
        return self.change.requests - self.change.cache_hits

    @cached_property
    def batches(self) -> int:
        """How many batches of any size."""
        return sum(each.executions for each in self.change.batches.values())

    @cached_property
    def mean_rows(self) -> float:
        """Rows of a batch, on average."""
        rows = sum(size * each.executions for size, each in self.change.batches.items())
        return rows / self.batches if self.batches else 0.0

    @cached_property
    def rows_per_request(self) -> float:
        """On average."""
        return self.change.inferences / self.executed if self.executed else 0.0

    @cached_property
    def rows_per_second(self) -> float:
        """How many rows have come, and were executed."""
        return self.change.inferences / self.seconds

    @cached_property
    def in_flight(self) -> float:
        """How many requests were in the server at a time, on average: by Little's law, from how long they took."""
        return self.change.success_ns / 1e9 / self.seconds

    def reason_share(self, reason: str) -> float:
        """Which part of the batches ran for that reason."""
        count = sum(each.reasons.get(reason, 0) for each in self.change.batches.values())
        return count / self.batches if self.batches else 0.0

    @cached_property
    def latency_ms(self) -> float:
        """Of a request, on average."""
        return _ms(self.change.success_ns, self.change.requests)

    def stage_ms(self, stage: str) -> float:
        """How long a request was in a stage, on average."""
        count = self.change.requests if stage == "queue" else self.executed
        return _ms(getattr(self.change, f"{stage}_ns"), count)

    def stage_share(self, stage: str) -> float:
        """Which part of its time a request was in a stage."""
        total = self.change.success_ns
        return getattr(self.change, f"{stage}_ns") / total if total else 0.0

    @property
    def lacks_cpu(self) -> bool:
        """Whether the event loop's thread has to wait for CPUs that others have."""
        return self.loop_waited >= _NO_CPU

    @property
    def loop_full(self) -> bool:
        """Whether the event loop has always something to do, and not for want of a CPU."""
        return self.loop_busy + self.loop_waited >= _LOOP_BUSY and not self.lacks_cpu

    @cached_property
    def busy(self) -> float:
        """The part of the time that instances were busy; 0 for what has none."""
        return busy_share(self.change, self.seconds) or 0.0


def _ms(total_ns: int, count: int) -> float:
    return total_ns / count / 1e6 if count > 0 else 0.0


def duration(ms: float) -> str:
    """A duration for people."""
    if ms < 1:
        return f"{ms * 1000:.0f} µs"
    return f"{ms:.1f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def percent(share: float) -> str:
    """A share for people."""
    return f"{100 * share:.0f} %"
