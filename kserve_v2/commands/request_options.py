"""What requests are made from, for the commands that load a model."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kserve_v2.commands.command import CommandError, UsageError
from kserve_v2.commands.numbers import positive_number


def add_request(parser: argparse.ArgumentParser, *value_options: str) -> None:
    """The options that say what is sent. `value_options`: how those for values of inputs are called."""
    group = parser.add_argument_group("Requests")
    group.add_argument(
        "--request",
        type=Path,
        metavar="FILE",
        help="What is sent: a request in JSON as /v2/models/M/infer takes it, such as a model's sample_request.json; "
        "or "
        "several, as a list or one a line, which are sent in turn.",
    )
    group.add_argument(
        *value_options,
        dest="values",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="Value of an input: JSON, a text, or @FILE (.npy is an array; any other file is the bytes of one "
        "element); the "
        "other inputs are made up. May be repeated.",
    )
    group.add_argument(
        "--shape",
        metavar="NAME:N,...",
        action="append",
        default=[],
        help="Shape of a made up input where it varies, without the batch dimension. May be repeated.",
    )
    group.add_argument(
        "--batch", type=positive_number, default=1, metavar="N", help="Rows of a made up request. [default 1]"
    )
    group.add_argument(
        "--vary",
        choices=("values", "ids", "nothing"),
        default="values",
        help="What differs between requests: made up values and ids; ids alone; or nothing, which tells how fast a "
        "server is "
        "that is asked the same thing again and again. [default values]",
    )
    group.add_argument(
        "--json-tensors",
        action="store_true",
        help="Over REST, send made up tensors as JSON, as requests of --request are, not as binary data.",
    )


@contextmanager
def measuring() -> Iterator[None]:
    """What a measurement inside the block raises, a person gets to read: raises CommandError, UsageError."""
    # Imported here, so that --help does not wait for it.
    from kserve_v2.bench.errors import BenchError, BenchUsageError  # noqa: PLC0415

    try:
        yield
    except BenchUsageError as error:
        raise UsageError(str(error)) from None
    except BenchError as error:
        raise CommandError(str(error)) from None
