"""The hand-written part of the example models: configurations, labels and handlers in `model_repository/`."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

MODEL_REPOSITORY = Path(__file__).resolve().parent.parent / "model_repository"

HAND_WRITTEN = ("config.pbtxt", "labels.txt", "1/model.py")


def hand_written_files(model: str) -> Iterator[str]:
    """Paths of the model's files that are written by hand, relative to the model's directory."""
    return (path for path in HAND_WRITTEN if (MODEL_REPOSITORY / model / path).is_file())


def handler_module(model: str) -> ModuleType:
    """The module of a model's handler, imported from its file: a network is defined where it is served."""
    path = MODEL_REPOSITORY / model / "1" / "model.py"
    spec = importlib.util.spec_from_file_location(f"examples.handlers.{model}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} of the model '{model}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
