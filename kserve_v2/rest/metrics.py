"""Prometheus metrics: read off the models' statistics when they are scraped, under Triton's names; behind them come
those that models make themselves.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from starlette.types import Receive, Scope, Send

from kserve_v2.caching.cache import CacheFigures, ResponseCache
from kserve_v2.config.latency_budget import LATENCY_BUDGET_MS
from kserve_v2.metrics.processes import ProcessFigures, process_families
from kserve_v2.metrics.registry import MetricsRegistry
from kserve_v2.metrics.text import Family, Labels
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.residency.residency import Residency
from kserve_v2.rest.release_metrics import Released, release_families
from kserve_v2.scheduling.statistics import ModelStatistics

_CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def metrics_text(
    models: Sequence[LoadedModel],
    processes: Sequence[ProcessFigures],
    own: MetricsRegistry,
    cache: ResponseCache | None = None,
    released: Iterable[Released] = (),
    residency: Residency | None = None,
) -> str:
    """All metrics of the given models, those of the server, and behind them those that models make themselves.
    `processes`: the server's own. `released`: the models that have a release.
    """
    of_cache = () if cache is None else cache_families(cache.figures())
    of_releases = release_families(released)
    of_memory = () if residency is None else _memory(models, residency)
    shown = (
        *families(models),
        *of_releases,
        *of_cache,
        *of_memory,
        *process_families(processes),
        *own.families(),
    )
    return "".join(family.text() for family in shown)


def _memory(models: Sequence[LoadedModel], residency: Residency) -> Iterator[Family]:
    used = Family(
        "kserve_v2_model_memory_bytes",
        "gauge",
        "Memory that a model uses; estimated: by files or the process's growth",
    )
    for model in models:
        if (memory := model.memory) is not None:
            for device, size in memory.bytes.items():
                used.add(
                    {**_labels(model), "device": device, "estimated": str(memory.estimated).lower()}, size
                )
    yield used
    limits = Family("kserve_v2_memory_budget_bytes", "gauge", "Memory that models may use together")
    taken = Family("kserve_v2_memory_used_bytes", "gauge", "Memory that they use, or are about to")
    in_use = residency.used
    for device, limit in residency.budget.limits.items():
        limits.add({"device": device}, limit)
        taken.add({"device": device}, in_use.get(device, 0))
    yield from (limits, taken)
    evictions = Family(
        "kserve_v2_model_evictions", "counter", "How often a model was unloaded to make room for others"
    )
    for name, count in residency.evictions.items():
        evictions.add({"model": name}, count)
    yield evictions


def families(models: Sequence[LoadedModel]) -> Iterator[Family]:
    """The metrics of the given models, one family after the other."""
    yield _counter(
        models, "nv_inference_request_success", "Requests that were answered", lambda s: s.success_count
    )
    yield _failures(models)
    yield _counter(models, "nv_inference_count", "Rows inferred", lambda s: s.inference_count)
    yield _counter(models, "nv_inference_exec_count", "Executions of the model", lambda s: s.execution_count)
    durations = {
        "request": "Time of answered requests from their arrival to their result",
        "queue": "Time that answered requests waited",
        "compute_input": "Time of preparing inputs",
        "compute_infer": "Time of executing the model",
        "compute_output": "Time of preparing outputs",
    }
    for name, text in durations.items():
        yield _duration(models, name, f"{text}, in microseconds")
    yield from _cache_counters(models)
    yield _pending(models)
    yield _pending_by_level(models)
    yield _waiting_times(models)
    yield _chosen_delays(models)
    yield from _padded_elements(models)
    yield from _processes(models)
    yield from _warm_ups(models)
    yield from _occupancy(models)
    yield _batch_reasons(models)
    yield _batch_sizes(models)


def _labels(model: LoadedModel) -> Labels:
    return {**model.config.metric_tags, "model": model.name, "version": str(model.version)}


def _counter(
    models: Sequence[LoadedModel], name: str, text: str, value: Callable[[ModelStatistics], int]
) -> Family:
    family = Family(name, "counter", text)
    for model in models:
        family.add(_labels(model), value(model.statistics))
    return family


def _duration(models: Sequence[LoadedModel], name: str, text: str) -> Family:
    """One of the durations of the statistics; `request` is that of success."""
    attribute = "success" if name == "request" else name
    return _counter(
        models, f"nv_inference_{name}_duration_us", text, lambda s: s.durations()[attribute].ns // 1000
    )


def _cache_counters(models: Sequence[LoadedModel]) -> Iterator[Family]:
    """Of the models with a response cache."""
    cached = [model for model in models if model.config.response_cache.enable]
    for name, text, value in (
        (
            "nv_cache_num_hits_per_model",
            "Requests answered by the response cache",
            lambda s: s.cache_hit.count,
        ),
        ("nv_cache_num_misses_per_model", "Requests that it had no answer to", lambda s: s.cache_miss.count),
        (
            "nv_cache_hit_duration_per_model",
            "Time of finding those answers, in microseconds",
            lambda s: s.cache_hit.ns // 1000,
        ),
        (
            "nv_cache_miss_duration_per_model",
            "Time of looking for the others and of keeping them, in microseconds",
            lambda s: s.cache_miss.ns // 1000,
        ),
    ):
        yield _counter(cached, name, text, value)


def _failures(models: Sequence[LoadedModel]) -> Family:
    family = Family("nv_inference_request_failure", "counter", "Requests that got no answer from the model")
    for model in models:
        for reason, count in model.statistics.failures.items():
            family.add({**_labels(model), "reason": reason}, count)
    return family


def _pending(models: Sequence[LoadedModel]) -> Family:
    family = Family("nv_inference_pending_request_count", "gauge", "Requests that wait for an instance")
    for model in models:
        family.add(_labels(model), model.depth)
    return family


def _pending_by_level(models: Sequence[LoadedModel]) -> Family:
    family = Family(
        "kserve_v2_pending_requests", "gauge", "Requests that wait for an instance, by level of priority"
    )
    for model in models:
        for level, waiting in enumerate(model.depths, 1):
            family.add({**_labels(model), "priority_level": str(level)}, waiting)
    return family


def _waiting_times(models: Sequence[LoadedModel]) -> Family:
    family = Family(
        "kserve_v2_queue_seconds",
        "histogram",
        "How long requests that were executed waited for that, those of sequences from when they had a slot",
    )
    for model in models:
        waited = model.statistics.waited
        *counts, total = waited.up_to()
        for bound_us, count in zip(waited.BOUNDS_US, counts, strict=True):
            family.add({**_labels(model), "le": f"{bound_us / 1e6:g}"}, count, "_bucket")
        family.add({**_labels(model), "le": "+Inf"}, total, "_bucket")
        family.add(_labels(model), waited.ns / 1e9, "_sum")
        family.add(_labels(model), total, "_count")
    return family


def _padded_elements(models: Sequence[LoadedModel]) -> Iterator[Family]:
    """Of the models whose inputs are padded."""
    given = Family(
        "kserve_v2_padded_input_elements", "counter", "Elements of padded inputs, padding included"
    )
    padding = Family("kserve_v2_padding_elements", "counter", "Elements of padded inputs that were padding")
    for model in models:
        if (padded := model.statistics.padded) is not None:
            given.add(_labels(model), padded.given)
            padding.add(_labels(model), padded.padding)
    yield from (given, padding)


def _processes(models: Sequence[LoadedModel]) -> Iterator[Family]:
    """Of the models that run in processes of their own."""
    alive = Family("kserve_v2_model_processes", "gauge", "Processes that execute an isolated model now")
    deaths = Family(
        "kserve_v2_model_process_deaths", "counter", "Processes of an isolated model that have died"
    )
    for model in models:
        if processes := model.processes:
            alive.add(_labels(model), sum(living for living, _ in processes))
            deaths.add(_labels(model), sum(died for _, died in processes))
    yield from (alive, deaths)


def _warm_ups(models: Sequence[LoadedModel]) -> Iterator[Family]:
    """Of the models that were warmed up."""
    executions = Family(
        "kserve_v2_warm_up_executions",
        "gauge",
        "Executions before the model was ready, which nothing else counts",
    )
    seconds = Family("kserve_v2_warm_up_seconds", "gauge", "How long those took in all")
    for model in models:
        if model.warmed_up.executions:
            executions.add(_labels(model), model.warmed_up.executions)
            seconds.add(_labels(model), model.warmed_up.seconds)
    yield from (executions, seconds)


def _chosen_delays(models: Sequence[LoadedModel]) -> Family:
    """Of the models with a latency budget."""
    text = (
        "Time that batches may wait for more requests, as the server chooses it at present, in microseconds"
    )
    family = Family("kserve_v2_chosen_queue_delay_us", "gauge", text)
    for model in models:
        if LATENCY_BUDGET_MS in model.config.parameters:
            family.add(_labels(model), model.statistics.chosen_delay_ns // 1000)
    return family


def _occupancy(models: Sequence[LoadedModel]) -> Iterator[Family]:
    """Of the models with instances of their own: the rate of the one, divided by the other, is their busy share."""
    busy = Family(
        "kserve_v2_instance_busy_seconds",
        "counter",
        "Time that instances spent on the executions that have ended well",
    )
    places = Family("kserve_v2_execution_places", "gauge", "Executions that instances can do at a time")
    for model in models:
        if model.places:
            busy.add(_labels(model), model.statistics.busy_ns / 1e9)
            places.add(_labels(model), model.places)
    yield from (busy, places)


def _batch_reasons(models: Sequence[LoadedModel]) -> Family:
    family = Family(
        "kserve_v2_batches", "counter", "Executed batches by the reason why they ran when they did"
    )
    for model in models:
        for reason, count in model.statistics.batch_reasons.items():
            family.add({**_labels(model), "reason": reason}, count)
    return family


def _batch_sizes(models: Sequence[LoadedModel]) -> Family:
    """A histogram over the sizes that were executed, with buckets at the powers of two up to the model's
    maximum.
    """
    family = Family("kserve_v2_batch_rows", "histogram", "Rows per executed batch")
    for model in models:
        executed = {size: batch.count for size, batch in model.statistics.batches.items()}
        limit = max(1, model.config.max_batch_size)
        bounds = sorted({limit, *(2**power for power in range(limit.bit_length()))})
        for bound in bounds:
            count = sum(number for size, number in executed.items() if size <= bound)
            family.add({**_labels(model), "le": str(bound)}, count, "_bucket")
        family.add({**_labels(model), "le": "+Inf"}, sum(executed.values()), "_bucket")
        family.add(_labels(model), sum(size * number for size, number in executed.items()), "_sum")
        family.add(_labels(model), sum(executed.values()), "_count")
    return family


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


class MetricsApp:
    """ASGI application of the metrics port: `GET /metrics`. The server leaves the body of HEAD out."""

    def __init__(
        self,
        manager: ModelManager,
        processes: Callable[[], Sequence[ProcessFigures]],
        cache: ResponseCache | None = None,
    ) -> None:
        """`processes`: what the server's own say of themselves now."""
        self._manager = manager
        self._processes = processes
        self._cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a scrape; see ASGI for the arguments."""
        status, body = 200, b""
        if scope["method"] not in ("GET", "HEAD"):
            status, body = 405, b"Method Not Allowed"
        elif scope["path"].rstrip("/") != "/metrics":
            status, body = 404, b"Not Found: the metrics are at /metrics"
        else:
            manager = self._manager
            await manager.count()
            body = metrics_text(
                manager.ready_models(),
                self._processes(),
                manager.metrics,
                self._cache,
                manager.released(),
                manager.residency,
            ).encode()
        headers = [(b"content-type", _CONTENT_TYPE), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
