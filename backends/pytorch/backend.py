"""The `pytorch` backend: files of torch's export, `model.pt2`, and TorchScript archives, `model.pt`."""

import logging
from pathlib import Path
from typing import Literal

from kserve_v2.backend import Backend, Model, ModelConfig, ModelSource

from .exported.backend import ExportedBackend
from .torchscript.backend import TorchScriptBackend

logger = logging.getLogger(__name__)


class PytorchBackend:
    """Serves whichever of the two a model is, by its platform or its file's name."""

    default_filename = TorchScriptBackend.default_filename
    platform = TorchScriptBackend.platform
    guesses_batching: Literal[True] = True

    def __init__(self) -> None:
        self._exported = ExportedBackend()
        self._torchscript = TorchScriptBackend()

    def gpu_count(self) -> int:
        """The GPUs that torch sees."""
        return self._torchscript.gpu_count()

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        """Fill the configuration from the file, as far as that says something."""
        self._backend(source, config).complete(source, config)

    def load(self, source: ModelSource, config: ModelConfig) -> Model:
        """Load the model once for each device that has instances."""
        if other := _exported_beside(source.model_file(config)):
            logger.warning(
                "model '%s': %s lies beside model.pt and is not served; to serve it, remove model.pt, or name it in "
                "config.pbtxt as default_model_filename",
                source.name,
                other.name,
            )
        return self._backend(source, config).load(source, config)

    def _backend(self, source: ModelSource, config: ModelConfig) -> Backend:
        file = source.model_file(config)
        exported = config.platform == ExportedBackend.platform or file.suffix == ".pt2"
        return self._exported if exported else self._torchscript


def _exported_beside(file: Path) -> Path | None:
    """The exported program that lies beside a TorchScript file under its usual name."""
    other = file.with_name(ExportedBackend.default_filename)
    return other if file.name == TorchScriptBackend.default_filename and other.is_file() else None
