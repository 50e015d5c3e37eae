"""`kserve-v2 bench`: loads a model on a running server, and says how fast it answers."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from kserve_v2.commands.client_options import URL_VARIABLE
from kserve_v2.commands.command import Command
from kserve_v2.commands.numbers import number_above_zero, number_or_zero, positive_number
from kserve_v2.commands.output import say, tell
from kserve_v2.commands.request_options import add_request, measuring

_DESCRIPTION = """\
Load a model on a running server (ours, or any other one of the v2 protocol), and report throughput, latencies from p50
to p99.9, errors by reason, the sizes of executed batches, where the time goes, and the server's CPU time for a request.

Closed loop (--concurrency): so many clients, each of which waits for its answer before it sends again. Open loop
(--rate): so many requests a second, whether or not answers keep up; a latency counts from the moment at which a request
was meant to be sent, so a server that stops for a while pays for all that fell into it. Use it to see what latency a
rate costs.

Requests are made up from the model's metadata, with other values and another id in each, as clients send them; or they
come from --request or --input. Each load is measured in rounds until the last three are within 10 % of each other
(perf_analyzer's rule), and these are reported. Quantiles are right to within 0.2 %, in bounded memory.

Exit status: 0 if every load had answers, 1 if not, or if there is no server or model, 2 for a wrong command line.
"""

_EXAMPLES = """\
examples:
  How fast is it with 1, 4 and 16 clients?
    kserve-v2 bench digits_onnx
  What latency do 100, 200 and 400 requests a second have, over gRPC?
    kserve-v2 bench digits_onnx --rate 100,200,400 --protocol grpc
  With a request of your own, as a picture and as a page to send around:
    kserve-v2 bench intent --request model_repository/intent/sample_request.json --html report.html --plot report.svg
  Eight images in each request; and an input whose length varies, with 32 elements:
    kserve-v2 bench digits_onnx --batch 8
    kserve-v2 bench typeahead --shape text:32
  Side by side with another server, in turn in each round:
    kserve-v2 bench add_sub --url http://127.0.0.1:8000 --compare http://127.0.0.1:9000
  For a script: the 99th percentile with 16 clients:
    kserve-v2 bench add_sub --concurrency 16 --json | jq '.results[0].latency_ms.p99'
"""


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="The model's name.")
    _add_server(parser.add_argument_group("Server"))
    _add_load(parser.add_argument_group("Load"))
    add_request(parser, "--input")
    _add_measuring(parser.add_argument_group("Measuring"))
    _add_output(parser.add_argument_group("Output"))


def _add_server(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--url",
        metavar="URL",
        help="The server: http://HOST:PORT, https://..., or grpc://HOST:PORT, grpcs://.... [KSERVE_V2_URL; default "
        "http://127.0.0.1:8000, with --protocol grpc grpc://127.0.0.1:8001]",
    )
    group.add_argument("--protocol", choices=("rest", "grpc"), help="Where the URL does not say it.")
    group.add_argument(
        "--model-version",
        metavar="N",
        default="",
        help="Version of the model. [default: the server's choice]",
    )
    group.add_argument(
        "--compare",
        metavar="URL",
        nargs="+",
        action="extend",
        default=[],
        help="Other servers with the same model, measured in turn with the first one; or the same server over the "
        "other "
        "protocol.",
    )
    group.add_argument(
        "--header",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="A header of each request to all servers, over gRPC its metadata; may be repeated.",
    )
    group.add_argument(
        "--ca-file", metavar="PEM", help="Certificates to trust, in the place of the usual ones."
    )
    group.add_argument(
        "--metrics-url",
        metavar="URL",
        help="Where the server's metrics are, for its CPU time (process_cpu_seconds_total). [default: port 8002 of its "
        "host, if its port is 8000 or 8001]",
    )
    group.add_argument(
        "--pid",
        type=positive_number,
        metavar="N",
        help="The server's process on this machine, for its CPU time with that of all processes below it; in place of "
        "metrics.",
    )


def _add_load(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--concurrency",
        metavar="N,...",
        help="Closed loop: numbers of connections, one after the other. [default 1,4,16]",
    )
    group.add_argument("--rate", metavar="R,...", help="Open loop: requests per second, one after the other.")
    group.add_argument(
        "--arrivals",
        choices=("poisson", "constant"),
        help="Open loop: independent clients, or one request every 1/rate seconds. [default poisson]",
    )
    group.add_argument(
        "--connections",
        type=positive_number,
        metavar="N",
        help="Open loop: connections at most; requests that find none free wait, and that counts. [default 128]",
    )


def _add_measuring(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--duration", type=number_above_zero, default=2.0, metavar="S", help="Seconds of a round. [default 2]"
    )
    group.add_argument(
        "--warm-up",
        type=number_or_zero,
        default=1.0,
        metavar="S",
        help="Seconds of load before the first round. [default 1]",
    )
    group.add_argument(
        "--max-rounds",
        type=positive_number,
        default=10,
        metavar="N",
        help="Rounds at most; with 1, there is one, and no question whether it is stable. [default 10]",
    )
    group.add_argument(
        "--stability",
        type=number_above_zero,
        metavar="PERCENT",
        help="How close the last three rounds have to be. [default 10]",
    )
    group.add_argument(
        "--timeout",
        type=number_above_zero,
        default=60.0,
        metavar="S",
        help="Seconds after which a request counts as failed. [default 60]",
    )


def _add_output(group: "argparse._ArgumentGroup") -> None:
    forms = group.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="Print JSON in place of the table.")
    forms.add_argument("--csv", action="store_true", help="Print CSV in place of the table.")
    group.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="Write a page with the table and charts, which loads nothing else.",
    )
    group.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="Write the charts as .png, .svg or .pdf. Needs matplotlib (pip install matplotlib).",
    )
    group.add_argument("--quiet", action="store_true", help="Say nothing while it is measured.")


def _run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if arguments.url is None and arguments.protocol is None:
        arguments.url = environ.get(URL_VARIABLE) or None
    # Imported here, so that --help does not wait for numpy.
    from kserve_v2.bench import bench  # noqa: PLC0415

    with measuring():
        return bench.run(arguments, say, tell)


COMMAND = Command(
    "bench",
    "load a model on a running server, and say how fast it answers",
    "MODEL [options]",
    _DESCRIPTION,
    _EXAMPLES,
    _add,
    _run,
)
