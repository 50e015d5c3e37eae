"""The command: `python -m benchmarks`."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import models
from benchmarks.bench import Bench
from benchmarks.cases.batching import batching
from benchmarks.cases.cnn import cnn
from benchmarks.cases.generators import generators
from benchmarks.cases.payloads import payloads
from benchmarks.cases.tensors import tensors
from benchmarks.cases.transports import grpc, rest
from benchmarks.load.available import grpc_generator, rest_generator
from benchmarks.plot import svg
from benchmarks.report import machine_facts, markdown_report, text_report
from benchmarks.result import Row

CASES: Mapping[str, Callable[[Bench], list[Row]]] = {
    "generators": generators,
    "rest": rest,
    "grpc": grpc,
    "batching": batching,
    "cnn": cnn,
    "tensors": tensors,
    "payloads": payloads,
}

_RESULTS = Path(__file__).with_name("RESULTS.md")
_PLOT = Path(__file__).with_name("results.svg")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and report. Returns the exit status."""
    options = _options(argv)
    # As after Ctrl-C, every process is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="kserve-v2-benchmarks-") as directory:
        bench = _bench(Path(directory), options)
        models.write_repository(bench.repository)
        try:
            rows = [row for name in options.only for row in CASES[name](bench)]
        except RuntimeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    facts = {**machine_facts(), **_run_facts(bench)}
    print(text_report(rows, facts))
    if options.write:
        _RESULTS.write_text(markdown_report(rows, facts, _PLOT.name), encoding="utf-8")
        _PLOT.write_text(svg(rows), encoding="utf-8")
    met = [row.target.met(row.result.median) for row in rows if row.target and row.result]
    return 0 if all(met) else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    cases = ", ".join(CASES)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the server against yardsticks that do the same work with nothing in between.",
        epilog="Exit status: 0 if all targets are met, 1 if one is missed, 2 if a measurement failed.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="2 rounds of 1 second: shows that it works, no more"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=CASES,
        metavar="CASE",
        default=[*CASES],
        help=f"of {cases} (default: all)",
    )
    parser.add_argument("--seconds", type=_positive, help="length of one measurement (default: 5)")
    parser.add_argument("--rounds", type=_positive, help="how often each is measured in turn (default: 5)")
    parser.add_argument(
        "--builtin-generator", action="store_true", help="do not use wrk and h2load where they are installed"
    )
    parser.add_argument(
        "--write", action="store_true", help=f"write {_RESULTS.name} and {_PLOT.name} beside this program"
    )
    options = parser.parse_args(argv)
    if options.quick and options.write:
        parser.error("--write: the numbers of --quick are not worth writing down")
    options.seconds = options.seconds or (1 if options.quick else 5)
    options.rounds = options.rounds or (2 if options.quick else 5)
    return options


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _bench(directory: Path, options: argparse.Namespace) -> Bench:
    return Bench(
        directory,
        options.seconds,
        options.rounds,
        rest_generator(directory, builtin=options.builtin_generator),
        grpc_generator(directory, builtin=options.builtin_generator),
    )


def _run_facts(bench: Bench) -> dict[str, str]:
    """How it was measured, and whether the load generators had time to spare."""
    busy = ", ".join(f"{name} {busy:.0%} of one CPU" for name, busy in bench.busiest.items())
    return {
        "Measured": f"{bench.rounds} rounds of {bench.seconds} s; median (lowest to highest)",
        "Load generators": f"{bench.rest.name} for REST, {bench.grpc.name} for gRPC",
        "Busiest that a generator was": busy or "not used",
    }


if __name__ == "__main__":
    sys.exit(main())
