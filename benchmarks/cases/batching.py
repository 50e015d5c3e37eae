"""Dynamic batching: 2 ms for a batch of up to 32 rows, and 64 clients that send one row at a time."""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.bench import Bench
from benchmarks.cases.counters import Counters, read_counters
from benchmarks.handlers.fixed_time import EXECUTION_NS
from benchmarks.load.exchange import RestExchange, rest_json
from benchmarks.models import DELAYS_US, FIXED_TIME_ROWS, fixed_time_model
from benchmarks.processes import Child, run
from benchmarks.result import Row, Spread, Target, ratio_row

CLIENTS = 64

_IDEAL_ROWS_PER_SECOND = FIXED_TIME_ROWS * 1e9 / EXECUTION_NS
_TARGET = Target("at least", 0.85)
_WARM_UP_SECONDS = 1
_LIMIT_SECONDS = 60


def batching(bench: Bench) -> list[Row]:
    """Over REST, and the scheduler alone. The yardstick is a model that always runs, with full batches."""
    rows: list[Row] = []
    with bench.server(*map(fixed_time_model, DELAYS_US)) as server:
        for delay_us in DELAYS_US:
            rows += _over_rest(bench, server, delay_us)
    for delay_us in DELAYS_US:
        rows += _in_process(bench, delay_us)
    return rows


def _over_rest(bench: Bench, server: Child, delay_us: int) -> list[Row]:
    model = fixed_time_model(delay_us)
    exchange = rest_json(server.urls["REST"], model, {"INPUT": np.ones((1, 1), dtype=np.float32)})
    bench.load(bench.rest, exchange, CLIENTS, _WARM_UP_SECONDS)
    what = f"{CLIENTS} clients over REST, delay {delay_us / 1000:g} ms"
    first = read_counters(server.urls["REST"], model)
    measured = [_load(bench, server, model, exchange) for _ in bench.each_round(f"batching, {what}")]
    last = read_counters(server.urls["REST"], model)
    note = (
        f"statistics before and after: inference_count {first.rows} and {last.rows}, "
        f"execution_count {first.executions} and {last.executions}"
    )
    return _rows(what, [rate for rate, _ in measured], [done.mean_batch for _, done in measured], note)


def _load(bench: Bench, server: Child, model: str, exchange: RestExchange) -> tuple[float, Counters]:
    before = read_counters(server.urls["REST"], model)
    load = bench.load(bench.rest, exchange, CLIENTS, bench.seconds)
    return load.per_second, read_counters(server.urls["REST"], model) - before


def _in_process(bench: Bench, delay_us: int) -> list[Row]:
    what = f"{CLIENTS} clients in the server's process, delay {delay_us / 1000:g} ms"
    measured = [
        _run_in_process(bench.repository, delay_us, bench.seconds)
        for _ in bench.each_round(f"batching, {what}")
    ]
    note = "tasks that call the inference service: no sockets, no codec, no load generator"
    rates = [seen["rows_per_second"] for seen in measured]
    return _rows(what, rates, [seen["mean_batch"] for seen in measured], note)


def _run_in_process(repository: Path, delay_us: int, seconds: int) -> dict[str, float]:
    module = [sys.executable, "-m", "benchmarks.yardsticks.in_process"]
    arguments = [str(repository), fixed_time_model(delay_us), str(CLIENTS), str(seconds)]
    seen: dict[str, float] = json.loads(run([*module, *arguments], seconds + _LIMIT_SECONDS))
    return seen


def _rows(what: str, rates: list[float], mean_batches: list[float], note: str) -> list[Row]:
    return [
        ratio_row(
            "batching",
            f"throughput, {what}",
            "rows/s",
            [(rate, _IDEAL_ROWS_PER_SECOND) for rate in rates],
            _TARGET,
        ),
        Row("batching", f"mean batch, {what}", "rows", Spread.of(mean_batches), note=note),
    ]
