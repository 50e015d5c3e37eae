"""Large payloads through a model that does nothing: what decoding and encoding them costs the server.

One connection, one request at a time. The number of interest is the CPU time of the server's process per request.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks.bench import Bench
from benchmarks.load.exchange import Array, RestExchange, rest_binary, rest_json, rest_strings
from benchmarks.load.sequential import WARM_UP_REQUESTS, median_ms
from benchmarks.processes import Child
from benchmarks.result import Row, Spread

NUMBERS = 1_000_000
STRINGS = 10_000
_REQUESTS_PER_SECOND = 4


def payloads(bench: Bench) -> list[Row]:
    """A million numbers in JSON and in binary, ten thousand strings; all in and out."""
    numbers: dict[str, Array] = {"INPUT": np.random.default_rng(1).random(NUMBERS, dtype=np.float32)}
    strings = [f"text number {number}" for number in range(STRINGS)]
    exchanges: dict[str, Callable[[str], RestExchange]] = {
        f"{NUMBERS:,} FP32 as JSON": partial(_ask, rest_json, "identity", numbers),
        f"{NUMBERS:,} FP32 as binary": partial(_ask, rest_binary, "identity", numbers),
        f"{STRINGS:,} strings as JSON": lambda url: rest_strings(url, "identity_text", strings),
    }
    with bench.server("identity", "identity_text") as server:
        return [row for what, exchange in exchanges.items() for row in _rows(bench, server, what, exchange)]


def _ask(
    make: Callable[[str, str, dict[str, Array]], RestExchange], model: str, inputs: dict[str, Array], url: str
) -> RestExchange:
    return make(url, model, inputs)


def _rows(bench: Bench, server: Child, what: str, exchange: Callable[[str], RestExchange]) -> Iterator[Row]:
    asked = exchange(server.urls["REST"])
    requests = bench.seconds * _REQUESTS_PER_SECOND
    measured = [_measure(server, asked, requests) for _ in bench.each_round(f"payloads, {what}")]
    yield Row("payloads", f"p50 time, {what}", "ms", server=Spread.of(p50_ms for p50_ms, _ in measured))
    known = [cpu_ms for _, cpu_ms in measured if cpu_ms is not None]
    if known:
        yield Row("payloads", f"CPU per request, {what}", "ms", server=Spread.of(known))


def _measure(server: Child, exchange: RestExchange, requests: int) -> tuple[float, float | None]:
    """Median time of a request, and CPU time of the server per request where the system tells."""
    before = server.cpu_seconds()
    p50_ms = median_ms(exchange, requests)
    after = server.cpu_seconds()
    if before is None or after is None:
        return p50_ms, None
    return p50_ms, (after - before) * 1000 / (requests + WARM_UP_REQUESTS)
