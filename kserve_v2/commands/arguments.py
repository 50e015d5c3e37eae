"""Options of the commands beside `serve`, and what their `--help` says. Nothing large is imported for it."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

FORMATS = ("text", "json", "github", "sarif")
"""Of a check's report."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of one command. `operands`: in the usage, behind its name. `names`: of its own options, which `add` adds; those
    of `serve` it has, too.
    """

    does: str
    operands: str
    description: str
    examples: str
    add: Callable[[argparse.ArgumentParser], None]
    names: tuple[str, ...]


_CHECK_DESCRIPTION = """\
Find everything that is wrong with the models of a repository, without serving them, and say for each thing the file,
the line and the column, what was found, and what to write instead. REPO is the repository, and may be given as
--model-repository, too; MODEL: only these models, and what they are made of.

Configurations are read, completed from the models' files and validated as by `serve` with the same options, ensembles
and their steps included. No port is opened and no weights are loaded. ONNX files are read without onnxruntime, unless
they leave something open; a handler is imported, which runs the code of its file. What models print goes to standard
error. Environments of models are used where they are there, and not made.

Errors are what a server would refuse; warnings what is legal, but perhaps not what is meant: requests that are not
merged although they could be, sizes of batches that nothing waits for, GPUs that are not there, more threads than
CPUs, a version without a model in the place of one that has it, misspelt files that nobody reads.

Exit status: 0 if there are no errors, 1 if there are, with --strict also if there are warnings, 2 for a wrong command
line, which a repository or a model that does not exist is, too.
"""

_CHECK_EXAMPLES = """\
examples:
  Look at every model below ./models:
    kserve-v2 check models
  Look at two of them, as a server with the same options would:
    kserve-v2 check models digits_onnx intent --backend-config onnxruntime,default-max-batch-size=8
  In a GitHub workflow, with annotations at the lines of a pull request; warnings fail it, too:
    kserve-v2 check models --format github --strict
  For code scanning:
    kserve-v2 check models --format sarif > kserve.sarif
  The files of all models with errors:
    kserve-v2 check models --format json | jq -r '.findings[] | select(.level == "error") | .file'
  On a machine without GPUs, for one with 16 CPUs and two GPUs:
    kserve-v2 check models --cpus 16 --gpus 2
"""


_CONFIG_DESCRIPTION = """\
Print the configuration that a model is served with, as `serve` with the same options would complete it, and for each
field where it comes from: the line of the file that says it, the model's own file, the name of a file or directory, or
a default of the server. REPO may be given as --model-repository, too.

Exit status: 0 if there is one, 1 if something is wrong with it, which is said then, 2 for a wrong command line.
"""

_CONFIG_EXAMPLES = """\
examples:
  What the server makes of a model without config.pbtxt:
    kserve-v2 config models digits_onnx
  Write that down, to change it:
    kserve-v2 config models digits_onnx > models/digits_onnx/config.pbtxt
  Where the batch size comes from:
    kserve-v2 config models digits_onnx --format json | jq .origins.max_batch_size
"""


def _add_check(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Check")
    group.add_argument(
        "--format", choices=FORMATS, default="text", help="How to report what was found. [default text]"
    )
    group.add_argument("--strict", action="store_true", help="Warnings make the exit status 1, too.")
    group.add_argument(
        "--thorough",
        action="store_true",
        help="Open models' files with their framework also where they can be read without it: it finds operators that "
        "it does not know, and files that are damaged behind their head.",
    )
    group.add_argument(
        "--cpus",
        type=_positive,
        metavar="N",
        help="CPUs of the machine that is to serve. [default: this one's]",
    )
    group.add_argument(
        "--gpus",
        type=_number,
        metavar="N",
        help="GPUs of the machine that is to serve. [default: this one's; that there are none is a warning then]",
    )


def _add_config(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Config")
    group.add_argument(
        "--format",
        choices=("pbtxt", "json"),
        default="pbtxt",
        help="pbtxt: as in a file, with comments. json: the configuration and the origins. [default pbtxt]",
    )
    group.add_argument(
        "--model-version",
        type=_positive,
        metavar="N",
        help="Version of the model. [default: the highest that is served]",
    )


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)


CHECK = Arguments(
    "say what is wrong with the models of a repository",
    "REPO [MODEL ...]",
    _CHECK_DESCRIPTION,
    _CHECK_EXAMPLES,
    _add_check,
    ("format", "strict", "thorough", "cpus", "gpus"),
)
CONFIG = Arguments(
    "print a model's configuration, and where each field comes from",
    "REPO MODEL",
    _CONFIG_DESCRIPTION,
    _CONFIG_EXAMPLES,
    _add_config,
    ("format", "model_version"),
)
