"""Large binary tensors through a model that does nothing: the server's own time."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter_ns

import numpy as np

from benchmarks.bench import Bench
from benchmarks.cases.counters import read_counters
from benchmarks.load.builtin import Exchange
from benchmarks.load.exchange import Array, grpc_raw, rest_binary
from benchmarks.load.sequential import median_ms
from benchmarks.processes import Child
from benchmarks.result import Row, Spread, Target, ratio_row

MEBIBYTE = 2**20
REQUESTS_PER_SECOND = {1: 50, 10: 10}
"""Tensor size in MiB, and how many requests of that size a second of measurement stands for."""

_LIMITS_MS = {1: 1.0, 10: 8.0}
_OF_FLOOR = Target("at most", 1.5)
_COPIES = 20


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
    """One connection, one request at a time. The yardsticks: a bare front end that hands the tensor back, and a process
    that only answers, with the time to copy the tensor once.
    """
    return [row for protocol in _PROTOCOLS for size in _LIMITS_MS for row in _rows(bench, protocol, size)]


def _rows(bench: Bench, protocol: _Protocol, mebibytes: int) -> Iterator[Row]:
    requests = bench.seconds * REQUESTS_PER_SECOND[mebibytes]
    what = f"{mebibytes} MiB over {protocol.name}"

    def ask(process: Child) -> Exchange:
        return protocol.ask(process.urls[protocol.name], "identity", size_inputs(mebibytes))

    # All are new: what malloc keeps for itself after larger requests makes smaller ones faster.
    with ExitStack() as stack:
        server = stack.enter_context(bench.server("identity"))
        bare = stack.enter_context(bench.process(protocol.yardstick, "identity", url=protocol.name))
        size = str(mebibytes * MEBIBYTE)
        trivial = stack.enter_context(
            bench.process("benchmarks.load.trivial", protocol.name.lower(), size, url=protocol.name)
        )
        sides = (
            partial(_over_model_ms, server, ask(server), requests),
            partial(median_ms, ask(bare), requests),
            partial(median_ms, ask(trivial), requests),
            partial(copy_ms, mebibytes * MEBIBYTE),
        )
        found = list(bench.in_turn(f"tensors, {what}", sides))
    over_model = Spread.of(server_ms for server_ms, *_ in found)
    yield Row(
        "tensors",
        f"p50 time over the model, {what}",
        "ms",
        server=over_model,
        yardstick=Spread.of(bare_ms for _, bare_ms, _, _ in found),
        result=over_model,
        result_unit="ms",
        target=Target("at most", _LIMITS_MS[mebibytes]),
        note="as the client sees it, so with the kernel's copies and the client's own work",
    )
    copies_ms = median(copied_ms for *_, copied_ms in found)
    yield ratio_row(
        "tensors",
        f"p50 time over the model, {what}, of sockets and one copy",
        "ms",
        [(server_ms, trivial_ms + copied_ms) for server_ms, _, trivial_ms, copied_ms in found],
        _OF_FLOOR,
        note=f"the yardstick is a process that only answers, and a copy of the tensor: {copies_ms:.2g} ms",
    )


def copy_ms(size_bytes: int) -> float:
    """Median time to copy so many bytes in memory that is in use already."""
    source, target = np.ones(size_bytes, dtype=np.uint8), np.zeros(size_bytes, dtype=np.uint8)
    times_ns = []
    for _ in range(_COPIES):
        start_ns = perf_counter_ns()
        np.copyto(target, source)
        times_ns.append(perf_counter_ns() - start_ns)
    return median(times_ns) / 1e6


def size_inputs(mebibytes: int) -> dict[str, Array]:
    """The input of `identity`, so large."""
    return {"INPUT": np.zeros(mebibytes * MEBIBYTE // 4, dtype=np.float32)}


def _over_model_ms(server: Child, exchange: Exchange, requests: int) -> float:
    """Median time of a request as the client sees it, less the mean time in the model."""
    url = server.urls["REST"]
    before = read_counters(url, "identity")
    p50_ms = median_ms(exchange, requests)
    return p50_ms - (read_counters(url, "identity") - before).model_ms
