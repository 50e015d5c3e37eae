"""`python -m benchmarks versions`: this version of the server and another one, measured in turn."""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import models
from benchmarks.bench import Bench
from benchmarks.cases.add_sub import SERVER, grpc_subject, rest_subject, stream_subject
from benchmarks.cases.tensors import REQUESTS_PER_SECOND, size_inputs
from benchmarks.cases.transports import (
    CONNECTIONS,
    UNDER_WAY,
    cpu,
    measure_rounds,
    throughput,
    under_way_text,
)
from benchmarks.load.exchange import grpc_raw, rest_binary
from benchmarks.load.sequential import median_ms
from benchmarks.options import add_measuring_options, make_bench, set_measuring_defaults
from benchmarks.processes import Child, serve
from benchmarks.report import machine_facts, run_facts, text_report
from benchmarks.result import Row, ratio_row

_OTHER = "the other version"
_MEBIBYTES = 1


def main(argv: Sequence[str]) -> int:
    """Measure, and print the ratios. Returns the exit status."""
    options = _options(argv)
    with tempfile.TemporaryDirectory(prefix="kserve-v2-benchmarks-") as directory:
        bench = make_bench(Path(directory), options)
        models.write_repository(bench.repository)
        found: list[Row] = []
        status = 0
        try:
            found.extend(_measure(bench, str(options.other)))
        except (RuntimeError, OSError, LookupError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
    if found:
        print(text_report(found, [], {**machine_facts(), **run_facts(bench)}))
    return status


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks versions",
        description="Load this version of the server and another one in turn: add_sub over REST, gRPC and on a stream, "
        "and a tensor of 1 MiB through a model that returns its input. Exit status: 0, or 2 if a measurement failed.",
    )
    parser.add_argument(
        "--other", type=Path, required=True, metavar="PYTHON",
        help="the interpreter of an environment in which the other version is installed, such as .venv/bin/python of "
        "another clone",
    )  # fmt: skip
    add_measuring_options(parser)
    options = parser.parse_args(argv)
    if options.perf_analyzer:
        parser.error("--perf-analyzer: not for comparing versions")
    if not options.other.is_file():
        parser.error(f"--other {options.other}: no such file")
    set_measuring_defaults(options)
    return options


def _measure(bench: Bench, other: str) -> Iterator[Row]:
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(
                serve(
                    bench.repository, ["add_sub", "identity"], bench.directory / f"{python_name}.log", python
                )
            )
            for name, python_name, python in ((SERVER, "this", sys.executable), (_OTHER, "other", other))
        }
        rest = {name: rest_subject(bench, name, process) for name, process in processes.items()}
        grpc = {name: grpc_subject(bench, name, process) for name, process in processes.items()}
        stream = {name: stream_subject(bench, name, process) for name, process in processes.items()}
        for case, subjects in (("rest", rest), ("grpc", grpc)):
            rounds = measure_rounds(bench, case, subjects, CONNECTIONS)
            yield from throughput(case, rounds, _OTHER, {})
            yield from cpu(case, rounds, _OTHER, {})
        rounds = measure_rounds(bench, "stream", stream, UNDER_WAY, under_way_text)
        yield from throughput("stream", rounds, _OTHER, {}, under_way_text)
        yield from cpu("stream", rounds, _OTHER, {}, under_way_text)
        yield from _tensors(bench, processes)


def _tensors(bench: Bench, processes: Mapping[str, Child]) -> Iterator[Row]:
    requests = bench.seconds * REQUESTS_PER_SECOND[_MEBIBYTES]
    for protocol, ask in (("REST", rest_binary), ("gRPC", grpc_raw)):
        sides = [
            partial(median_ms, ask(process.urls[protocol], "identity", size_inputs(_MEBIBYTES)), requests)
            for process in processes.values()
        ]
        pairs = [(ours, theirs) for ours, theirs in bench.in_turn(f"1 MiB over {protocol}", sides)]
        yield ratio_row("tensors", f"p50 time, 1 MiB over {protocol}, over {_OTHER}", "ms", pairs)
