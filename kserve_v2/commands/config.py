"""`kserve-v2 config`: what a model is served with, and where each field comes from."""

import argparse
from collections.abc import Mapping

from kserve_v2.commands.command import Command
from kserve_v2.commands.looking_options import add_time_limit, look
from kserve_v2.commands.numbers import positive_number
from kserve_v2.commands.operands import take_repository
from kserve_v2.settings import flags
from kserve_v2.settings.settings import Settings

_DESCRIPTION = """\
Print the configuration that a model is served with, as `serve` with the same options would complete it, and for each
field where it comes from: the line of the file that says it, the model's own file, the name of a file or directory, or
a default of the server. REPO may be given as --model-repository, too. In the place of both may stand whatever `serve`
takes as one model: its file or folder, or package.module:Class. Of an archive that is one model, MODEL is its name.

Exit status: 0 if there is one, 1 if something is wrong with it, which is said then, 2 for a wrong command line.
"""

_EXAMPLES = """\
examples:
  What the server makes of a model without config.pbtxt:
    kserve-v2 config models digits_onnx
  Write that down, to change it:
    kserve-v2 config models digits_onnx > models/digits_onnx/config.pbtxt
  What a file would be served with:
    kserve-v2 config model.onnx
  Where the batch size comes from:
    kserve-v2 config models digits_onnx --format json | jq .origins.max_batch_size
"""


def _add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Config")
    group.add_argument(
        "--format",
        choices=("pbtxt", "json"),
        default="pbtxt",
        help="pbtxt: as in a file, with comments. json: the configuration and the origins. [default pbtxt]",
    )
    group.add_argument(
        "--model-version",
        type=positive_number,
        metavar="N",
        help="Version of the model. [default: the highest that is served]",
    )
    add_time_limit(group)
    flags.add_flags(parser)


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    take_repository(namespace)

    def show(settings: Settings) -> int:
        from kserve_v2.commands.looking.config import run  # noqa: PLC0415 - large

        return run(settings, namespace)

    return look(namespace, environ, show)


COMMAND = Command(
    "config",
    "print a model's configuration, and where each field comes from",
    "REPO MODEL | FILE [options] [options of serve]",
    _DESCRIPTION,
    _EXAMPLES,
    _add,
    _run,
    operands=True,
    runs_models=True,
)
