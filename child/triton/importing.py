"""How the file of a model is imported in a process that is the model's alone: as Triton does it."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Protocol

from . import utils


class Importer(Protocol):
    """Imports the file of one model."""

    def load(self, module: types.ModuleType) -> types.ModuleType:
        """The file's module. `module`: what it gets for `triton_python_backend_utils`. Raises what the file raises."""

    def work_for_it(self) -> None:
        """The thread, or task, that calls this works for the model from now on."""

    def close(self) -> None:
        """Forget the modules."""


class PathImporter:
    """Imports `model.py` of version 1 as `1.model`, with the directories of version and model on `sys.path`."""

    def __init__(self, model_path: Path, version_path: Path, filename: str) -> None:
        self._file = version_path / filename
        self._paths = [str(version_path), str(model_path)]

    def load(self, module: types.ModuleType) -> types.ModuleType:
        """Import it, once and for good."""
        sys.modules[utils.NAME] = sys.modules[utils.C_NAME] = module
        for path in self._paths:
            if path not in sys.path:
                sys.path.append(path)
        package = types.ModuleType(self._file.parent.name)
        package.__path__ = [str(self._file.parent)]
        sys.modules[package.__name__] = package
        # The repository may be read-only, or be somebody else's.
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            return importlib.import_module(f"{package.__name__}.{self._file.stem}")
        finally:
            sys.dont_write_bytecode = before

    def work_for_it(self) -> None:
        """All of the process does."""

    def close(self) -> None:
        """The process ends with the model."""
