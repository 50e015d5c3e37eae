"""`kserve-v2 models`, `load` and `unload`: the models of a running server."""

import argparse
from collections.abc import Mapping

from kserve_v2.commands.client_options import add_server
from kserve_v2.commands.command import Command

_MODELS_DESCRIPTION = """\
List the models of a running server's repository: version, state, and why one is not ready.

Exit status: 0, or 1 if the server did not answer or refused, 2 for a wrong command line.
"""

_MODELS_EXAMPLES = """\
examples:
  All models:
    kserve-v2 models
  Those that answer, of another server, over gRPC:
    kserve-v2 models --ready --url grpc://127.0.0.1:8001
  The names of those that failed:
    kserve-v2 models --json | jq -r '.[] | select(.state == "UNAVAILABLE") | .name'
"""

_LOAD_DESCRIPTION = """\
Have a running server load models, or load them again if their files have changed; returns when they are ready. The
server has to run with --model-control-mode explicit or on-demand.

Exit status: 0 if all are loaded, 1 if one is not, with the server's reason, 2 for a wrong command line.
"""

_LOAD_EXAMPLES = """\
examples:
  Load two models:
    kserve-v2 load digits_onnx intent
  With another configuration than the one in its folder, which stays as it is:
    kserve-v2 load digits_onnx --config '{"max_batch_size": 8}'
    kserve-v2 load digits_onnx --config faster.pbtxt
  With files from here, of a server that runs with --allow-file-override:
    kserve-v2 load digits_onnx --config config.pbtxt --file 1/model.onnx=new/model.onnx --file labels.txt=labels.txt
"""

_UNLOAD_DESCRIPTION = """\
Have a running server unload models; requests that are under way are finished. The server has to run with
--model-control-mode explicit or on-demand.

Exit status: 0 if all are unloaded, 1 if one is not, with the server's reason, 2 for a wrong command line.
"""

_UNLOAD_EXAMPLES = """\
examples:
  Unload a model:
    kserve-v2 unload digits_onnx
  An ensemble, and the models that it is made of:
    kserve-v2 unload digits_scan --dependents
"""


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ready", action="store_true", help="Only models that are ready.")
    parser.add_argument("--json", action="store_true", help="As JSON, in the protocol's form.")
    add_server(parser)


def _add_load(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="The configuration to use, in the place of the model's own: a file with JSON or config.pbtxt, or JSON "
        "itself.",
    )
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="PATH=FILE",
        help="A file to use in the place of the model's own; PATH is below the model's folder. With --config; may be "
        "repeated.",
    )
    add_server(parser)


def _add_unload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dependents", action="store_true", help="Also the models that an ensemble is made of."
    )
    add_server(parser)


def _run_models(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from kserve_v2.commands.asking import models  # noqa: PLC0415 - large

    return models.run_models(namespace, environ)


def _run_load(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from kserve_v2.commands.asking import models  # noqa: PLC0415 - large

    return models.run_load(namespace, environ)


def _run_unload(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from kserve_v2.commands.asking import models  # noqa: PLC0415 - large

    return models.run_unload(namespace, environ)


MODELS = Command(
    "models",
    "list the models of a running server",
    "[options]",
    _MODELS_DESCRIPTION,
    _MODELS_EXAMPLES,
    _add_models,
    _run_models,
)
LOAD = Command(
    "load",
    "have a running server load models",
    "MODEL ... [options]",
    _LOAD_DESCRIPTION,
    _LOAD_EXAMPLES,
    _add_load,
    _run_load,
    operands=True,
)
UNLOAD = Command(
    "unload",
    "have a running server unload models",
    "MODEL ... [options]",
    _UNLOAD_DESCRIPTION,
    _UNLOAD_EXAMPLES,
    _add_unload,
    _run_unload,
    operands=True,
)
