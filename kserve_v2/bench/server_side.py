"""What the server itself counts while it is measured: executed batches, the split of its time, its CPU time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")

_CPU = re.compile(r"^process_cpu_seconds_total(?:\{[^}]*\})? +(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Counters:
    """A model's statistics, as the statistics extension has them, all its ready versions together. `stage_ns`: the time
    that requests have spent in each of STAGES, all together. `batches`: executions by rows.
    """

    rows: int = 0
    executions: int = 0
    requests: int = 0
    failures: int = 0
    cache_hits: int = 0
    stage_ns: Mapping[str, int] = field(default_factory=dict)
    batches: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Json) -> "Counters":
        """Of the statistics endpoint's answer. Raises KeyError, TypeError, ValueError for anything else."""
        total = cls()
        for each in answer["model_stats"]:
            total = total._plus(_version(each), 1)
        return total

    def since(self, before: "Counters") -> "Counters | None":
        """What was counted in between; None if the model was loaded anew, and its counters began again."""
        difference = self._plus(before, -1)
        numbers = (difference.rows, difference.executions, difference.requests, difference.failures)
        return None if min(*numbers, *difference.batches.values(), 0) < 0 else difference

    def plus(self, other: "Counters") -> "Counters":
        """Both together."""
        return self._plus(other, 1)

    def _plus(self, other: "Counters", sign: int) -> "Counters":
        sizes = self.batches.keys() | other.batches.keys()
        batches = {
            size: self.batches.get(size, 0) + sign * other.batches.get(size, 0) for size in sorted(sizes)
        }
        return Counters(
            self.rows + sign * other.rows,
            self.executions + sign * other.executions,
            self.requests + sign * other.requests,
            self.failures + sign * other.failures,
            self.cache_hits + sign * other.cache_hits,
            {stage: self.stage_ns.get(stage, 0) + sign * other.stage_ns.get(stage, 0) for stage in STAGES},
            {size: number for size, number in batches.items() if number},
        )

    @property
    def mean_batch(self) -> float | None:
        """Rows of an execution on average; None where nothing was executed."""
        return self.rows / self.executions if self.executions else None

    def mean_us(self, stage: str) -> float | None:
        """Microseconds that a request spends in a stage on average; of several that share a batch, each the whole time
        of the batch.
        """
        return self.stage_ns.get(stage, 0) / self.requests / 1000 if self.requests else None


def _version(stats: Json) -> Counters:
    durations: Json = stats.get("inference_stats", {})

    def of(name: str, member: str) -> int:
        return int(durations.get(name, {}).get(member, 0))

    return Counters(
        int(stats.get("inference_count", 0)),
        int(stats.get("execution_count", 0)),
        of("success", "count"),
        of("fail", "count"),
        of("cache_hit", "count"),
        {stage: of(stage, "ns") for stage in STAGES},
        {
            int(each["batch_size"]): int(each.get("compute_infer", {}).get("count", 0))
            for each in stats.get("batch_stats", [])
        },
    )


def cpu_seconds(metrics: str) -> float | None:
    """The CPU time of the server's processes by the text of its metrics; None where they do not tell."""
    found = _CPU.findall(metrics)
    try:
        return sum(map(float, found)) if found else None
    except ValueError:
        return None
