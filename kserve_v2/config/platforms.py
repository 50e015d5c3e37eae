"""Backends, platforms and model file names as Triton pairs them.

The server has plug-ins for three of these backends. The others are here so that a model made for one of them
is recognised, and refused for the lack of its plug-in rather than for the lack of a name.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

ENSEMBLE_PLATFORM = "ensemble"


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """One kind of model file: its backend, the platform's name ("" if none), and its usual file name."""

    backend: str
    platform: str
    filename: str

    @property
    def suffix(self) -> str:
        """File name extension, with its dot."""
        return PurePosixPath(self.filename).suffix


# Ordered: a directory with a handler and other model files belongs to the handler, which loads the others; and what is
# in an unpacked archive of TorchServe's is that archive's.
FORMATS: tuple[ModelFormat, ...] = (
    ModelFormat("torchserve", "", "model.mar"),
    ModelFormat("torchserve", "", "MAR-INF"),
    ModelFormat("python", "", "model.py"),
    ModelFormat("onnxruntime", "onnxruntime_onnx", "model.onnx"),
    ModelFormat("tensorrt", "tensorrt_plan", "model.plan"),
    ModelFormat("pytorch", "pytorch_libtorch", "model.pt"),
    ModelFormat("pytorch", "torch_aoti", "model.pt2"),
    ModelFormat("openvino", "", "model.xml"),
    ModelFormat("tensorflow", "tensorflow_savedmodel", "model.savedmodel"),
    ModelFormat("tensorflow", "tensorflow_graphdef", "model.graphdef"),
)
BACKENDS = frozenset(entry.backend for entry in FORMATS)
OWN_BACKENDS = frozenset({"onnxruntime", "pytorch", "python", "torchserve"})
"""Those that come with the server."""
RUN_CODE = frozenset({"python", "torchserve"})
"""Those of them that run code of the model's."""
BACKEND_OF_PLATFORM = {entry.platform: entry.backend for entry in FORMATS if entry.platform}


def choose_format(backend: str, platform: str, filename: str, present: Collection[str]) -> ModelFormat | None:
    """Return the format that agrees with what is stated ("" if not), else with the files `present`.

    None where nothing says what the model is, or where what is stated agrees with no format.
    """
    stated = bool(backend or platform)
    candidates = [
        entry for entry in FORMATS if backend in {"", entry.backend} and platform in {"", entry.platform}
    ]
    if filename:
        # A backend or platform that is stated decides, and then the file may have any name.
        suffix = PurePosixPath(filename).suffix
        alike = [entry for entry in candidates if filename == entry.filename or suffix == entry.suffix != ""]
        return _first(alike) or (_first(candidates) if stated else None)
    usual = [entry for entry in candidates if entry.filename in present]
    lone = [entry for entry in candidates if lone_file(entry, present)]
    found = _first(usual) or (lone[0] if len(lone) == 1 else None)
    return found or (_first(candidates) if stated else None)


def lone_file(entry: ModelFormat, present: Collection[str]) -> str | None:
    """Return the only file of this format, whatever its name; a handler, and what has
    no suffix, must have its usual name.
    """
    visible = [name for name in present if not name.startswith(".")]
    files = [name for name in visible if PurePosixPath(name).suffix == entry.suffix]
    return files[0] if len(files) == 1 and entry.suffix not in {"", ".py"} else None


def _first(formats: Sequence[ModelFormat]) -> ModelFormat | None:
    return formats[0] if formats else None
