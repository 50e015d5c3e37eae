"""Options that all commands have, and what is made of them."""

import argparse
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.load.available import grpc_generator, rest_generator

SECONDS, ROUNDS = 3, 5
_QUICK_SECONDS, _QUICK_ROUNDS = 1, 2


def add_measuring_options(parser: argparse.ArgumentParser) -> None:
    """How long, how often, and by what."""
    parser.add_argument(
        "--quick", action="store_true", help="2 rounds of 1 second: shows that it works, no more"
    )
    parser.add_argument("--seconds", type=positive, help=f"length of one measurement (default: {SECONDS})")
    parser.add_argument(
        "--rounds", type=positive, help=f"how often each is measured in turn (default: {ROUNDS})"
    )
    parser.add_argument(
        "--builtin-generator", action="store_true", help="do not use wrk and h2load where they are installed"
    )
    parser.add_argument(
        "--perf-analyzer", type=_program, metavar="PATH", help="measure with this program too"
    )


def set_measuring_defaults(options: argparse.Namespace) -> None:
    """Fill in what was not given."""
    options.seconds = options.seconds or (_QUICK_SECONDS if options.quick else SECONDS)
    options.rounds = options.rounds or (_QUICK_ROUNDS if options.quick else ROUNDS)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _program(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text}: no such file")
    return path


def make_bench(directory: Path, options: argparse.Namespace) -> Bench:
    """What every case gets; `directory` is for its files."""
    return Bench(
        directory,
        options.seconds,
        options.rounds,
        rest_generator(directory, builtin=options.builtin_generator),
        grpc_generator(directory, builtin=options.builtin_generator),
    )
