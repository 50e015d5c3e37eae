"""`kserve-v2 init`: a model's folder that works at once, from a template or from a file."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from kserve_v2.commands.command import Command, UsageError
from kserve_v2.commands.output import say
from kserve_v2.commands.signals import leave_on_sigterm
from kserve_v2.commands.tensor_options import add_tensors

_TEMPLATES = ("handler", "torch", "onnx", "sklearn", "image", "text", "ensemble")
_DEFAULT_REPOSITORY = "models"

_DESCRIPTION = """\
Make the folder of a model, NAME, in a model repository: a configuration in which every line is explained, a version
with the model in it, a sample request, and a test that asks a real server. It works at once: the commands to check,
serve and ask it are said at the end.

--template starts from a small model that is real, to be replaced by yours:
  handler   Python and numpy: measured flowers
  torch     a network of PyTorch, trained and exported now: points on a plane
  onnx      an ONNX file, and the script that has made it
  sklearn   an estimator of scikit-learn, trained now: as ONNX where skl2onnx is installed, else numbers for a handler
  image     a handler that takes images: drawn digits
  text      a handler that takes texts: their language
  ensemble  three models: one reads a line of text, one classifies, and the ensemble asks both

--from starts from what you have: model.onnx, model.pt2 (torch.export), model.pt (TorchScript, with --input and
--output), a Python file with a class Model (or FILE.py:CLASS), with what it imports from beside it, or a folder with
such a file. The file is copied, or linked with --link, and says itself what stands in the configuration. Its code, if
it has some, is run for that.

Nothing is overwritten, and after a failure nothing is left.
"""

_EXAMPLES = """\
examples:
  A handler to start from, in ./models/flowers:
    kserve-v2 init flowers --template handler
  An ONNX file that you have:
    kserve-v2 init digits --from model_repository/digits_onnx/1/model.onnx --model-repository more
  A TorchScript file, which does not say what its tensors are; N is the batch:
    kserve-v2 init scripted --from model_repository/digits_torchscript/1/model.pt \\
      --input image:FP32[N,1,8,8] --output probabilities:FP32[N,10]
  A large file, not copied but linked:
    kserve-v2 init linked --from model_repository/digits_export/1/model.pt2 --link
"""


def _add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Init")
    group.add_argument("--template", choices=_TEMPLATES, help="What to start from, if there is no model yet.")
    group.add_argument(
        "--from",
        dest="source",
        metavar="PATH",
        help="A model that there is: .onnx, .pt2, .pt or .py (or FILE.py:CLASS), or a folder with such a file.",
    )
    group.add_argument(
        "--model-repository",
        metavar="DIR",
        default=_DEFAULT_REPOSITORY,
        help=f"Where the folder is made. The repository is made if there is none. [default {_DEFAULT_REPOSITORY}]",
    )
    group.add_argument(
        "--link", action="store_true", help="With --from: links to its files in the place of copies."
    )
    add_tensors(group, "With --from of a TorchScript file")


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if len(namespace.operands) != 1:
        raise UsageError(f"expected one NAME, got {len(namespace.operands)} (see kserve-v2 init --help)")
    if (namespace.template is None) == (namespace.source is None):
        raise UsageError(f"expected one of --from PATH and --template {'|'.join(_TEMPLATES)}")
    if namespace.source is None and (namespace.link or namespace.input or namespace.output):
        raise UsageError("--link, --input and --output belong to --from")
    # Imported here: --help waits for nothing large.
    from kserve_v2.commands.making import make  # noqa: PLC0415
    from kserve_v2.commands.making.publish import check_name  # noqa: PLC0415

    leave_on_sigterm()
    [name], repository = namespace.operands, Path(namespace.model_repository)
    check_name(name)
    if namespace.source is None:
        text = make.from_template(namespace.template, name, repository)
    else:
        tensors = (namespace.input, namespace.output)
        text = make.from_source(namespace.source, name, repository, tensors, link=namespace.link)
    say(text)
    return 0


COMMAND = Command(
    "init",
    "make the folder of a model that works at once",
    "NAME --template TEMPLATE | --from PATH [options]",
    _DESCRIPTION,
    _EXAMPLES,
    _add,
    _run,
    operands=True,
)
