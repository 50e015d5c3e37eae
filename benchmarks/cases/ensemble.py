"""An ensemble of three steps: what a step costs beside its model called alone, and what a client that makes the steps
itself gets.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import ROW_SHAPE, add_sub_inputs
from benchmarks.cases.counters import read_counters
from benchmarks.load.exchange import GrpcExchange, grpc_raw
from benchmarks.models import ENSEMBLE, STEP_MODELS
from benchmarks.processes import Child, run
from benchmarks.result import Row, Spread, Target, ratio_row

# Beside the measurement itself, it starts a server.
_LIMIT_SECONDS = 60

# One client that makes the steps itself has one request under way, and so has the one that asks the ensemble.
_CONNECTIONS = 1
_WARM_UP_SECONDS = 1
_STEP_US = Target("at most", 25)
_THROUGHPUT = Target("at least", 1.5)

_STEPS = len(STEP_MODELS)


@dataclass(frozen=True, slots=True)
class _Found:
    """`cpu_us`: CPU time of the server per request, None if not known. `model_us`: how long its models computed."""

    per_second: float
    cpu_us: float | None
    model_us: float


def ensemble(bench: Bench) -> list[Row]:
    """The yardstick is one of its models, in the same server: a request to the ensemble does what three to it do."""
    with bench.server(ENSEMBLE) as server:
        measures = [_load_of(bench, server, name) for name in (ENSEMBLE, STEP_MODELS[0])]
        found = [*bench.in_turn("ensemble", measures)]
    what = f"{_STEPS} steps over gRPC"
    rows = [
        ratio_row(
            "ensemble",
            f"throughput, {what}",
            "requests/s",
            [(whole.per_second, alone.per_second / _STEPS) for whole, alone in found],
            _THROUGHPUT,
            note="against a client that makes one request for each step",
        )
    ]
    steps = [_steps_in_process(bench) for _ in bench.each_round("ensemble, in the server's process")]
    rows.append(
        Row(
            "ensemble",
            f"CPU per step, {_STEPS} steps, above the models called alone",
            "us",
            result=Spread.of(steps),
            target=_STEP_US,
            note="a caller in the server's process, which asks the ensemble and the models of its steps in turn",
        )
    )
    costs = [cost for whole, alone in found if (cost := _step_us(whole, alone)) is not None]
    if costs:
        note = (
            "of each step behind the first, with the scheduling of its model, without its execution; each request "
            "finds the processor asleep, where the same code takes some times as long as in a loop"
        )
        rows.append(Row("ensemble", f"CPU per step, {what}", "us", result=Spread.of(costs), note=note))
    return rows


def _steps_in_process(bench: Bench) -> float:
    module = [sys.executable, "-m", "benchmarks.yardsticks.ensemble_steps"]
    arguments = [str(bench.repository), ENSEMBLE, str(bench.seconds), *STEP_MODELS]
    seen: dict[str, float] = json.loads(run([*module, *arguments], bench.seconds + _LIMIT_SECONDS))
    return (seen["ensemble_us"] - seen["models_us"]) / _STEPS


def _step_us(whole: _Found, alone: _Found) -> float | None:
    if whole.cpu_us is None or alone.cpu_us is None:
        return None
    return (whole.cpu_us - whole.model_us - (alone.cpu_us - alone.model_us)) / (_STEPS - 1)


def _load_of(bench: Bench, server: Child, name: str) -> Callable[[], _Found]:
    """The measurement of one of the two, warmed up."""
    exchange = grpc_raw(server.urls["gRPC"], name, add_sub_inputs(ROW_SHAPE))
    bench.load(bench.grpc, exchange, _CONNECTIONS, _WARM_UP_SECONDS)
    return partial(_load, bench, server, exchange, name)


def _load(bench: Bench, server: Child, exchange: GrpcExchange, name: str) -> _Found:
    before, cpu_before = read_counters(server.urls["REST"], name), server.cpu_seconds()
    load = bench.load(bench.grpc, exchange, _CONNECTIONS, bench.seconds)
    after, cpu_after = read_counters(server.urls["REST"], name), server.cpu_seconds()
    cpu = None if cpu_before is None or cpu_after is None else (cpu_after - cpu_before) / load.requests * 1e6
    return _Found(load.per_second, cpu, (after - before).model_ms * 1000)
