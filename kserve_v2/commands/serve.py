"""`kserve-v2 serve`: a server, until a signal ends it."""

import argparse
import logging
import os
from collections.abc import Mapping, Sequence

from kserve_v2.commands.command import Command, CommandError
from kserve_v2.commands.operands import take_operands
from kserve_v2.commands.serving_options import effective_settings
from kserve_v2.settings import flags
from kserve_v2.settings.settings import Settings

_DESCRIPTION = """\
Serve models over REST and gRPC (KServe v2 / Open Inference Protocol): a repository of them, or single ones, any number
of each. A model is its file (.onnx, .pt2 or .pt), a Python file with its class (a handler, or Triton's model.py),
package.module:Class, an archive of TorchServe's (.mar), or its folder. It gets the file's name, or NAME if that is put
in front of it, as in NAME=FILE. A folder with models of MLServer's (model-settings.json) is a repository, too.

Every option has an environment variable, shown in brackets behind it; a flag outweighs its variable. Where an
option may be repeated, its variable takes several values, separated by commas. Booleans take true, false, 1
and 0; a flag without a value means true.
Triton's other options are accepted and ignored with a warning, except for those that promise protection or would
change answers, such as --http-restricted-api: with them the server does not start.
"""

_EXAMPLES = """\
examples:
  Serve one model, and another one under a name of its own:
    kserve-v2 serve model.onnx cats=handlers/cats.py
  Serve a TorchScript file, which does not say what its tensors are; N stands for the rows of a batch:
    kserve-v2 serve net.pt --input x:FP32[N,4] --output y:FP32[N,3]
  Serve a class of a package in the current directory, and load it again whenever its code is saved:
    kserve-v2 serve shop.models:Recommender --reload
  Serve every model below ./models on this machine only:
    kserve-v2 serve --model-repository models
  Serve two repositories to the network, with 512 MB for a request and logs as JSON:
    kserve-v2 serve --model-repository models --model-repository more --http-address 0.0.0.0 \\
      --grpc-address 0.0.0.0 --http-max-input-size 536870912 --log-format json
  Work on models: each is loaded again when a file of it is saved, and what is broken is said here:
    kserve-v2 serve --model-repository models --reload
  Load each model when it is first asked for:
    kserve-v2 serve --model-repository models --model-control-mode on-demand
  Answer with four processes, which are one server:
    kserve-v2 serve --model-repository models --processes 4
  Take the place of a TorchServe, with its archives, its config.properties and its ports:
    kserve-v2 serve --torchserve --model-store model_store --models all
  Load one model now and others through the API, configured by the environment:
    KSERVE_V2_MODEL_REPOSITORY=models KSERVE_V2_HTTP_PORT=9000 \\
      kserve-v2 serve --model-control-mode explicit --load-model digits_onnx
"""

_log = logging.getLogger(__name__)


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    take_operands(namespace)
    settings, warnings = effective_settings(namespace, environ, CommandError)
    try:
        return _serve(settings, warnings)
    except KeyboardInterrupt:
        # Before there is an event loop, which takes signals in its own way.
        raise CommandError("interrupted before any model was loaded") from None


def _serve(settings: Settings, warnings: Sequence[str]) -> int:
    # Imported here: --help and a mistyped flag do not wait for numpy and the web frameworks.
    from kserve_v2 import server  # noqa: PLC0415
    from kserve_v2.logs import console, log  # noqa: PLC0415
    from kserve_v2.startup import StartupError  # noqa: PLC0415

    log.configure(settings)
    _log.debug("options: %s", flags.command_line(settings))
    try:
        for warning in warnings:
            _log.warning(warning)
        status = server.run(settings)
    except StartupError as error:
        problem = str(error)
    else:
        log.shutdown()
        if not console.flush():
            # The interpreter would wait until somebody reads what handlers have printed.
            os._exit(status)
        return status
    finally:
        log.shutdown()
    # Said behind all that was logged: it is what the reader has to know.
    raise CommandError(problem)


COMMAND = Command(
    "serve",
    "serve models: a repository, files, folders, classes",
    "[NAME=]FILE|DIR|MODULE:CLASS ... [options]",
    _DESCRIPTION,
    _EXAMPLES,
    flags.add_flags,
    _run,
    operands=True,
)
