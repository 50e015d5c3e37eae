"""Takes samples of a server: what is counted of its models, and of its process. On the event loop's thread."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from kserve_v2.inference import InferenceService
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.preparing.threads import cpu_budget
from kserve_v2.repository.residency.measuring import resident_bytes
from kserve_v2.scheduling.statistics import BatchReason, ModelStatistics
from kserve_v2.ui.sampling import (
    NO_LATENCIES,
    BatchCount,
    Latencies,
    ModelSample,
    ProcessSample,
    Sample,
)

WINDOW_NS = 10_000_000_000
"""Percentiles are those of the requests that were answered in so long, or in the time between two samples."""

MOST_LATENCIES = 20_000
"""Of one model, so many are kept from one sample to the next: the latest."""


class Counter:
    """Takes samples while somebody watches. What that costs the models' requests begins with the first sample, and ends
    with `stop`.
    """

    def __init__(self, service: InferenceService) -> None:
        self._service = service
        self._cpus = cpu_budget()
        # By the id of what counts: that is held on to, so it stays what it is.
        self._latencies: dict[int, _Lately] = {}
        self._samples: dict[tuple[str, int], ModelSample] = {}

    def sample(self, lags: Sequence[tuple[int, int]] = ()) -> Sample:
        """All there is to count now. `lags`: see `ProcessSample`."""
        models = self._service.manager.ready_models()
        now_ns = time.monotonic_ns()
        self._forget_all_but(model.statistics for model in models)
        self._samples = {(model.name, model.version): self._of(model, now_ns) for model in models}
        return Sample(now_ns, time.time(), self._of_process(lags), self._samples)

    def stop(self) -> None:
        """Nobody watches any more."""
        self._forget_all_but(())
        self._samples = {}

    def _forget_all_but(self, kept: Iterable[ModelStatistics]) -> None:
        gone = self._latencies.keys() - {id(each) for each in kept}
        for number in gone:
            self._latencies.pop(number).stop()

    def _of(self, model: LoadedModel, now_ns: int) -> ModelSample:
        statistics, since_ns = model.statistics, model.under_way_since
        lately = self._latencies.get(id(statistics))
        if lately is None:
            lately = self._latencies[id(statistics)] = _Lately(statistics)
        latencies = lately.take(now_ns)
        last = self._samples.get((model.name, model.version))
        if (
            last is not None
            and last.counted_by is statistics
            and not (since_ns or model.depth or last.depth or last.executing or len(last.latencies))
            and (last.down, last.places, last.in_place) == (model.down, model.places, model.in_place)
            and last.memory == _memory(model)
            and last.requests == statistics.success_count
            and last.executions == statistics.execution_count
            and last.cache_misses == statistics.cache_miss.count
            and sum(last.failures.values()) == statistics.fail.count
        ):
            # Of a thousand models, most do nothing.
            return last
        return model_sample(model, since_ns, now_ns, latencies)

    def _of_process(self, lags: Sequence[tuple[int, int]]) -> ProcessSample:
        inflight = self._service.inflight
        return ProcessSample(
            time.process_time_ns(),
            time.thread_time_ns(),
            waited_for_cpu_ns(),
            self._cpus,
            resident_bytes(),
            inflight.used,
            inflight.limit,
            inflight.refused,
            lags,
        )


class _Lately:
    """How long the requests to one model took that were answered lately."""

    def __init__(self, statistics: ModelStatistics) -> None:
        self._fresh: deque[int] = deque(maxlen=MOST_LATENCIES)
        self._statistics = statistics
        statistics.latencies = self._fresh
        self._parts: deque[tuple[int, Latencies]] = deque()

    def stop(self) -> None:
        """Note none any more."""
        self._statistics.latencies = None

    def take(self, now_ns: int) -> Latencies:
        """Those of the window."""
        parts = self._parts
        if self._fresh:
            parts.append((now_ns, np.fromiter(self._fresh, np.int64, len(self._fresh))))
            self._fresh.clear()
        while parts and now_ns - parts[0][0] > WINDOW_NS:
            parts.popleft()
        return np.concatenate([part for _, part in parts]) if parts else NO_LATENCIES


def waited_for_cpu_ns() -> int:
    """How long the thread that calls this has been ready to run, and had no CPU; 0 where that cannot be told."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def model_sample(
    model: LoadedModel, since_ns: Sequence[int], now_ns: int, latencies: Latencies = NO_LATENCIES
) -> ModelSample:
    """One version as it is now. `since_ns`: when each of its executions under way has begun."""
    counted = model.statistics
    return ModelSample(
        model.name,
        model.version,
        counted,
        counted.success_count,
        counted.inference_count,
        counted.execution_count,
        counted.success_ns,
        counted.queue_ns,
        counted.compute_input_ns,
        counted.compute_infer_ns,
        counted.compute_output_ns,
        counted.cache_hit.count,
        counted.cache_miss.count,
        {str(reason): count for reason, count in counted.failures.items() if count},
        {size: _batch(each.count, each.busy_ns, each.reasons) for size, each in counted.batches.items()},
        # What is under way is counted when it has ended.
        counted.busy_ns + sum(max(0, now_ns - each) for each in since_ns),
        model.depth,
        len(since_ns),
        model.places,
        model.decoupled,
        model.in_place,
        _memory(model),
        model.down,
        latencies,
    )


def _memory(model: LoadedModel) -> dict[str, int]:
    return dict(model.memory.bytes) if model.memory is not None else {}


def _batch(executions: int, busy_ns: int, reasons: Mapping[BatchReason, int]) -> BatchCount:
    return BatchCount(executions, busy_ns, {str(reason): count for reason, count in reasons.items() if count})
