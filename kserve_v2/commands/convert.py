"""`kserve-v2 convert`: from an archive of TorchServe's to a model of this server's."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from kserve_v2.commands.command import Command, UsageError
from kserve_v2.commands.output import say
from kserve_v2.commands.tensor_options import add_tensors

_DESCRIPTION = """\
Turn an archive of TorchServe's, ARCHIVE (.mar, .tar.gz, or its folder), into the folder of a model in REPOSITORY, with
named and typed tensors where they can be known:

  image_classifier, image_segmenter, object_detector, text_classifier
                a handler in Python that does the same, to be read and changed
  base_handler  the network itself: an ONNX file says what its tensors are, for TorchScript or a network in Python say
                it with --input and --output
  a handler of its own
                the archive as it is, which takes and gives bytes; with --skeleton, a beginning of a handler of this
                server's beside the old one

A report says what is not as it was, and what has to be decided; it lies in the model's folder, too. Nothing in the
archive is executed. Nothing is overwritten, and after a failure nothing is left.

An archive need not be converted to be served: kserve-v2 serve reads it as it is.
"""

_EXAMPLES = """\
examples:
  An archive, by the name that it has inside:
    kserve-v2 convert model_store/cats.mar models
  By another name:
    kserve-v2 convert model_store/cats.mar models --name pets
  A TorchScript file behind base_handler, which does not say what its tensors are; N is the batch:
    kserve-v2 convert model_store/scores.mar models --input x:FP32[N,4] --output scores:FP32[N,3]
"""


def _add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Convert")
    group.add_argument("--name", default="", help="The model's name. [default: that in the archive]")
    group.add_argument(
        "--skeleton",
        action="store_true",
        help="Of an archive with a handler of its own, make a beginning of a handler of this server's.",
    )
    add_tensors(group, "With base_handler")


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if len(namespace.operands) != 2:
        raise UsageError(
            f"expected ARCHIVE and REPOSITORY, got {len(namespace.operands)} (see kserve-v2 convert --help)"
        )
    # Imported here: --help waits for nothing large.
    from kserve_v2.commands.converting.convert import convert  # noqa: PLC0415

    archive, repository = map(Path, namespace.operands)
    tensors = (namespace.input, namespace.output)
    say(convert(archive, repository, namespace.name, tensors, as_skeleton=namespace.skeleton))
    return 0


COMMAND = Command(
    "convert",
    "turn an archive of TorchServe's into a model",
    "ARCHIVE REPOSITORY [options]",
    _DESCRIPTION,
    _EXAMPLES,
    _add,
    _run,
    operands=True,
)
