"""The `onnxruntime` backend: ONNX files, one session per model and device, shared by the instances there."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from kserve_v2.backend import Model, ModelConfig, ModelSource
from kserve_v2.errors import ContradictionError, InvalidArgumentError

from ..completion import raise_contradictions
from ..gpus import visible_gpus
from ..parameters import integer
from .declared import declared_tensors
from .external_data import find_external_data
from .header import Header, read_header
from .metadata import OnnxGraph, are_certain, complete_config, read_graph
from .objects import wrap
from .options import check_options
from .structure import ORT_FORMAT, read_structure

_DEFAULT_MAX_BATCH_SIZE = 4


class OnnxBackend:
    """Serves ONNX files with ONNX Runtime, which is not imported before a file needs it."""

    default_filename = "model.onnx"
    platform = "onnxruntime_onnx"
    guesses_batching: Literal[True] = True
    keeps_nothing: Literal[True] = True

    def __init__(self) -> None:
        """Raises ModuleNotFoundError where ONNX Runtime is not installed."""
        if find_spec("onnxruntime") is None:
            raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")

    wrap = staticmethod(wrap)

    def gpu_count(self) -> int:
        """The GPUs of this machine if ONNX Runtime is built for CUDA."""
        if not visible_gpus():
            return 0
        import onnxruntime as ort  # noqa: PLC0415 - only where there is a GPU to ask about

        return visible_gpus() if "CUDAExecutionProvider" in ort.get_available_providers() else 0

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        """Fill inputs, outputs, batch size and scheduler from the file.

        The backend setting `default-max-batch-size` (4) is the batch size of a model that can batch.
        """
        from .session import check_session_options, metadata_session  # noqa: PLC0415 - see the class

        check_session_options(config)
        file = _model_file(source, config)
        structure = read_structure(file)
        elsewhere = find_external_data(source, file, structure.external_locations)
        header = Header() if file.suffix == ORT_FORMAT else read_header(file)
        try:
            session = metadata_session(file, header.content, elsewhere)
        except InvalidArgumentError:
            if config.input and config.output:
                return  # perhaps only the GPU has kernels for it; loading it will show
            raise
        _complete(source, config, read_graph(session, structure, header), file)

    def complete_unopened(self, source: ModelSource, config: ModelConfig) -> None:
        """The same from what the file declares, as far as that is enough: ONNX Runtime knows more where the file does
        not say what its outputs are, and it has the last word on what their shapes seem to contradict.
        """
        check_options(config)
        file = _model_file(source, config)
        structure = read_structure(file)
        find_external_data(source, file, structure.external_locations)
        declared = declared_tensors(file)
        if declared is not None:
            tried = ModelConfig()
            tried.CopyFrom(config)
            graph = read_graph(declared, structure)
            try:
                _complete(source, tried, graph, file)
            except ContradictionError as error:
                if are_certain(error.problems, config, graph, file.name, _default_max_batch_size(source)):
                    raise
            else:
                config.CopyFrom(tried)
                return
        self.complete(source, config)

    def load(self, source: ModelSource, config: ModelConfig) -> Model:
        """Make one session for each device that has instances."""
        from .model import load_model  # noqa: PLC0415 - see the class
        from .session import check_session_options  # noqa: PLC0415

        check_session_options(config)
        return load_model(source, config, _model_file(source, config))


def _complete(source: ModelSource, config: ModelConfig, graph: OnnxGraph, file: Path) -> None:
    problems = complete_config(config, graph, file.name, _default_max_batch_size(source))
    raise_contradictions(source.name, problems)


def _default_max_batch_size(source: ModelSource) -> int:
    return integer(
        source.settings, "default-max-batch-size", _DEFAULT_MAX_BATCH_SIZE, where="--backend-config"
    )


def _model_file(source: ModelSource, config: ModelConfig) -> Path:
    """The file: `model.onnx`, or `model.onnx/model.onnx` where that is a directory."""
    file = source.model_file(config)
    if file.is_dir():
        file /= OnnxBackend.default_filename
    if not file.is_file():
        raise InvalidArgumentError(f"model '{source.name}': version {source.version} has no file {file.name}")
    return file
