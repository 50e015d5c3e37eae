"""`kserve-v2 infer`: asks a model of a running server, and shows its answer."""

import argparse
from collections.abc import Mapping

from kserve_v2.commands.client_options import add_server
from kserve_v2.commands.command import Command
from kserve_v2.commands.numbers import whole_number

_DESCRIPTION = """\
Ask a model of a running server (ours, or any other one of the v2 protocol), over REST or gRPC, and show its answer.

Inputs are given by name, as NAME=VALUE; what a value means follows from what the model's metadata says it takes:
  NAME=TEXT    of an input of BYTES the text as it is; of all others JSON: a number, or lists of numbers;
               a list may do without its brackets, as in x=1,2,3. Of an input that the metadata does not name, JSON and
               such lists, too (INT64, FP64 or BOOL; a text in quotation marks is one of BYTES), and else the text as
               it is; --request says any other datatype
  NAME=@FILE   .npy: its array. .json: its value. An image: the file for an input of BYTES, its pixels for one of
               integers. Any other: the file for BYTES, JSON for others
  NAME=-       standard input, as a file without a name
  NAME=@@TEXT  a text that begins with @
One name several times is a batch of as many values. One row may be given without the batch dimension. --request sends a
request in JSON, such as the sample_request.json of a model; values by name replace those of the file.

The answer is a table, with the five highest values and their labels of outputs that have labels; the answers of a model
that streams are shown as they come.

Exit status: 0 if there was an answer, 1 if not, with the server's reason, 2 for a wrong command line.
"""

_EXAMPLES = """\
examples:
  A text, and a batch of two:
    kserve-v2 infer intent text="wake me up at seven"
    kserve-v2 infer intent text="wake me up" text="play some jazz"
  Numbers, as JSON:
    kserve-v2 infer add_sub INPUT0='[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]' INPUT1=@ones.json
  An image, and the three most likely classes:
    kserve-v2 infer digits_scan scan=@digit.png --classes 3
  The sample that comes with a model, over gRPC:
    kserve-v2 infer digits_onnx --request models/digits_onnx/sample_request.json --url grpc://127.0.0.1:8001
  For a program: one line of JSON for each answer, or a file of numpy's:
    kserve-v2 infer intent text=hello --json | jq -r '.outputs[0].data[0]'
    kserve-v2 infer digits_onnx image=@image.npy --output probabilities --save answer.npz
"""


def _add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Request")
    group.add_argument(
        "--request",
        metavar="FILE",
        help="Send this request in JSON; - is standard input. Values by name replace its own.",
    )
    group.add_argument(
        "--model-version", metavar="V", default="", help="Version or label. [default: the server's choice]"
    )
    group.add_argument(
        "--output", action="append", default=[], metavar="NAME", help="Only this output; may be repeated."
    )
    group.add_argument(
        "--classes",
        type=whole_number,
        metavar="N",
        help="The N highest values of each output, with their labels; 0: the values themselves. [default: 5 where "
        "there are labels]",
    )
    group.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="A parameter of the request, such as priority=1; may be repeated.",
    )
    group.add_argument("--request-id", metavar="ID", default="", help="The request's id, which comes back.")
    group.add_argument("--sequence", metavar="ID", help="The sequence that the request is a step of.")
    group.add_argument("--sequence-start", action="store_true", help="It is the first one.")
    group.add_argument("--sequence-end", action="store_true", help="It is the last one.")
    group.add_argument(
        "--stream", action="store_true", help="Ask for a stream also where the model may answer once only."
    )
    output = parser.add_argument_group("Answer")
    output.add_argument("--json", action="store_true", help="A line of JSON for each answer, as REST has it.")
    output.add_argument("--save", metavar="FILE", help="Write the outputs into an .npz file, too.")
    add_server(parser)


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from kserve_v2.commands.asking.infer import run  # noqa: PLC0415 - large

    return run(namespace, environ)


COMMAND = Command(
    "infer",
    "ask a model of a running server",
    "MODEL [NAME=VALUE ...] [options]",
    _DESCRIPTION,
    _EXAMPLES,
    _add,
    _run,
    operands=True,
)
