"""`python -m benchmarks peer`: the closed-loop table for a v2 server that runs already, whatever it is."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.error import URLError

from benchmarks.bench import Bench
from benchmarks.cases.add_sub import Subject, grpc_add_sub, input_shape, rest_add_sub
from benchmarks.cases.counters import Counters, read_counters
from benchmarks.cases.perf_analyzer import perf_analyzer_lines
from benchmarks.cases.transports import CONNECTIONS, lines, measure_rounds
from benchmarks.options import add_measuring_options, make_bench, positive, set_measuring_defaults
from benchmarks.processes import Child
from benchmarks.report import machine_facts, run_facts, text_report
from benchmarks.result import Line


def main(argv: Sequence[str]) -> int:
    """Measure, and print the table. Returns the exit status."""
    options = _options(argv)
    with tempfile.TemporaryDirectory(prefix="kserve-v2-benchmarks-") as directory:
        bench = make_bench(Path(directory), options)
        found: list[Line] = []
        status = 0
        try:
            found.extend(_measure(bench, options))
        except (RuntimeError, OSError, LookupError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
    if found:
        print(text_report([], found, {**machine_facts(), **run_facts(bench)}))
    return status


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks peer",
        description="Load a model of a running v2 server: two inputs INPUT0 and INPUT1, INT32 [16], whose sum and "
        "difference are OUTPUT0 and OUTPUT1. Exit status: 0, or 2 if a measurement failed.",
    )
    parser.add_argument("--rest", required=True, metavar="URL", help="such as http://127.0.0.1:8000")
    parser.add_argument("--grpc", metavar="HOST:PORT", help="such as 127.0.0.1:8001 (default: REST alone)")
    parser.add_argument("--model", default="add_sub", help="(default: add_sub)")
    parser.add_argument("--name", default="peer", help="what the table calls the server (default: peer)")
    parser.add_argument(
        "--pid", type=positive, help="process id of a server on this machine, for CPU time per request"
    )
    parser.add_argument(
        "--connections", type=positive, nargs="+", default=CONNECTIONS, metavar="N", help="(default: 1 16 64)"
    )
    add_measuring_options(parser)
    options = parser.parse_args(argv)
    set_measuring_defaults(options)
    options.rest = options.rest.rstrip("/")
    return options


def _measure(bench: Bench, options: argparse.Namespace) -> Iterator[Line]:
    subjects = _subjects(bench, options)
    for protocol, subject in subjects.items():
        rounds = measure_rounds(bench, protocol, {options.name: subject}, options.connections)
        yield from lines(protocol, rounds)
    if options.perf_analyzer:
        yield from perf_analyzer_lines(
            bench, options.perf_analyzer, options.name, options.model, subjects, options.connections
        )


def _subjects(bench: Bench, options: argparse.Namespace) -> dict[str, Subject]:
    """The server by protocol."""
    shape = input_shape(options.rest, options.model)
    rest = rest_add_sub(options.rest, options.model, shape)
    cpu_seconds = Child(options.pid, {}).cpu_seconds if options.pid else lambda: None
    counters = _counters(options.rest, options.model)
    subjects = {"REST": Subject(rest, partial(bench.load, bench.rest, rest), cpu_seconds, counters)}
    if options.grpc:
        grpc = grpc_add_sub(options.grpc, options.model, shape)
        subjects["gRPC"] = Subject(grpc, partial(bench.load, bench.grpc, grpc), cpu_seconds, counters)
    return subjects


def _counters(url: str, model: str) -> Callable[[], Counters | None]:
    """The model's statistics, for servers that have the extension."""
    try:
        read_counters(url, model)
    except (URLError, LookupError, ValueError):
        return lambda: None
    return partial(read_counters, url, model)
