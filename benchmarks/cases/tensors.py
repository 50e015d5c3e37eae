"""Large binary tensors through a model that does nothing: the server's own time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.bench import Bench
from benchmarks.cases.counters import read_counters
from benchmarks.load.builtin import Exchange
from benchmarks.load.exchange import Array, grpc_raw, rest_binary
from benchmarks.load.sequential import median_ms
from benchmarks.processes import Child
from benchmarks.result import Row, Spread, Target

MEBIBYTE = 2**20
REQUESTS_PER_SECOND = {1: 50, 10: 10}
"""Tensor size in MiB, and how many requests of that size a second of measurement stands for."""

_LIMITS_MS = {1: 1.0, 10: 8.0}


@dataclass(frozen=True, slots=True)
class _Protocol:
    """One of the two protocols. `ask`: the exchange with the process at a URL."""

    name: str
    yardstick: str
    ask: Callable[[str, str, dict[str, Array]], Exchange]


_PROTOCOLS = (
    _Protocol("REST", "benchmarks.yardsticks.asgi", rest_binary),
    _Protocol("gRPC", "benchmarks.yardsticks.servicer", grpc_raw),
)


def tensors(bench: Bench) -> list[Row]:
    """One connection, one request at a time; the yardstick is a bare front end that hands the tensor back."""
    rows = [_row(bench, protocol, size) for protocol in _PROTOCOLS for size in _LIMITS_MS]
    return rows + [_floor(bench, size) for size in _LIMITS_MS]


def _row(bench: Bench, protocol: _Protocol, mebibytes: int) -> Row:
    requests = bench.seconds * REQUESTS_PER_SECOND[mebibytes]
    what = f"{mebibytes} MiB over {protocol.name}"

    def ask(process: Child) -> Exchange:
        return protocol.ask(process.urls[protocol.name], "identity", _inputs(mebibytes))

    # Both are new: what malloc keeps for itself after larger requests makes smaller ones faster.
    with (
        bench.server("identity") as server,
        bench.process(protocol.yardstick, "identity", url=protocol.name) as bare,
    ):
        sides = (
            partial(_over_model_ms, server, ask(server), requests),
            partial(median_ms, ask(bare), requests),
        )
        pairs = list(bench.alternate(f"tensors, {what}", *sides))
    over_model = Spread.of(server_ms for server_ms, _ in pairs)
    return Row(
        "tensors",
        f"p50 time over the model, {what}",
        "ms",
        server=over_model,
        yardstick=Spread.of(bare_ms for _, bare_ms in pairs),
        result=over_model,
        result_unit="ms",
        target=Target("at most", _LIMITS_MS[mebibytes]),
        note="as the client sees it, so with the kernel's copies and the client's own work",
    )


def _floor(bench: Bench, mebibytes: int) -> Row:
    """What of the time is the kernel's and the client's: as many bytes with a process that only answers."""
    what = f"{mebibytes} MiB over REST, no work at all"
    requests = bench.seconds * REQUESTS_PER_SECOND[mebibytes]
    size = str(mebibytes * MEBIBYTE)
    with bench.process("benchmarks.load.trivial", "rest", size, url="REST") as trivial:
        exchange = rest_binary(trivial.urls["REST"], "identity", _inputs(mebibytes))
        times_ms = [median_ms(exchange, requests) for _ in bench.each_round(f"tensors, {what}")]
    return Row("tensors", f"p50 time, {what}", "ms", yardstick=Spread.of(times_ms))


def _inputs(mebibytes: int) -> dict[str, Array]:
    return {"INPUT": np.zeros(mebibytes * MEBIBYTE // 4, dtype=np.float32)}


def _over_model_ms(server: Child, exchange: Exchange, requests: int) -> float:
    """Median time of a request as the client sees it, less the mean time in the model."""
    before = read_counters(server, "identity")
    p50_ms = median_ms(exchange, requests)
    return p50_ms - (read_counters(server, "identity") - before).model_ms
