"""The same requests by Triton's own load generator, so that what is found does not rest on ours."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import SERVER, Subject, grpc_subject, rest_subject
from benchmarks.cases.transports import CONNECTIONS, connections_text, lines, measure_rounds
from benchmarks.load.generator import Load
from benchmarks.load.perf_analyzer import PerfAnalyzer
from benchmarks.result import Line


def perf_analyzer(bench: Bench, path: Path) -> list[Line]:
    """The server under test."""
    with bench.server("add_sub") as server:
        subjects = {
            "REST": rest_subject(bench, SERVER, server),
            "gRPC": grpc_subject(bench, SERVER, server),
        }
        return perf_analyzer_lines(bench, path, SERVER, "add_sub", subjects, CONNECTIONS)


def perf_analyzer_lines(
    bench: Bench,
    path: Path,
    name: str,
    model: str,
    subjects: dict[str, Subject],
    connections: Sequence[int],
) -> list[Line]:
    """Lines of the table for one server. `subjects`: it, by protocol."""
    found: list[Line] = []
    for protocol, subject in subjects.items():
        loaded = _loaded_by_perf_analyzer(bench, path, protocol, model, subject)
        by_rounds = measure_rounds(bench, f"perf_analyzer, {protocol}", {name: loaded}, connections)
        found += lines(
            protocol, by_rounds, lambda connections: f"{connections_text(connections)}, by perf_analyzer"
        )
    return found


def _loaded_by_perf_analyzer(
    bench: Bench, path: Path, protocol: str, model: str, subject: Subject
) -> Subject:
    """The same server under perf_analyzer's load. It sends more than it counts, so there is no CPU time per request."""
    exchange = subject.exchange
    host, port = exchange.address
    analyzer = PerfAnalyzer(path, bench.directory)

    def run(connections: int, seconds: int) -> Load:
        load = analyzer.run(protocol, f"{host}:{port}", model, connections, seconds)
        bench.note_busy("perf_analyzer", load)
        return load

    return replace(subject, run=run, cpu_seconds=lambda: None)
