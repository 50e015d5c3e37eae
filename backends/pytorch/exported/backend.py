"""Files of torch's export, `model.pt2`: programs of `torch.export` and packages of AOTInductor."""

from typing import Literal

import torch

from kserve_v2.backend import Model, ModelConfig, ModelSource
from kserve_v2.errors import InvalidArgumentError

from ...completion import raise_contradictions
from ...parameters import boolean, integer
from ..parameters import check_parameters
from .archive import ExportArchive
from .compiled import CompiledModel, complete_compiled
from .completion import complete_config
from .model import ExportedModel
from .program import check_version
from .signature import read_signature
from .tensors import ALLOW_PICKLES

_DEFAULT_MAX_BATCH_SIZE = 4


class ExportedBackend:
    """Serves `.pt2` files."""

    default_filename = "model.pt2"
    platform = "torch_aoti"
    guesses_batching: Literal[True] = True

    def gpu_count(self) -> int:
        """The GPUs that torch sees."""
        return torch.cuda.device_count()

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        """Fill inputs, outputs, batch size and scheduler from the file, whose weights are not read."""
        check_parameters(config)
        default = integer(
            source.settings, "default-max-batch-size", _DEFAULT_MAX_BATCH_SIZE, where="--backend-config"
        )
        with _archive(source, config) as archive:
            if archive.kind == "compiled":
                complete_compiled(config, archive.file.name)
                return
            document = archive.program()
            signature = read_signature(document, archive.file.name)
            check_version(document, archive.file.name)
            raise_contradictions(source.name, complete_config(config, signature, archive.file.name, default))

    def load(self, source: ModelSource, config: ModelConfig) -> Model:
        """Load the program once for each device that has instances."""
        check_parameters(config)
        allow_pickles = boolean(source.settings, ALLOW_PICKLES, False, where="--backend-config")
        with _archive(source, config) as archive:
            if archive.kind == "compiled":
                complete_compiled(config, archive.file.name)
                return CompiledModel(source, config, archive)
            return ExportedModel(source, config, archive, allow_pickles=allow_pickles)


def _archive(source: ModelSource, config: ModelConfig) -> ExportArchive:
    file = source.model_file(config)
    if not file.is_file():
        raise InvalidArgumentError(f"model '{source.name}': version {source.version} has no file {file.name}")
    return ExportArchive(file)
