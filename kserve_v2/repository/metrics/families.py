"""Prometheus metrics: read off the models' statistics when they are scraped, under Triton's names; behind them come
those that models make themselves.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from kserve_v2.caching.cache import CacheFigures, ResponseCache
from kserve_v2.config.latency_budget import LATENCY_BUDGET_MS
from kserve_v2.metrics.processes import ProcessFigures, process_families
from kserve_v2.metrics.registry import MetricsRegistry
from kserve_v2.metrics.tables import NONE, Metric, Sample, each, histogram, one, read
from kserve_v2.metrics.text import Family, Labels
from kserve_v2.repository.metrics.releases import Released, release_families
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.residency.residency import Residency
from kserve_v2.scheduling.slices import Slices, joined
from kserve_v2.scheduling.statistics import ModelStatistics, PaddedElements

# So many are read in a slice.
_SLICE_MODELS = 8


def metrics_text(
    models: Sequence[LoadedModel],
    processes: Sequence[ProcessFigures],
    own: MetricsRegistry,
    cache: ResponseCache | None = None,
    released: Iterable[Released] = (),
    residency: Residency | None = None,
) -> Slices[bytes]:
    """All metrics of the given models, those of the server, and behind them those that models make themselves.
    `processes`: the server's own. `released`: the models that have a release.
    """
    released = [*released]
    texts = yield from _written(_OF_MODELS, models)
    texts += _texts(release_families(released))
    if cache is not None:
        texts += _texts(cache_families(cache.figures()))
    if residency is not None:
        texts += yield from _written(_OF_MEMORY, models)
        texts += _texts(read(_OF_RESIDENCY, [(NONE, residency)]))
    texts += _texts(process_families(processes))
    texts += _texts(own.families())
    return (yield from joined(texts))


def _texts(families: Iterable[Family]) -> Iterator[bytes]:
    return (family.text().encode() for family in families)


def _written(metrics: Sequence[Metric[LoadedModel]], models: Sequence[LoadedModel]) -> Slices[list[bytes]]:
    """The texts of `metrics`. All that is said of a model holds for the same moment."""
    texts = [[family.head()] for family in read(metrics, ())]
    for at in range(0, len(models), _SLICE_MODELS):
        subjects = [(_labels(model), model) for model in models[at : at + _SLICE_MODELS]]
        # As text at once: the garbage collector would look at all samples of many models again and again.
        for text, family in zip(texts, read(metrics, subjects), strict=True):
            text.append(family.lines())
        yield
    return ["".join(text).encode() for text in texts]


def _labels(model: LoadedModel) -> Labels:
    return {**model.config.metric_tags, "model": model.name, "version": str(model.version)}


# --- of models ------------------------------------------------------------------------------------------------------


def _counted(value: Callable[[ModelStatistics], float]) -> Callable[[LoadedModel], Iterable[Sample]]:
    return one(lambda model: value(model.statistics))


def _lasted(name: str) -> Callable[[LoadedModel], Iterable[Sample]]:
    """One of the durations of the statistics, in microseconds."""
    return _counted(lambda statistics: statistics.durations()[name].ns // 1000)


def _cached(value: Callable[[ModelStatistics], int]) -> Callable[[LoadedModel], Iterable[Sample]]:
    """Of the models with a response cache."""
    return one(lambda model: value(model.statistics) if model.config.response_cache.enable else None)


def _waiting_times(model: LoadedModel) -> Iterable[Sample]:
    waited = model.statistics.waited
    *counts, total = waited.up_to()
    bounds = [f"{bound_us / 1e6:g}" for bound_us in waited.BOUNDS_US]
    return histogram(zip(bounds, counts, strict=True), waited.ns / 1e9, total)


def _batch_sizes(model: LoadedModel) -> Iterable[Sample]:
    """A histogram over the sizes that were executed, with buckets at the powers of two up to the model's maximum."""
    executed = {size: batch.count for size, batch in model.statistics.batches.items()}
    limit = max(1, model.config.max_batch_size)
    bounds = sorted({limit, *(2**power for power in range(limit.bit_length()))})
    buckets = [
        (str(bound), sum(count for size, count in executed.items() if size <= bound)) for bound in bounds
    ]
    rows = sum(size * count for size, count in executed.items())
    return histogram(buckets, rows, sum(executed.values()))


