"""From a model's files and configuration to the interpreter of its environment."""

import os
from collections.abc import Mapping
from pathlib import Path

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.environments.interpreter import Interpreter
from kserve_v2.errors import InvalidArgumentError

EXECUTION_ENV_PATH = "EXECUTION_ENV_PATH"


class ModelEnvironments:
    """The environments of all models of a server."""

    def __init__(self, directory: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        """`directory`: where environments are made and kept (`--model-environments`). `environ`: the variables of the
        server's own process.
        """
        self._directory = directory
        self._environ = environ

    def interpreter_for(self, source: ModelSource, config: ModelConfig) -> Interpreter | None:
        """The interpreter of the model's own environment, made first if it is not there; None if it has none, and so
        runs with the server's. A model with an environment of its own has to be isolated. Blocks, possibly for minutes.

        Raises InvalidArgumentError if the environment is wrong, or cannot be made.
        """
        if EXECUTION_ENV_PATH in config.parameters:
            raise InvalidArgumentError(f"model '{source.name}': {EXECUTION_ENV_PATH} is not supported yet")
        return None
