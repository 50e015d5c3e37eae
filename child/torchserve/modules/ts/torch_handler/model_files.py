"""Models in files."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Optional

from ts.utils.util import list_classes_from_module


def only_class(model_dir: str, model_file: str) -> Any:
    """The class of a model's file. Raises ValueError if there is not exactly one."""
    path = Path(model_dir, model_file)
    if not path.is_file():
        raise RuntimeError(f"Missing the {model_file} file")
    if model_dir not in sys.path:
        sys.path.insert(0, model_dir)
    module = importlib.import_module(model_file.split(".", maxsplit=1)[0])
    classes = list_classes_from_module(module)
    if len(classes) != 1:
        names = ", ".join(each.__name__ for each in classes) or "none"
        raise ValueError(f"Expected only one class as model definition in {model_file}, found {names}")
    return classes[0]


class OnnxModel:
    """A model of ONNX Runtime, called as a module of torch's is."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self._inputs = [each.name for each in session.get_inputs()]

    def __call__(self, *tensors: Any, **named: Any) -> Any:
        """One output by itself, several as a list."""
        import torch  # noqa: PLC0415 - it is there

        given = dict(zip(self._inputs, tensors))
        given.update(named)
        found = self.session.run(None, {name: value.detach().cpu().numpy() for name, value in given.items()})
        outputs = [torch.from_numpy(each) for each in found]
        return outputs[0] if len(outputs) == 1 else outputs

    def eval(self) -> OnnxModel:
        """It is never trained."""
        return self


def load_onnx(path: str, device: Optional[str]) -> OnnxModel:
    """A session of ONNX Runtime. Raises RuntimeError if that is not installed."""
    try:
        import onnxruntime  # noqa: PLC0415 - only for such models
    except ImportError as error:
        raise RuntimeError(
            f"{Path(path).name}: onnxruntime is not installed: pip install onnxruntime"
        ) from error
    wanted = ["CUDAExecutionProvider"] if device == "cuda" else []
    there = [
        each for each in [*wanted, "CPUExecutionProvider"] if each in onnxruntime.get_available_providers()
    ]
    return OnnxModel(onnxruntime.InferenceSession(path, providers=there))
