"""What was measured, as it is reported: one result for each server and load."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kserve_v2.bench.histogram import QUANTILES
from kserve_v2.bench.load import ClosedLoop, Load, Round
from kserve_v2.bench.measure import Plan, Point, ratios
from kserve_v2.bench.server_side import STAGES

Json = dict[str, Any]

_BUSY = 0.8
_LATE_SHARE = 0.2
_KEEPS_UP = 0.95
_MS = 1e6


@dataclass(frozen=True, slots=True)
class Result:
    """One server under one load. `latency_ms`: `mean`, `min`, `max` and those of `histogram.QUANTILES`; `stages_us`:
    means of a request's time in the server. None, or empty, where the server does not tell. `ratio`: of throughput, to
    the first server.
    """

    server: str
    load: Load
    requests_per_second: float
    inferences_per_second: float
    latency_ms: Mapping[str, float]
    answers: int
    errors: Mapping[str, int]
    reconnects: int
    mean_batch: float | None
    batches: Mapping[int, int]
    stages_us: Mapping[str, float]
    cache_hits: int
    server_cpu_us: float | None
    generator_busy: float
    late_p99_ms: float
    rounds: int
    stable: bool
    ratio: float | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Everything of one run. `servers`: name to URL. `request`: what was sent, in words."""

    model: str
    servers: Mapping[str, str]
    request: str
    plan: Plan
    results: Sequence[Result]
    made_at: str = ""
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def compares(self) -> bool:
        """Whether there are several servers."""
        return len(self.servers) > 1


def results_of(points: Sequence[Sequence[Point]], plan: Plan) -> list[Result]:
    """In the order of the loads, and below that of the servers."""
    results: list[Result] = []
    for of_load in points:
        shares: list[float] | list[None] = ratios(of_load) if len(of_load) > 1 else [None]
        results += [_result(point, plan, ratio) for point, ratio in zip(of_load, shares, strict=True)]
    return results


def _result(point: Point, plan: Plan, ratio: float | None) -> Result:
    whole, counters = point.whole, point.counters
    latency = {name: value / _MS for name, value in whole.latency.quantiles().items()}
    spread = {"mean": whole.latency.mean, "min": whole.latency.least, "max": whole.latency.largest}
    stages = {} if counters is None else {stage: counters.mean_us(stage) for stage in STAGES}
    hits = 0 if counters is None else counters.cache_hits
    stable = point.is_stable(plan)
    return Result(
        point.subject,
        point.load,
        whole.per_second,
        whole.rows / whole.seconds,
        {**{name: value / _MS for name, value in spread.items()}, **latency},
        whole.answers,
        dict(whole.errors.most_common()),
        whole.reconnects,
        None if counters is None else counters.mean_batch,
        {} if counters is None else counters.batches,
        {stage: value for stage, value in stages.items() if value is not None},
        hits,
        point.cpu_us,
        whole.busy,
        whole.late.quantile(0.99) / _MS,
        len(point.rounds),
        stable,
        ratio,
        tuple(_warnings(whole, point.load, hits, stable)),
    )


def _warnings(whole: Round, load: Load, hits: int, stable: bool) -> Iterator[str]:
    """What a reader has to know before the numbers are believed."""
    p99 = whole.latency.quantile(0.99)
    if not whole.answers:
        yield "no answers came within a round: requests take longer than that (--duration), or fail"
        return
    if whole.errors:
        yield f"{whole.errors.total()} requests failed: their times are not among the latencies"
    if not isinstance(load, ClosedLoop) and whole.per_second < _KEEPS_UP * load.per_second:
        yield (
            f"the server does not keep up with {load.per_second:g}/s: it answers {whole.per_second:,.0f}/s, and a "
            "queue grows"
        )
    elif not stable:
        yield "not stable: throughput or latency still changes by more than --stability"
    if whole.busy > _BUSY:
        yield (
            f"the generator used {whole.busy:.0%} of a CPU, and may be the limit: a server may be faster than it says "
            f"here"
        )
    if whole.late.quantile(0.99) > _LATE_SHARE * p99:
        yield (
            f"the generator was late by {whole.late.quantile(0.99) / _MS:.2f} ms (p99), which is part of the latencies"
        )
    if whole.reconnects:
        yield f"the server closed {whole.reconnects} connections, which were opened again"
    if hits:
        yield f"{hits} requests were answered from the response cache"


def as_json(report: Report) -> Json:
    """For programs; the names do not change."""
    return {
        "model": report.model,
        "made_at": report.made_at,
        "servers": dict(report.servers),
        "request": report.request,
        "notes": list(report.notes),
        "settings": {
            "warm_up_s": report.plan.warm_up_s,
            "duration_s": report.plan.seconds,
            "max_rounds": report.plan.max_rounds,
            "stability": report.plan.tolerance,
            "vary": report.plan.vary.value,
        },
        "results": [_result_json(each) for each in report.results],
    }


def _result_json(result: Result) -> Json:
    return {
        "server": result.server,
        **_load_json(result.load),
        "requests_per_second": result.requests_per_second,
        "inferences_per_second": result.inferences_per_second,
        "latency_ms": dict(result.latency_ms),
        "answers": result.answers,
        "errors": dict(result.errors),
        "reconnects": result.reconnects,
        "mean_batch": result.mean_batch,
        "batches": {str(size): number for size, number in result.batches.items()},
        "stages_us": dict(result.stages_us),
        "cache_hits": result.cache_hits,
        "server_cpu_us_per_request": result.server_cpu_us,
        "generator_cpu": result.generator_busy,
        "generator_late_p99_ms": result.late_p99_ms,
        "rounds": result.rounds,
        "stable": result.stable,
        "ratio": result.ratio,
        "warnings": list(result.warnings),
    }


def _load_json(load: Load) -> Json:
    if isinstance(load, ClosedLoop):
        return {"concurrency": load.concurrency, "rate": None, "arrivals": None}
    return {"concurrency": None, "rate": load.per_second, "arrivals": load.arrivals.value}


CSV_COLUMNS = (
    "server", "concurrency", "rate", "arrivals", "requests_per_second", "inferences_per_second", "mean_ms",
    *(f"{name}_ms" for name in QUANTILES), "max_ms", "answers", "errors", "reconnects", "mean_batch",
    *(f"{stage}_us" for stage in STAGES), "server_cpu_us_per_request", "generator_cpu", "stable", "ratio",
)  # fmt: skip


def csv_rows(report: Report) -> Iterator[list[object]]:
    """The results, one a row, in the order of CSV_COLUMNS; None is an empty cell."""
    for result in report.results:
        flat = _result_json(result)
        flat |= {f"{name}_ms": value for name, value in result.latency_ms.items()}
        flat |= {f"{stage}_us": result.stages_us.get(stage) for stage in STAGES}
        flat["errors"] = sum(result.errors.values())
        yield [_cell(flat[name]) for name in CSV_COLUMNS]


def _cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value
