"""`kserve-v2 analyze`: searches the configuration that suits a model, by measuring."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from kserve_v2.commands.command import Command, UsageError
from kserve_v2.commands.looking_options import look
from kserve_v2.commands.numbers import number_above_zero, positive_number
from kserve_v2.commands.request_options import add_request, measuring
from kserve_v2.settings import flags
from kserve_v2.settings.settings import Settings

_DESCRIPTION = """\
Find the configuration with which a model answers most, and 99 of 100 requests within a latency budget, by measuring: a
server is started on free ports, the model is loaded with one configuration after the other, and each is loaded with 1,
2, 4, ... clients. Nothing in the repository is changed unless --write is given. MODEL_DIR is the model's directory, in
place of REPO and MODEL. Options of serve hold for the server that is started.

What is tried: max_batch_size (powers of two, from the current one up), the delay of batches, instances, and the threads
of an operator where the backend has that parameter; one field after the other, from the current configuration outward,
keeping what is better by more than 5 %, until nothing changes any more or --minutes are over. In the end the best one
and the current one are measured in turn, three to five times. The current one stays unless the other one was better
every time, and by 3 % or more: what is within the noise is no reason for a change.

The configuration that won is printed, or written with --write: with all other fields and comments as they are, and the
old file beside it, as config.pbtxt.before.

Exit status: 0 if it was measured, whatever came of it, 1 if it could not be, 2 for a wrong command line.
"""

_EXAMPLES = """\
examples:
  The most that digits_onnx does with 99 of 100 answers within 20 ms:
    kserve-v2 analyze model_repository digits_onnx --latency-budget 20ms
  Of a model's directory, for at most two minutes, and write down what won:
    kserve-v2 analyze model_repository/add_sub --latency-budget 5ms --minutes 2 --write
  With a request of your own, as a page with the frontier of throughput and latency:
    kserve-v2 analyze model_repository intent --request request.json --latency-budget 50ms --html analysis.html
  Only these sizes and counts:
    kserve-v2 analyze model_repository digits_onnx --latency-budget 20ms --batch-sizes 16,32 --instances 1,2
"""


def _add(parser: argparse.ArgumentParser) -> None:
    _add_search(parser.add_argument_group("Analyze"))
    # `serve` has an --input of its own, which says what a file takes.
    add_request(parser, "--value")
    output = parser.add_argument_group("Output")
    output.add_argument(
        "--write",
        action="store_true",
        help="Write the configuration that won to the model's config.pbtxt; the old one is kept as "
        "config.pbtxt.before.",
    )
    output.add_argument("--json", action="store_true", help="Print JSON in place of the table.")
    output.add_argument(
        "--html", type=Path, metavar="FILE", help="Write a page with the frontier, which loads nothing else."
    )
    output.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="Write the chart as .png, .svg or .pdf. Needs matplotlib (pip install matplotlib).",
    )
    output.add_argument("--quiet", action="store_true", help="Say nothing while it is measured.")
    flags.add_flags(parser)


def _add_search(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--latency-budget",
        type=milliseconds,
        metavar="TIME",
        help="How long 99 of 100 requests may take, as in 20ms, 0.5s or 800us. [default: there is none, and the "
        "highest "
        "throughput wins]",
    )
    group.add_argument(
        "--minutes",
        type=number_above_zero,
        default=5.0,
        metavar="N",
        help="How long to search; the last comparison is made in any case. [default 5]",
    )
    group.add_argument(
        "--round",
        type=number_above_zero,
        default=0.5,
        metavar="S",
        help="Seconds of one measurement. [default 0.5]",
    )
    group.add_argument(
        "--max-concurrency",
        type=positive_number,
        default=64,
        metavar="N",
        help="The most clients at a time. [default 64]",
    )
    group.add_argument(
        "--protocol", choices=("rest", "grpc"), default="rest", help="Of the requests. [default rest]"
    )
    for option, what in (
        ("--batch-sizes", "max_batch_size"),
        ("--delays-us", "max_queue_delay_microseconds"),
        ("--instances", "the number of instances"),
        ("--threads", "the threads of an operator"),
    ):
        group.add_argument(
            option, type=_numbers, metavar="N,...", help=f"Values of {what} to try. [default: see above]"
        )


def milliseconds(text: str) -> float:
    """A time with its unit."""
    for unit, factor in (("ms", 1.0), ("us", 0.001), ("s", 1000.0)):
        if text.endswith(unit):
            return number_above_zero(text.removesuffix(unit)) * factor
    raise argparse.ArgumentTypeError(f"expected a time with its unit, as in 20ms or 0.5s, got {text!r}")


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected whole numbers, separated by commas, got {text!r}")
    return [int(part) for part in parts]


def take_model(namespace: argparse.Namespace) -> str:
    """The model's name; its repository becomes that of the command line. Raises UsageError."""
    operands: list[str] = namespace.operands
    if len(operands) == 2 and "model_repository" not in namespace:
        namespace.model_repository = [operands[0]]
        return operands[1]
    if len(operands) == 1 and "model_repository" in namespace:
        return operands[0]
    if len(operands) != 1:
        raise UsageError(
            "expected a repository and a model, or a model's directory (see kserve-v2 analyze --help)"
        )
    directory = Path(operands[0]).resolve()
    if not directory.is_dir():
        raise UsageError(f"{operands[0]!r} is no directory: expected REPO MODEL, or a model's directory")
    namespace.model_repository = [str(directory.parent)]
    return directory.name


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    model = take_model(namespace)

    def analyze(settings: Settings) -> int:
        # Imported here, so that --help does not wait for numpy.
        from kserve_v2.commands.looking import analyze  # noqa: PLC0415

        with measuring():
            return analyze.run(settings, namespace, model)

    return look(namespace, environ, analyze)


COMMAND = Command(
    "analyze",
    "find the configuration that suits a model, by measuring",
    "REPO MODEL | MODEL_DIR [options] [options of serve]",
    _DESCRIPTION,
    _EXAMPLES,
    _add,
    _run,
    operands=True,
)
