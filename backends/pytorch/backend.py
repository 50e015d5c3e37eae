"""The `pytorch` backend: files of torch's export, `model.pt2`, and TorchScript archives, `model.pt`."""

import logging
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from kserve_v2.backend import Backend, Model, ModelConfig, ModelSource

from ..gpus import visible_gpus
from .objects import wrap
from .parameters import check_script_parameters
from .script_archive import check_archive

logger = logging.getLogger(__name__)

_EXPORTED_FILENAME, _EXPORTED_PLATFORM = "model.pt2", "torch_aoti"


class PytorchBackend:
    """Serves whichever of the two a model is, by its platform or its file's name. torch is not imported before a file
    needs it.
    """

    default_filename = "model.pt"
    platform = "pytorch_libtorch"
    guesses_batching: Literal[True] = True
    keeps_nothing: Literal[True] = True

    def __init__(self) -> None:
        """Raises ModuleNotFoundError where torch is not installed."""
        if find_spec("torch") is None:
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

    wrap = staticmethod(wrap)

    def gpu_count(self) -> int:
        """The GPUs that torch sees."""
        if not visible_gpus() and not _is_for_other_gpus():
            return 0
        import torch  # noqa: PLC0415 - only where there may be a GPU to ask about

        return torch.cuda.device_count()

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        """Fill the configuration from the file, as far as that says something."""
        _backend(source, config).complete(source, config)

    def complete_unopened(self, source: ModelSource, config: ModelConfig) -> None:
        """The same. Of a TorchScript archive whose inputs and outputs are written, all there is to be known is that it
        is one; a program of torch.export is understood by torch's own operators.
        """
        if config.input and config.output and not _is_exported(source, config):
            check_script_parameters(config)
            if (file := source.model_file(config)).is_file():
                check_archive(file)
        else:
            self.complete(source, config)

    def check_file(self, source: ModelSource, config: ModelConfig) -> None:
        """Open a TorchScript archive; a program of torch.export was opened to complete its configuration."""
        if not _is_exported(source, config):
            from .torchscript.backend import TorchScriptBackend  # noqa: PLC0415 - see the class

            TorchScriptBackend().check_file(source, config)

    def load(self, source: ModelSource, config: ModelConfig) -> Model:
        """Load the model once for each device that has instances."""
        if other := _exported_beside(source.model_file(config)):
            logger.warning(
                "model '%s': %s lies beside model.pt and is not served; to serve it, remove model.pt, or name it in "
                "config.pbtxt as default_model_filename",
                source.name,
                other.name,
            )
        return _backend(source, config).load(source, config)


def _backend(source: ModelSource, config: ModelConfig) -> Backend:
    # Imported here: see the class.
    if _is_exported(source, config):
        from .exported.backend import ExportedBackend  # noqa: PLC0415

        return ExportedBackend()
    from .torchscript.backend import TorchScriptBackend  # noqa: PLC0415

    return TorchScriptBackend()


def _is_exported(source: ModelSource, config: ModelConfig) -> bool:
    return config.platform == _EXPORTED_PLATFORM or source.model_file(config).suffix == ".pt2"


def _is_for_other_gpus() -> bool:
    """Whether this torch is built for GPUs that the CUDA driver does not know."""
    try:
        return "rocm" in version("torch")
    except PackageNotFoundError:
        return True


def _exported_beside(file: Path) -> Path | None:
    """The exported program that lies beside a TorchScript file under its usual name."""
    other = file.with_name(_EXPORTED_FILENAME)
    return other if file.name == PytorchBackend.default_filename and other.is_file() else None
