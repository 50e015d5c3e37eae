"""`kserve-v2 archive`: archives of models and workflows, as TorchServe and this server read them."""

import argparse
from collections.abc import Mapping
from typing import Any

from kserve_v2.commands.command import Command, CommandError, UsageError
from kserve_v2.commands.output import say

# As kserve_v2.archiving has them, which --help does not import.
_FORMATS = ("default", "zip-store", "tgz", "no-archive")
_RUNTIMES = ("python", "python3", "LSP")

_OF_MODELS = (
    "version",
    "model_file",
    "serialized_file",
    "runtime",
    "archive_format",
    "requirements_file",
    "config_file",
)
_OF_BOTH = ("handler", "extra_files", "export_path", "force")

_DESCRIPTION = """\
Write an archive of a model, MODEL_NAME.mar: its handler, its weights, and the files that they need. It takes the
options of torch-model-archiver, and TorchServe reads what it writes. With --workflow-name it takes those of
torch-workflow-archiver, and writes an archive of a workflow, WORKFLOW_NAME.war.

--handler is a Python file (also without .py, and with :FUNCTION for one of its functions), or one of the handlers that
TorchServe brings along: base_handler, text_classifier, image_classifier, object_detector, image_segmenter, and for
TorchServe alone dali_image_classifier, vllm_handler, trt_llm_handler.

Nothing of what is archived is run. Where two different files would get the same name in the archive, nothing is
written.
"""

_EXAMPLES = """\
examples:
  An image classifier in TorchScript, with names for its classes:
    kserve-v2 archive --model-name cats --version 1.0 --serialized-file cats.pt --handler image_classifier \\
      --extra-files index_to_name.json
  A handler of your own, with what lies in a folder, into the store that a server reads:
    kserve-v2 archive --model-name intent --version 1.0 --handler handler.py --extra-files vocab.json,assets \\
      --export-path model_store
  A workflow of several models:
    kserve-v2 archive --workflow-name pipeline --spec-file pipeline.yaml --handler steps.py --export-path model_store
"""


def _add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Archive")
    group.add_argument("--model-name", metavar="NAME", help="The model's name, and that of the archive.")
    group.add_argument("-v", "--version", metavar="VERSION", help="The model's version, such as 1.0.")
    group.add_argument(
        "--handler",
        metavar="FILE|NAME",
        help="The handler's file, or the name of one that TorchServe brings along.",
    )
    group.add_argument(
        "--serialized-file",
        metavar="FILE",
        help="The weights, a TorchScript file (.pt) or an ONNX file (.onnx).",
    )
    group.add_argument(
        "--model-file",
        metavar="FILE",
        help="The Python file with the network's class, if there are only weights.",
    )
    group.add_argument(
        "--extra-files",
        metavar="PATHS",
        default="",
        help="Files, folders and patterns, separated by commas. Folders are emptied into the archive.",
    )
    group.add_argument(
        "-r", "--requirements-file", metavar="FILE", help="The packages that the handler needs."
    )
    group.add_argument("-c", "--config-file", metavar="FILE", help="The model's settings, in YAML.")
    group.add_argument("--runtime", choices=_RUNTIMES, help="What runs the handler. [default python]")
    group.add_argument(
        "--archive-format",
        choices=_FORMATS,
        help="NAME.mar, compressed or not (zip-store); NAME.tar.gz (tgz); or the folder NAME. [default default]",
    )
    group.add_argument(
        "--workflow-name", metavar="NAME", help="In the place of --model-name: that of a workflow."
    )
    group.add_argument("--spec-file", metavar="FILE", help="A workflow's models and their order, in YAML.")
    group.add_argument(
        "--export-path",
        metavar="DIR",
        default=".",
        help="Where the archive goes. [default: the current directory]",
    )
    group.add_argument("-f", "--force", action="store_true", help="Replace an archive that is there.")


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if (namespace.model_name is None) == (namespace.workflow_name is None):
        raise UsageError("expected one of --model-name and --workflow-name (see kserve-v2 archive --help)")
    # Imported here: --help waits for nothing large.
    from kserve_v2.archiving.model_archive import archive_model  # noqa: PLC0415
    from kserve_v2.archiving.workflow_archive import archive_workflow  # noqa: PLC0415
    from kserve_v2.errors import InvalidArgumentError  # noqa: PLC0415

    given = {name: value for name, value in vars(namespace).items() if value is not None}
    try:
        if namespace.workflow_name is None:
            _require(given, "version", "handler")
            _refuse(given, "spec_file")
            target = archive_model(namespace.model_name, **_chosen(given, *_OF_BOTH, *_OF_MODELS))
        else:
            _require(given, "spec_file")
            _refuse(given, *_OF_MODELS)
            target = archive_workflow(namespace.workflow_name, **_chosen(given, *_OF_BOTH, "spec_file"))
    except InvalidArgumentError as error:
        raise CommandError(_by_option(error.message)) from None
    except OSError as error:
        raise CommandError(f"{error.filename or 'the archive'}: {error.strerror or error}") from None
    say(f"made {target}")
    return 0


def _by_option(message: str) -> str:
    """An error that begins with a parameter of `archive_model`, as it is called here."""
    name, colon, rest = message.partition(":")
    known = {*_OF_BOTH, *_OF_MODELS, "spec_file", "model_name", "workflow_name"}
    return f"{_flag(name)}{colon}{rest}" if name in known else message


def _chosen(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _require(given: Mapping[str, Any], *names: str) -> None:
    missing = [_flag(name) for name in names if name not in given]
    if missing:
        raise UsageError(f"missing: {', '.join(missing)} (see kserve-v2 archive --help)")


def _refuse(given: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if name in given:
            of = "workflows" if name == "spec_file" else "models"
            raise UsageError(f"{_flag(name)} belongs to {of}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


COMMAND = Command(
    "archive",
    "write an archive of a model or workflow, .mar or .war",
    "--model-name NAME --version VERSION --handler HANDLER [options]",
    _DESCRIPTION,
    _EXAMPLES,
    _add,
    _run,
)
