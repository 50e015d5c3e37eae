"""`kserve-v2 stats`: what the models of a running server have done, and what they do."""

import argparse
from collections.abc import Mapping

from kserve_v2.commands.client_options import add_server
from kserve_v2.commands.command import Command
from kserve_v2.commands.numbers import positive_number

_DESCRIPTION = """\
Show how many requests the models of a running server have answered, in what time, and in what batches. With
--watch: how many they answer a second, again and again, until it is interrupted.

  REQUESTS, REQ/S  requests that were answered
  FAILED           requests that were not
  ROWS/EXEC        rows of a batch on average, as it was executed
  LATENCY          of a request in the server, on average, in milliseconds; of that it has waited (QUEUE) and been
                   computed (COMPUTE, with what is done before and behind it); the rest is the server's
  CACHE            of a model with a response cache, the part of the requests that was answered from there

Averages are of the requests since the model was loaded, with --watch of those since the last table.

Exit status: 0, or 1 if the server did not answer or refused, 2 for a wrong command line.
"""

_EXAMPLES = """\
examples:
  All models since they were loaded:
    kserve-v2 stats
  One model, every two seconds:
    kserve-v2 stats digits_onnx --watch
  Ten times, half a second apart, for a file:
    kserve-v2 stats --watch 0.5 --count 10 > stats.txt
  The counters as the protocol has them:
    kserve-v2 stats digits_onnx --json | jq '.[0].inference_stats.queue'
"""


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", default="", help="Only this model.")
    parser.add_argument(
        "--watch",
        nargs="?",
        type=_interval,
        const=2.0,
        metavar="SECS",
        help="Rates, every so many seconds, until it is interrupted. [default 2]",
    )
    parser.add_argument(
        "--count", type=positive_number, metavar="N", help="With --watch: so many tables. [default: no end]"
    )
    parser.add_argument("--json", action="store_true", help="The counters as JSON, in the protocol's form.")
    add_server(parser)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0.05 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"expected seconds from 0.05 on, got {text!r}")
    return seconds


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from kserve_v2.commands.asking.stats import run  # noqa: PLC0415 - large

    return run(namespace, environ)


COMMAND = Command(
    "stats",
    "show what the models of a running server do: rates, latencies, batches",
    "[MODEL] [options]",
    _DESCRIPTION,
    _EXAMPLES,
    _add,
    _run,
)
