"""The command: `python -m benchmarks`."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import grpc as grpcio

from benchmarks import models, peer, versions
from benchmarks.bench import Bench
from benchmarks.cases.batching import batching
from benchmarks.cases.cache import cache
from benchmarks.cases.cnn import cnn
from benchmarks.cases.ensemble import ensemble
from benchmarks.cases.generators import generators
from benchmarks.cases.isolation import isolation
from benchmarks.cases.latency_budget import latency_budget
from benchmarks.cases.mlp import mlp
from benchmarks.cases.open_loop import open_loop
from benchmarks.cases.payloads import payloads
from benchmarks.cases.perf_analyzer import perf_analyzer
from benchmarks.cases.priorities import priorities
from benchmarks.cases.sequences import sequences
from benchmarks.cases.tensors import tensors
from benchmarks.cases.texts import texts
from benchmarks.cases.transports import grpc, rest, stream
from benchmarks.cases.varied import floats_grpc, floats_rest, varied_grpc, varied_rest
from benchmarks.options import add_measuring_options, make_bench, set_measuring_defaults
from benchmarks.plot import svg
from benchmarks.report import machine_facts, markdown_report, run_facts, text_report
from benchmarks.result import Line, Row

Case = Callable[[Bench], Sequence[Row | Line]]

CASES: Mapping[str, Case] = {
    "rest": rest,
    "grpc": grpc,
    "stream": stream,
    "varied_rest": varied_rest,
    "varied_grpc": varied_grpc,
    "floats_rest": floats_rest,
    "floats_grpc": floats_grpc,
    "open_loop": open_loop,
    "mlp": mlp,
    "batching": batching,
    "priorities": priorities,
    "sequences": sequences,
    "latency_budget": latency_budget,
    "texts": texts,
    "tensors": tensors,
    "cnn": cnn,
    "cache": cache,
    "ensemble": ensemble,
    "isolation": isolation,
    "payloads": payloads,
    "generators": generators,
}

_RESULTS = Path(__file__).with_name("RESULTS.md")
_PLOT = Path(__file__).with_name("results.svg")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and report. Returns the exit status."""
    # As after Ctrl-C, every process is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["peer"]:
        return peer.main(arguments[1:])
    if arguments[:1] == ["versions"]:
        return versions.main(arguments[1:])
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="kserve-v2-benchmarks-") as directory:
        bench = make_bench(Path(directory), options)
        models.write_repository(bench.repository)
        return _run(bench, _cases(options), write=options.write)


def _run(bench: Bench, cases: Mapping[str, Case], *, write: bool) -> int:
    """Run the cases, and report. One that fails does not take the others with it."""
    rows: list[Row] = []
    lines: list[Line] = []
    facts: dict[str, str] = {}
    failures: dict[str, str] = {}
    start = time.monotonic()
    # Before anything is written, which would make the commit a dirty one.
    machine = machine_facts()
    for name, case in cases.items():
        try:
            found = case(bench)
        except (RuntimeError, OSError, ValueError, LookupError, ArithmeticError, grpcio.RpcError) as error:
            failures[f"Failed: {name}"] = str(error).partition("\n")[0]
            print(f"error: {name}: {error}", file=sys.stderr)
            continue
        finally:
            minutes = {"Took": f"{(time.monotonic() - start) / 60:.1f} minutes"}
            facts = {**machine, **run_facts(bench), **minutes, **failures}
        rows += [row for row in found if isinstance(row, Row)]
        lines += [line for line in found if isinstance(line, Line)]
        if write:
            # After each case: what was measured is not lost with the next.
            _RESULTS.write_text(markdown_report(rows, lines, facts, _PLOT.name), encoding="utf-8")
            _PLOT.write_text(svg(rows, lines), encoding="utf-8")
    print(text_report(rows, lines, facts))
    if failures:
        return 2
    met = [row.target.met(row.result.median) for row in rows if row.target and row.result]
    return 0 if all(met) else 1


def _options(argv: Sequence[str]) -> argparse.Namespace:
    cases = ", ".join(CASES)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the server against yardsticks that do the same work with nothing in between.",
        epilog="Exit status: 0 if all targets are met, 1 if one is missed, 2 if a measurement failed. "
        "`python -m benchmarks peer --help` tells of measuring another server, `python -m benchmarks versions --help` "
        "of another version.",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=CASES,
        metavar="CASE",
        default=[*CASES],
        help=f"of {cases} (default: all)",
    )
    add_measuring_options(parser)
    parser.add_argument(
        "--write", action="store_true", help=f"write {_RESULTS.name} and {_PLOT.name} beside this program"
    )
    options = parser.parse_args(argv)
    if options.quick and options.write:
        parser.error("--write: the numbers of --quick are not worth writing down")
    set_measuring_defaults(options)
    return options


def _cases(options: argparse.Namespace) -> dict[str, Case]:
    cases = {name: CASES[name] for name in options.only}
    if options.perf_analyzer:
        cases["perf_analyzer"] = partial(perf_analyzer, path=options.perf_analyzer)
    return cases


if __name__ == "__main__":
    sys.exit(main())
