"""Answers from the response cache against executions: of a model that is as cheap as can be, and of one that is not."""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import ROW_SHAPE, add_sub_inputs
from benchmarks.cases.counters import read_counters
from benchmarks.load.exchange import Array, RestExchange, rest_json
from benchmarks.models import CACHED_MODELS, IMAGE_SHAPE
from benchmarks.processes import Child
from benchmarks.result import Row, Target, ratio_row

_CONNECTIONS = 16
_WARM_UP_SECONDS = 1
_FLAGS = ("--cache-config=local,size=16777216",)
_TARGET = Target("at most", 1.0)

_INPUTS: dict[str, dict[str, Array]] = {
    "add_sub": add_sub_inputs(ROW_SHAPE),
    "cnn": {"image": np.linspace(0, 1, 3 * 96 * 96, dtype=np.float32).round(3).reshape(IMAGE_SHAPE)},
}

_Found = tuple[float, float | None]
"""Requests per second, and CPU time per request in microseconds."""


def cache(bench: Bench) -> list[Row]:
    """The yardstick is the same model without a cache, in the same server."""
    rows: list[Row] = []
    names = [name for model in CACHED_MODELS for name in (model, f"{model}_cached")]
    with bench.server(*names, flags=_FLAGS) as server:
        for model in CACHED_MODELS:
            rows += _rows(bench, server, model)
    return rows


def _rows(bench: Bench, server: Child, model: str) -> list[Row]:
    measures = [_load_of(bench, server, model, name) for name in (f"{model}_cached", model)]
    found = [*bench.in_turn(f"cache, {model}", measures)]
    _check_hits(server, f"{model}_cached")
    what = f"{model}, {_CONNECTIONS} connections over REST"
    rows = [
        ratio_row(
            "cache",
            f"throughput, {what}",
            "requests/s",
            [(hit, executed) for (hit, _), (executed, _) in found],
            note="answered by the cache against executed",
        )
    ]
    cpu = [(hit, executed) for (_, hit), (_, executed) in found if hit and executed]
    if cpu:
        target = _TARGET if model == "add_sub" else None
        rows.append(ratio_row("cache", f"CPU per request, {what}", "us", cpu, target))
    return rows


def _load_of(bench: Bench, server: Child, model: str, name: str) -> Callable[[], _Found]:
    """The measurement of one of the two, warmed up."""
    exchange = rest_json(server.urls["REST"], name, _INPUTS[model])
    bench.load(bench.rest, exchange, _CONNECTIONS, _WARM_UP_SECONDS)
    return partial(_load, bench, server, exchange)


def _load(bench: Bench, server: Child, exchange: RestExchange) -> _Found:
    before = server.cpu_seconds()
    load = bench.load(bench.rest, exchange, _CONNECTIONS, bench.seconds)
    after = server.cpu_seconds()
    cpu = None if before is None or after is None else (after - before) / load.requests * 1e6
    return load.per_second, cpu


def _check_hits(server: Child, name: str) -> None:
    """Raise RuntimeError unless the cache has answered all requests but the first."""
    executions = read_counters(server.urls["REST"], name).executions
    if executions != 1:
        raise RuntimeError(f"{name} was executed {executions} times, expected 1: the cache does not answer")
