"""Priorities under overload: one client of level 1, while 64 clients of level 2 keep the model busy without a pause."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from benchmarks.bench import Bench
from benchmarks.load.builtin import Builtin
from benchmarks.load.exchange import RestExchange, rest_json
from benchmarks.load.generator import Load
from benchmarks.models import LEVELS_MODEL
from benchmarks.processes import Child
from benchmarks.result import Row, Spread, Target, ratio_row

_CLIENTS = 64
_WARM_UP_SECONDS = 1
# The crowd is there before the client is, and after it.
_MARGIN_SECONDS = 1
_TARGET = Target("at most", 0.4)


def priorities(bench: Bench) -> list[Row]:
    """The yardstick is the same client as one of level 2, among the same others."""
    measures: list[tuple[Load, Load]] = []
    rates: list[float] = []
    with bench.server(LEVELS_MODEL) as server:
        bench.load(bench.rest, _exchange(server, 2), _CLIENTS, _WARM_UP_SECONDS)
        levels = [partial(_one_among_many, bench, server, level) for level in (1, 2)]
        for (high, crowd), (low, other_crowd) in bench.in_turn("priorities", levels):
            measures.append((high, low))
            rates += [crowd.per_second, other_crowd.per_second]
    what = f"one client beside {_CLIENTS} of level 2"
    return [
        ratio_row(
            "priorities",
            f"p99, {what}",
            "us",
            [(high.latency.p99_us, low.latency.p99_us) for high, low in measures],
            _TARGET,
            note="as one of level 1 against as one of level 2",
        ),
        ratio_row(
            "priorities",
            f"p50, {what}",
            "us",
            [(high.latency.p50_us, low.latency.p50_us) for high, low in measures],
        ),
        Row("priorities", "throughput of level 2 meanwhile", "requests/s", Spread.of(rates)),
    ]


def _one_among_many(bench: Bench, server: Child, level: int) -> tuple[Load, Load]:
    """What the client and the crowd have seen. Each has a generator of its own, since two cannot share their files."""
    crowd, client = _exchange(server, 2), _exchange(server, level)
    with ThreadPoolExecutor(1) as threads:
        many = threads.submit(bench.load, bench.rest, crowd, _CLIENTS, bench.seconds + 2 * _MARGIN_SECONDS)
        one = Builtin().run(client, 1, bench.seconds)
        return one, many.result()


def _exchange(server: Child, level: int) -> RestExchange:
    row = {"INPUT": np.ones((1, 1), dtype=np.float32)}
    return rest_json(server.urls["REST"], LEVELS_MODEL, row, priority=level)
