"""A CPU-bound convolutional network on one thread: what the server takes away from the model."""

import sys

import numpy as np

from benchmarks.bench import Bench
from benchmarks.load.exchange import rest_binary
from benchmarks.models import IMAGE_SHAPE, model_file
from benchmarks.processes import run
from benchmarks.result import Row, Target, ratio_row

# Enough that a request always waits while another is executed, so that the instance is never idle.
CONNECTIONS = 4

_WARM_UP_SECONDS = 1
_LIMIT_SECONDS = 60


def cnn(bench: Bench) -> list[Row]:
    """One instance, one thread, one row at a time on both sides; the yardstick is a loop over the session."""
    file = str(model_file(bench.repository, "cnn"))
    with bench.server("cnn") as server:
        exchange = rest_binary(server.urls["REST"], "cnn", {"image": np.zeros(IMAGE_SHAPE, dtype=np.float32)})
        bench.load(bench.rest, exchange, CONNECTIONS, _WARM_UP_SECONDS)
        module = [sys.executable, "-m", "benchmarks.yardsticks.onnx_loop", file, str(bench.seconds)]
        sides = (
            lambda: bench.load(bench.rest, exchange, CONNECTIONS, bench.seconds).per_second,
            lambda: float(run(module, bench.seconds + _LIMIT_SECONDS)),
        )
        pairs = [(served, looped) for served, looped in bench.in_turn("cnn", sides)]
        target = Target("at least", 0.95)
        return [ratio_row("cnn", f"throughput, {CONNECTIONS} connections", "req/s", pairs, target)]
