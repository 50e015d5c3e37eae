"""The host of a model of TorchServe's, in processes of its own: the model's folder is the working directory, and where
modules are looked for first; behind it are those called `ts`, which are ours and only here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union

from ..host import Json, Placement, Source
from ..plain_host import PlainHost
from .entry import load_error
from .instances import BatchInstance, PartsInstance
from .worker import Worker

MODULES = Path(__file__).with_name("modules")
"""The folder that has `ts`."""


class TorchServeHost(PlainHost):
    """Hosts one version of a model."""

    def describe(self) -> Json:
        """Nobody asks: the server counts the GPUs itself."""
        return {"gpu_count": 0}

    def complete(self, source: Source, config: Json) -> Json:
        """The server has read all that the model's files say."""
        return config

    def load(self, source: Source, config: Json) -> TorchServeModel:
        """Make the process the model's."""
        folder = str(source.version_path)
        os.chdir(folder)
        # The folder may be read-only, or be somebody's own.
        sys.dont_write_bytecode = True
        sys.path[:0] = [folder, str(MODULES)]
        os.environ.setdefault("OMP_NUM_THREADS", str(source.threads.intra_op))
        return TorchServeModel(source, config)


class TorchServeModel:
    """A loaded version."""

    separates_requests: Literal[True] = True

    def __init__(self, source: Source, config: Mapping[str, Any]) -> None:
        self._source = source
        self._config = config
        policy = config.get("model_transaction_policy") or {}
        self._in_parts = bool(policy.get("decoupled"))

    def instance(self, placement: Placement) -> Union[BatchInstance, PartsInstance]:
        """Make one, with a handler of its own. Raises ModelError."""
        worker = Worker(self._source, self._config, placement)
        try:
            return PartsInstance(worker, placement.name) if self._in_parts else BatchInstance(worker)
        except BaseException as error:
            raise load_error(error, self._source.version_path) from error

    def close(self) -> None:
        """The process ends with the model."""
