"""`kserve-v2 check`: what is wrong with the models of a repository, and where."""

import argparse
from collections.abc import Mapping

from kserve_v2.commands.command import Command
from kserve_v2.commands.looking_options import add_time_limit, look
from kserve_v2.commands.numbers import positive_number, whole_number
from kserve_v2.commands.operands import take_repository
from kserve_v2.settings import flags
from kserve_v2.settings.settings import Settings

FORMATS = ("text", "json", "github", "sarif")
"""Of the report."""

_DESCRIPTION = """\
Find everything that is wrong with the models of a repository, without serving them, and say for each thing the file,
the line and the column, what was found, and what to write instead. REPO is the repository, and may be given as
--model-repository, too; MODEL: only these models, and what they are made of. In their place may stand whatever `serve`
takes: a model's file or folder, or package.module:Class, or several of them.

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

_EXAMPLES = """\
examples:
  Look at every model below ./models:
    kserve-v2 check models
  Look at two of them, as a server with the same options would:
    kserve-v2 check models digits_onnx intent --backend-config onnxruntime,default-max-batch-size=8
  Look at a handler that is in no repository:
    kserve-v2 check handler.py
  In a GitHub workflow, with annotations at the lines of a pull request; warnings fail it, too:
    kserve-v2 check models --format github --strict
  For code scanning:
    kserve-v2 check models --format sarif > kserve.sarif
  The files of all models with errors:
    kserve-v2 check models --format json | jq -r '.findings[] | select(.level == "error") | .file'
  On a machine without GPUs, for one with 16 CPUs and two GPUs:
    kserve-v2 check models --cpus 16 --gpus 2
"""


def _add(parser: argparse.ArgumentParser) -> None:
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
        type=positive_number,
        metavar="N",
        help="CPUs of the machine that is to serve. [default: this one's]",
    )
    group.add_argument(
        "--gpus",
        type=whole_number,
        metavar="N",
        help="GPUs of the machine that is to serve. [default: this one's; that there are none is a warning then]",
    )
    add_time_limit(group)
    flags.add_flags(parser)


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    take_repository(namespace)

    def check(settings: Settings) -> int:
        from kserve_v2.commands.looking.check import run  # noqa: PLC0415 - large

        return run(settings, namespace)

    return look(namespace, environ, check)


COMMAND = Command(
    "check",
    "say what is wrong with the models of a repository",
    "REPO [MODEL ...] | FILE [FILE ...] [options] [options of serve]",
    _DESCRIPTION,
    _EXAMPLES,
    _add,
    _run,
    operands=True,
    runs_models=True,
)
