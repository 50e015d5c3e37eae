"""Dynamic batching of a model that a batch makes cheaper: a multilayer perceptron, 64 clients with one row each."""

import sys
from functools import partial

import numpy as np

from benchmarks.bench import Bench
from benchmarks.cases.counters import Counters, read_counters
from benchmarks.load.exchange import RestExchange, rest_json
from benchmarks.models import MLP_MODELS, MLP_ROWS, MLP_WIDTH, model_file
from benchmarks.processes import Child, run
from benchmarks.result import Row, Spread, Target, ratio_row

CLIENTS = 64

_TARGET = Target("at least", 1.3)
_WARM_UP_SECONDS = 1
_LIMIT_SECONDS = 60


def mlp(bench: Bench) -> list[Row]:
    """The yardstick is the same model in the same server, in batches of one row."""
    with bench.server(*MLP_MODELS) as server:
        found = [*bench.in_turn("mlp", [_load_of(bench, server, model) for model in MLP_MODELS])]
    file = str(model_file(bench.repository, MLP_MODELS[0]))
    row_ms, batch_ms = (_execution_ms(file, rows) for rows in (1, MLP_ROWS))
    what = f"{CLIENTS} clients over REST"
    rates = [(batched_rate, rate) for (batched_rate, _), (rate, _) in found]
    note = (
        f"batches of up to {MLP_ROWS} rows against batches of one; a bare session takes {row_ms:.2g} ms for a row and "
        f"{batch_ms:.2g} ms for {MLP_ROWS}"
    )
    return [
        ratio_row("mlp", f"throughput, {what}", "rows/s", rates, _TARGET, note),
        Row(
            "mlp",
            f"mean batch, {what}",
            "rows",
            server=Spread.of(counters.mean_batch for (_, counters), _ in found),
            yardstick=Spread.of(counters.mean_batch for _, (_, counters) in found),
        ),
    ]


def _load_of(bench: Bench, server: Child, model: str) -> "partial[tuple[float, Counters]]":
    """The measurement of one of the two models, warmed up."""
    row = np.linspace(-1, 1, MLP_WIDTH, dtype=np.float32).round(3).reshape(1, MLP_WIDTH)
    exchange = rest_json(server.urls["REST"], model, {"INPUT": row})
    bench.load(bench.rest, exchange, CLIENTS, _WARM_UP_SECONDS)
    return partial(_load, bench, server, model, exchange)


def _load(bench: Bench, server: Child, model: str, exchange: RestExchange) -> tuple[float, Counters]:
    before = read_counters(server.urls["REST"], model)
    load = bench.load(bench.rest, exchange, CLIENTS, bench.seconds)
    return load.per_second, read_counters(server.urls["REST"], model) - before


def _execution_ms(file: str, rows: int) -> float:
    module = [sys.executable, "-m", "benchmarks.yardsticks.onnx_loop", file, "1", str(rows)]
    return 1000 / float(run(module, _LIMIT_SECONDS))
