"""Models in processes of their own: beside the same handler in the server's process, and beside the real tritonserver.

tritonserver runs its Python models in processes of their own as well. It is measured where `tools/tritonserver.py
install` has been run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import ROW_SHAPE, Subject, add_sub_inputs
from benchmarks.cases.measure import Measured
from benchmarks.cases.tensors import copy_ms
from benchmarks.cases.transports import connections_text, lines, measure_rounds
from benchmarks.load.exchange import Array, GrpcExchange, grpc_raw
from benchmarks.load.sequential import median_ms
from benchmarks.models import write_triton_repository
from benchmarks.processes import Child, tritonserver, tritonserver_installed
from benchmarks.result import Line, Row, Target, ratio_row

_CONNECTIONS = (1, 16)
_KIBIBYTE = 1024
_MEBIBYTE = 1024 * 1024
# Just below what a server takes by default.
_LARGE_BYTES = 64_000_000
_LARGE_REQUESTS_PER_SECOND = 2

_IN_PROCESS, _ISOLATED, _TRITON_MODEL, _TRITON = "in process", "isolated", "Triton's model.py", "tritonserver"

_THROUGHPUT = Target("at least", 1.5)
_CPU = Target("at most", 0.7)


@dataclass(frozen=True, slots=True)
class _Load:
    """One request that is sent to all. `model`: the names of its models begin with that."""

    what: str
    model: str
    inputs: Callable[[], dict[str, Array]]


def _identity(size_bytes: int) -> dict[str, Array]:
    return {"INPUT": np.zeros(size_bytes // 4, dtype=np.float32)}


_LOADS = (
    _Load("add_sub", "add_sub", partial(add_sub_inputs, ROW_SHAPE)),
    _Load("identity, 1 KiB", "identity", partial(_identity, _KIBIBYTE)),
    _Load("identity, 1 MiB", "identity", partial(_identity, _MEBIBYTE)),
)


def isolation(bench: Bench) -> list[Row | Line]:
    """All over gRPC, each server with one model."""
    write_triton_repository(bench.directory / _TRITON)
    found: list[Row | Line] = []
    for load in _LOADS:
        found += _small(bench, load)
    return [*found, *_large(bench)]


def _servers(bench: Bench, model: str) -> Iterator[tuple[str, str, AbstractContextManager[Child]]]:
    """Yield what each is called, the name of its model, and what starts it."""
    for name, suffix in ((_IN_PROCESS, "handler"), (_ISOLATED, "isolated"), (_TRITON_MODEL, "triton")):
        yield name, f"{model}_{suffix}", bench.server(f"{model}_{suffix}")
    if tritonserver_installed():
        served, log = f"{model}_triton", bench.directory / "tritonserver.log"
        yield _TRITON, served, tritonserver(bench.directory / _TRITON, [served], log)


def _small(bench: Bench, load: _Load) -> Iterator[Row | Line]:
    with ExitStack() as stack:
        subjects: dict[str, Subject] = {}
        for name, model, starting in _servers(bench, load.model):
            process = stack.enter_context(starting)
            exchange = grpc_raw(process.urls["gRPC"], model, load.inputs())
            run = partial(bench.load, bench.grpc, exchange)
            subjects[name] = Subject(exchange, run, process.cpu_seconds, lambda: None)
        rounds = measure_rounds(bench, load.what, subjects, _CONNECTIONS)
    yield from lines("gRPC", rounds, lambda connections: f"{load.what}, {connections_text(connections)}")
    for connections, found in rounds.items():
        yield from _rows(load.what, connections, found)


def _rows(what: str, connections: int, found: Sequence[Mapping[str, Measured]]) -> Iterator[Row]:
    yardsticks: list[tuple[str, str, Target | None, Target | None]] = [(_ISOLATED, _IN_PROCESS, None, None)]
    if _TRITON in found[0]:
        yardsticks += [(_TRITON_MODEL, _TRITON, _THROUGHPUT, _CPU)]
    where = f"{what}, {connections_text(connections)}"
    for name, yardstick, throughput, cpu in yardsticks:
        compared = f"{where}, {name} of {yardstick}"
        rates = [(each[name].load.per_second, each[yardstick].load.per_second) for each in found]
        yield ratio_row("isolation", f"throughput, {compared}", "req/s", rates, throughput)
        times = [(each[name].cpu_us or 0.0, each[yardstick].cpu_us or 0.0) for each in found]
        if all(min(pair) > 0 for pair in times):
            yield ratio_row("isolation", f"CPU per request, {compared}", "us", times, cpu)


def _large(bench: Bench) -> Iterator[Row]:
    """One request of 64 MB after the other. The yardsticks: the copies that a border between processes costs."""
    requests = max(bench.seconds * _LARGE_REQUESTS_PER_SECOND, 2)
    with ExitStack() as stack:
        exchanges: dict[str, GrpcExchange] = {}
        for name, model, starting in _servers(bench, "identity"):
            process = stack.enter_context(starting)
            exchanges[name] = grpc_raw(process.urls["gRPC"], model, _identity(_LARGE_BYTES))
        sides = [*(partial(median_ms, exchange, requests) for exchange in exchanges.values())]
        found = [
            dict(zip([*exchanges, "copy"], times, strict=True))
            for times in bench.in_turn("identity, 64 MB", [*sides, partial(copy_ms, _LARGE_BYTES)])
        ]
    note = "the border between the processes costs what isolated takes longer: a copy of the tensor takes {:.2g} ms"
    copied = sorted(times["copy"] for times in found)[len(found) // 2]
    for name, yardstick in ((_ISOLATED, _IN_PROCESS), (_TRITON_MODEL, _TRITON)):
        if yardstick in exchanges:
            pairs = [(times[name], times[yardstick]) for times in found]
            measure = f"p50 time, identity, 64 MB, {name} of {yardstick}"
            yield ratio_row("isolation", measure, "ms", pairs, note=note.format(copied))