def _chosen_delay(model: LoadedModel) -> float | None:
    """Of the models with a latency budget."""
    budgeted = LATENCY_BUDGET_MS in model.config.parameters
    return model.statistics.chosen_delay_ns // 1000 if budgeted else None


def _padded(value: Callable[[PaddedElements], int]) -> Callable[[LoadedModel], Iterable[Sample]]:
    """Of the models whose inputs are padded."""
    return one(lambda model: None if (padded := model.statistics.padded) is None else value(padded))


_OF_MODELS: Sequence[Metric[LoadedModel]] = [
    Metric(
        "nv_inference_request_success", "counter", "Requests that were answered",
        _counted(lambda s: s.success_count),
    ),
    Metric(
        "nv_inference_request_failure", "counter", "Requests that got no answer from the model",
        each("reason", lambda model: model.statistics.failures.items()),
    ),
    Metric("nv_inference_count", "counter", "Rows inferred", _counted(lambda s: s.inference_count)),
    Metric("nv_inference_exec_count", "counter", "Executions of the model", _counted(lambda s: s.execution_count)),
    *(
        Metric(f"nv_inference_{name}_duration_us", "counter", f"{text}, in microseconds", _lasted(duration))
        for name, duration, text in (
            ("request", "success", "Time of answered requests from their arrival to their result"),
            ("queue", "queue", "Time that answered requests waited"),
            ("compute_input", "compute_input", "Time of preparing inputs"),
            ("compute_infer", "compute_infer", "Time of executing the model"),
            ("compute_output", "compute_output", "Time of preparing outputs"),
        )
    ),
    Metric(
        "nv_cache_num_hits_per_model", "counter", "Requests answered by the response cache",
        _cached(lambda s: s.cache_hit.count),
    ),
    Metric(
        "nv_cache_num_misses_per_model", "counter", "Requests that it had no answer to",
        _cached(lambda s: s.cache_miss.count),
    ),
    Metric(
        "nv_cache_hit_duration_per_model", "counter", "Time of finding those answers, in microseconds",
        _cached(lambda s: s.cache_hit.ns // 1000),
    ),
    Metric(
        "nv_cache_miss_duration_per_model", "counter",
        "Time of looking for the others and of keeping them, in microseconds",
        _cached(lambda s: s.cache_miss.ns // 1000),
    ),
    Metric(
        "nv_inference_pending_request_count", "gauge", "Requests that wait for an instance",
        one(lambda model: model.depth),
    ),
    Metric(
        "kserve_v2_pending_requests", "gauge", "Requests that wait for an instance, by level of priority",
        each("priority_level", lambda model: ((str(level), n) for level, n in enumerate(model.depths, 1))),
    ),
    Metric(
        "kserve_v2_queue_seconds", "histogram",
        "How long requests that were executed waited for that, those of sequences from when they had a slot",
        _waiting_times,
    ),
    Metric(
        "kserve_v2_chosen_queue_delay_us", "gauge",
        "Time that batches may wait for more requests, as the server chooses it at present, in microseconds",
        one(_chosen_delay),
    ),
    Metric(
        "kserve_v2_padded_input_elements", "counter", "Elements of padded inputs, padding included",
        _padded(lambda padded: padded.given),
    ),
    Metric(
        "kserve_v2_padding_elements", "counter", "Elements of padded inputs that were padding",
        _padded(lambda padded: padded.padding),
    ),
    Metric(
        "kserve_v2_model_processes", "gauge", "Processes that execute an isolated model now",
        one(lambda model: sum(living for living, _ in model.processes) if model.processes else None),
    ),
    Metric(
        "kserve_v2_model_process_deaths", "counter", "Processes of an isolated model that have died",
        one(lambda model: sum(died for _, died in model.processes) if model.processes else None),
    ),
    Metric(
        "kserve_v2_warm_up_executions", "gauge", "Executions before the model was ready, which nothing else counts",
        one(lambda model: model.warmed_up.executions or None),
    ),
    Metric(
        "kserve_v2_warm_up_seconds", "gauge", "How long those took in all",
        one(lambda model: model.warmed_up.seconds if model.warmed_up.executions else None),
    ),
    # Of the models with instances of their own: the rate of the one, divided by the other, is their busy share.
    Metric(
        "kserve_v2_instance_busy_seconds", "counter",
        "Time that instances spent on the executions that have ended well",
        one(lambda model: model.statistics.busy_ns / 1e9 if model.places else None),
    ),
    Metric(
        "kserve_v2_execution_places", "gauge", "Executions that instances can do at a time",
        one(lambda model: model.places or None),
    ),
    Metric(
        "kserve_v2_batches", "counter", "Executed batches by the reason why they ran when they did",
        each("reason", lambda model: model.statistics.batch_reasons.items()),
    ),
    Metric("kserve_v2_batch_rows", "histogram", "Rows per executed batch", _batch_sizes),
]  # fmt: skip


# --- of memory ------------------------------------------------------------------------------------------------------


def _memory(model: LoadedModel) -> Iterable[Sample]:
    if (memory := model.memory) is not None:
        estimated = str(memory.estimated).lower()
        for device, size in memory.bytes.items():
            yield {"device": device, "estimated": estimated}, size, ""


def _used(residency: Residency) -> Iterable[tuple[str, int]]:
    used = residency.used
    return ((device, used.get(device, 0)) for device in residency.budget.limits)


_OF_MEMORY: Sequence[Metric[LoadedModel]] = [
    Metric(
        "kserve_v2_model_memory_bytes", "gauge",
        "Memory that a model uses; estimated: by files or the process's growth", _memory,
    ),
]  # fmt: skip

_OF_RESIDENCY: Sequence[Metric[Residency]] = [
    Metric(
        "kserve_v2_memory_budget_bytes", "gauge", "Memory that models may use together",
        each("device", lambda residency: residency.budget.limits.items()),
    ),
    Metric(
        "kserve_v2_memory_used_bytes", "gauge", "Memory that they use, or are about to",
        each("device", _used),
    ),
    Metric(
        "kserve_v2_model_evictions", "counter", "How often a model was unloaded to make room for others",
        each("model", lambda residency: residency.evictions.items()),
    ),
]  # fmt: skip


def cache_families(figures: CacheFigures) -> Iterator[Family]:
    """The metrics of the server's response cache. Those of Triton's local cache are gauges, also what only grows."""
    used = figures.used_bytes
    for name, kind, text, value in (
        (
            "nv_cache_util", "gauge", "Part of the response cache that is in use",
            None if used is None else used / (figures.max_bytes or 1),
        ),
        ("nv_cache_num_entries", "gauge", "Answers in the response cache", figures.entries),
        ("nv_cache_num_lookups", "gauge", "Lookups in the response cache", figures.lookups),
        ("nv_cache_num_hits", "gauge", "Lookups that found an answer", figures.hits),
        ("nv_cache_num_misses", "gauge", "Lookups that found none", figures.misses),
        ("nv_cache_num_evictions", "gauge", "Answers that made room for others", figures.evictions),
        ("nv_cache_lookup_duration", "gauge", "Time of all lookups, in microseconds", figures.lookup_ns // 1000),
        (
            "nv_cache_insertion_duration", "gauge", "Time of keeping answers, in microseconds",
            figures.insertion_ns // 1000,
        ),
        ("kserve_v2_cache_bytes", "gauge", "Memory that the answers in the cache take", used),
        ("kserve_v2_cache_errors", "counter", "Commands that Redis did not carry out", figures.errors),
    ):  # fmt: skip
        if value is not None:
            family = Family(name, kind, text)
            family.add({}, value)
            yield family
