"""What is counted of the models at one moment, and what has happened between two of them. Pure: nothing is looked up.

Whoever watches is given rates, and the server counts totals; so two samples are taken, and what is shown is their
difference.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Json = dict[str, Any]
Latencies = np.ndarray[tuple[int], np.dtype[np.int64]]

NO_LATENCIES: Latencies = np.empty(0, np.int64)

_QUANTILES = (50, 95, 99)
STAGES = ("queue", "compute_input", "compute_infer", "compute_output")
"""What an executed request goes through."""


@dataclass(frozen=True, slots=True)
class BatchCount:
    """Executions of one size: how many, how long they took in all, and how many of them ran for each reason."""

    executions: int = 0
    busy_ns: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelSample:
    """One version of a model, as it was counted since it was loaded. The durations are sums over requests, in
    nanoseconds; `batches` by size; `counted_by`: tells loads of the same version apart.

    `depth`: requests that wait; `executing`: executions that are under way; `places`: how many can be. `latencies`:
    those of the last seconds.
    """

    name: str
    version: int
    counted_by: object
    requests: int = 0
    inferences: int = 0
    executions: int = 0
    success_ns: int = 0
    queue_ns: int = 0
    compute_input_ns: int = 0
    compute_infer_ns: int = 0
    compute_output_ns: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    batches: Mapping[int, BatchCount] = field(default_factory=dict)
    busy_ns: int = 0
    depth: int = 0
    executing: int = 0
    places: int = 0
    streams: bool = False
    in_place: bool = False
    memory: Mapping[str, int] = field(default_factory=dict)
    down: str = ""
    latencies: Latencies = field(default_factory=lambda: NO_LATENCIES, compare=False)


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """The server's process. `cpu_ns`: CPU time that it has used; `loop_ns`: that of the event loop's thread, and
    `loop_waited_ns`: how long that was ready to compute, and had no CPU.
    `lags`: by how much the loop was late, in nanoseconds, and when that was measured, in the last seconds.
    """

    cpu_ns: int = 0
    loop_ns: int = 0
    loop_waited_ns: int = 0
    cpus: int = 1
    resident_bytes: int = 0
    inflight_bytes: int = 0
    inflight_limit: int = 0
    inflight_refused: int = 0
    lags: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """All of it. `at_ns`: of the monotonic clock; `time_s`: of the system's."""

    at_ns: int
    time_s: float
    process: ProcessSample
    models: Mapping[tuple[str, int], ModelSample]


def seconds_between(old: Sample, new: Sample) -> float:
    """How much time has passed."""
    return max(1, new.at_ns - old.at_ns) / 1e9


def between(old: ModelSample | None, new: ModelSample) -> ModelSample:
    """What has been counted since `old`: what is a total is a difference now, and what is as it is stays so. All that
    there is, where `old` was another load, or there was none.
    """
    if old is None or old.counted_by is not new.counted_by:
        old = ModelSample(new.name, new.version, new.counted_by)
    elif old is new:
        return _idle(new)
    totals = {name: getattr(new, name) - getattr(old, name) for name in _TOTALS}
    return _with(
        new,
        **totals,
        busy_ns=max(0, new.busy_ns - old.busy_ns),
        failures=_less(new.failures, old.failures),
        batches={
            size: each
            for size, now in sorted(new.batches.items())
            if (each := _batches_since(old.batches.get(size, BatchCount()), now)).executions
        },
    )


_TOTALS = (
    "requests",
    "inferences",
    "executions",
    "success_ns",
    "queue_ns",
    "compute_input_ns",
    "compute_infer_ns",
    "compute_output_ns",
    "cache_hits",
    "cache_misses",
)


def _with(sample: ModelSample, **changes: Any) -> ModelSample:
    return ModelSample(**{name: getattr(sample, name) for name in sample.__slots__} | changes)


def _idle(sample: ModelSample) -> ModelSample:
    return _with(sample, **dict.fromkeys(_TOTALS, 0), busy_ns=0, failures={}, batches={})


def _less(new: Mapping[str, int], old: Mapping[str, int]) -> dict[str, int]:
    return {name: count - old.get(name, 0) for name, count in new.items() if count != old.get(name, 0)}


def _batches_since(old: BatchCount, new: BatchCount) -> BatchCount:
    return BatchCount(
        new.executions - old.executions, new.busy_ns - old.busy_ns, _less(new.reasons, old.reasons)
    )


def latencies_ms(latencies: Iterable[Latencies]) -> Json:
    """Percentiles by nearest rank: each is a duration that a request has taken. None where there was none."""
    values = np.concatenate([NO_LATENCIES, *latencies])
    found: Sequence[float | None] = [None] * len(_QUANTILES)
    if len(values):
        found = [
            round(float(each) / 1e6, 4)
            for each in np.percentile(values, _QUANTILES, method="inverted_cdf").tolist()
        ]
    return {**{f"p{q}": value for q, value in zip(_QUANTILES, found, strict=True)}, "requests": len(values)}


