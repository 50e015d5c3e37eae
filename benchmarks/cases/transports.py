"""REST and gRPC: add_sub through the server, and through the bare front ends that call the model in place."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.bench import Bench
from benchmarks.load.exchange import Array, check_grpc_raw, check_rest_json, grpc_raw, rest_json
from benchmarks.load.generator import Load
from benchmarks.models import model_file
from benchmarks.processes import Child
from benchmarks.result import Row, Target, ratio_row

CONNECTIONS = (1, 16, 64)

INPUTS: dict[str, Array] = {
    "INPUT0": np.arange(16, dtype=np.int32).reshape(1, 16),
    "INPUT1": np.full((1, 16), 3, dtype=np.int32),
}
_OUTPUTS: dict[str, Array] = {
    "OUTPUT0": np.arange(3, 19, dtype=np.int32).reshape(1, 16),
    "OUTPUT1": np.arange(-3, 13, dtype=np.int32).reshape(1, 16),
}
_WARM_UP_SECONDS = 1

Run = Callable[[int, int], Load]
"""Loads one process over a number of connections for some seconds."""


@dataclass(frozen=True, slots=True)
class _Side:
    """One measurement of the server or of the yardstick. `cpu_us`: CPU time per request, if known."""

    load: Load
    cpu_us: float | None


def rest(bench: Bench) -> list[Row]:
    """JSON over HTTP/1.1."""

    def runs(process: Child) -> Run:
        exchange = rest_json(process.urls["REST"], "add_sub", INPUTS)
        check_rest_json(exchange, _OUTPUTS)
        return partial(bench.load, bench.rest, exchange)

    file = str(model_file(bench.repository, "add_sub"))
    with (
        bench.server("add_sub") as server,
        bench.process("benchmarks.yardsticks.asgi", "add_sub", file, url="REST") as bare,
    ):
        sides = _measure(bench, "rest", (server, runs(server)), (bare, runs(bare)))
    throughput = dict.fromkeys((16, 64), Target("at least", 0.70))
    return [*_rows("rest", sides, throughput, latency={1: Target("at most", 1.6)})]


def grpc(bench: Bench) -> list[Row]:
    """Raw contents over gRPC."""

    def runs(process: Child) -> Run:
        exchange = grpc_raw(process.urls["gRPC"], "add_sub", INPUTS)
        check_grpc_raw(exchange, _OUTPUTS)
        return partial(bench.load, bench.grpc, exchange)

    file = str(model_file(bench.repository, "add_sub"))
    with (
        bench.server("add_sub") as server,
        bench.process("benchmarks.yardsticks.servicer", "add_sub", file, url="gRPC") as bare,
    ):
        sides = _measure(bench, "grpc", (server, runs(server)), (bare, runs(bare)))
    return [
        *_rows("grpc", sides, throughput=dict.fromkeys(CONNECTIONS, Target("at least", 0.85)), latency={})
    ]


def _measure(
    bench: Bench, case: str, server: tuple[Child, Run], bare: tuple[Child, Run]
) -> dict[int, list[tuple[_Side, _Side]]]:
    """Server and yardstick by number of connections, one pair a round."""
    for _, run in (server, bare):
        run(max(CONNECTIONS), _WARM_UP_SECONDS)
    return {
        connections: [
            *bench.alternate(
                f"{case}, {connections} connections",
                partial(_side, *server, connections, bench.seconds),
                partial(_side, *bare, connections, bench.seconds),
            )
        ]
        for connections in CONNECTIONS
    }


def _side(process: Child, run: Run, connections: int, seconds: int) -> _Side:
    before = process.cpu_seconds()
    load = run(connections, seconds)
    after = process.cpu_seconds()
    if before is None or after is None:
        return _Side(load, None)
    return _Side(load, (after - before) * 1e6 / load.requests)


def _rows(
    case: str,
    sides: Mapping[int, list[tuple[_Side, _Side]]],
    throughput: Mapping[int, Target],
    latency: Mapping[int, Target],
) -> Iterator[Row]:
    for connections, pairs in sides.items():
        where = f"{connections} connection{'s' if connections > 1 else ''}"
        rates = [(server.load.per_second, bare.load.per_second) for server, bare in pairs]
        yield ratio_row(case, f"throughput, {where}", "req/s", rates, throughput.get(connections))
        times = [(server.load.p50_us, bare.load.p50_us) for server, bare in pairs]
        yield ratio_row(case, f"p50 latency, {where}", "us", times, latency.get(connections))
        cpu = [(server.cpu_us, bare.cpu_us) for server, bare in pairs]
        yield from _cpu_row(case, where, cpu)


def _cpu_row(case: str, where: str, cpu: list[tuple[float | None, float | None]]) -> Iterator[Row]:
    known = [(server, bare) for server, bare in cpu if server is not None and bare is not None]
    if known:
        yield ratio_row(case, f"CPU per request, {where}", "us", known)