def busy_share(change: ModelSample, seconds: float) -> float | None:
    """Which part of the time instances were busy, from 0 to 1; None for what has none. Of streams that are executed
    together there is no time that could be added up: what counts is how many places are taken now.
    """
    if not change.places:
        return None
    if change.streams:
        return min(1.0, change.executing / change.places)
    return min(1.0, change.busy_ns / 1e9 / seconds / change.places)


def model_view(change: ModelSample, seconds: float) -> Json:
    """One model, from what has been counted in so many seconds."""
    busy = busy_share(change, seconds)
    return {
        "name": change.name,
        "version": str(change.version),
        **_rates([change], seconds),
        "executing": change.executing,
        "places": change.places,
        "busy": None if busy is None else round(busy, 4),
        "in_place": change.in_place,
        "memory_bytes": dict(change.memory),
        "down": change.down,
    }


def total_view(changes: Sequence[ModelSample], seconds: float) -> Json:
    """All models together. Of their instances: how busy they were on average."""
    placed = [each for each in changes if each.places]
    places = sum(each.places for each in placed)
    busy = sum((busy_share(each, seconds) or 0) * each.places for each in placed)
    memory: dict[str, int] = {}
    for each in changes:
        for device, size in each.memory.items():
            memory[device] = memory.get(device, 0) + size
    return {
        **_rates(changes, seconds),
        "executing": sum(each.executing for each in changes),
        "places": places,
        "busy": round(busy / places, 4) if places else None,
        "memory_bytes": memory,
    }


def _rates(changes: Sequence[ModelSample], seconds: float) -> Json:
    requests = sum(each.requests for each in changes)
    executions = sum(each.executions for each in changes)
    return {
        "requests_per_second": round(requests / seconds, 2),
        "inferences_per_second": round(sum(each.inferences for each in changes) / seconds, 2),
        "executions_per_second": round(executions / seconds, 2),
        "latency_ms": latencies_ms(each.latencies for each in changes),
        "mean_ms": mean_ms(changes),
        "queue_depth": sum(each.depth for each in changes),
        "batches": batches_view(changes),
        "cache_hits_per_second": round(sum(each.cache_hits for each in changes) / seconds, 2),
        "cache_misses_per_second": round(sum(each.cache_misses for each in changes) / seconds, 2),
        "failures_per_second": {
            reason: round(count / seconds, 2)
            for reason, count in _added([c.failures for c in changes]).items()
        },
    }


def mean_ms(changes: Sequence[ModelSample]) -> Json:
    """How long a request took on average, and in which stages; None where none was answered. Those that were not
    executed, as the cache has answered them, count in the queue only.
    """
    requests = sum(each.requests for each in changes)
    computed = requests - sum(each.cache_hits for each in changes)
    means: Json = {"request": _mean_ms(sum(each.success_ns for each in changes), requests)}
    for stage in STAGES:
        total = sum(getattr(each, f"{stage}_ns") for each in changes)
        means[stage] = _mean_ms(total, requests if stage == "queue" else computed)
    return means


def _mean_ms(total_ns: int, count: int) -> float | None:
    return round(total_ns / count / 1e6, 4) if count > 0 else None


def batches_view(changes: Sequence[ModelSample]) -> list[Json]:
    """The executed batches by size, and how many of each ran for which reason."""
    sizes = sorted({size for each in changes for size in each.batches})
    found = []
    for size in sizes:
        counts = [each.batches[size] for each in changes if size in each.batches]
        found.append(
            {
                "rows": size,
                "executions": sum(each.executions for each in counts),
                "reasons": _added([each.reasons for each in counts]),
            }
        )
    return found


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total


def process_view(before: Sample, after: Sample) -> Json:
    """The server's process. `cpu`: how many CPUs it has kept busy; `loop_busy`: which part of the time the event loop's
    thread has computed; `loop_waited`: which part it has waited for a CPU.
    """
    old, new, seconds = before.process, after.process, seconds_between(before, after)
    lags = [lag_ns for at_ns, lag_ns in new.lags if at_ns > before.at_ns]
    return {
        "cpu": round((new.cpu_ns - old.cpu_ns) / 1e9 / seconds, 4),
        "cpus": new.cpus,
        "resident_bytes": new.resident_bytes,
        "loop_busy": round(min(1.0, (new.loop_ns - old.loop_ns) / 1e9 / seconds), 4),
        "loop_waited": round(min(1.0, (new.loop_waited_ns - old.loop_waited_ns) / 1e9 / seconds), 4),
        "loop_lag_ms": {
            "mean": round(sum(lags) / len(lags) / 1e6, 3) if lags else None,
            "max": round(max(lags) / 1e6, 3) if lags else None,
        },
        "inflight_bytes": new.inflight_bytes,
        "inflight_limit": new.inflight_limit,
        "inflight_refused_per_second": round((new.inflight_refused - old.inflight_refused) / seconds, 2),
    }
