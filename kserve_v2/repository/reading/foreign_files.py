"""Files that people put where a model should be, and what to do with each kind. By name alone; nothing is opened."""

from collections.abc import Iterable
from pathlib import PurePosixPath

_HANDLER = "load it in a handler, model.py, which may run any Python code"
_WEIGHTS = (
    "holds weights and no model: build the network and load them in a handler, model.py, or export the whole model "
    "with torch.export.save"
)
_PICKLED = (
    "is a pickled Python object: export the model to ONNX (skl2onnx, onnxmltools), or load it in a handler, model.py. "
    "To unpickle a file is to run the code in it: do that only with files that you trust"
)
_KERAS = "is a Keras model: convert it with `python -m tf2onnx.convert --keras FILE --output model.onnx`"
_TENSORFLOW = "is a TensorFlow model: convert it with tf2onnx (`python -m tf2onnx.convert`) to model.onnx"
_TENSORRT = (
    "is a TensorRT engine, for which there is no backend here: serve the ONNX file that it was built from; with "
    'optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" } } } ONNX Runtime builds one'
)
_BOOSTED = f"is a model of a boosting library: convert it to ONNX with onnxmltools, or {_HANDLER}"
_WORKFLOW = (
    "is the archive of a workflow of TorchServe's: put it into a model store with its models, and serve that with "
    "--torchserve --model-store DIR --models all"
)
_ARCHIVE = "is an archive: unpack it, so that the model's file itself lies here"

# What a file with this suffix is, and what to do with it.
_BY_SUFFIX = {
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".sav", ".dill"), _PICKLED),
    **dict.fromkeys((".pth", ".ckpt"), _WEIGHTS + "; if it is a TorchScript archive, rename it to model.pt"),
    **dict.fromkeys((".safetensors", ".bin"), _WEIGHTS),
    **dict.fromkeys((".h5", ".hdf5", ".keras"), _KERAS),
    **dict.fromkeys((".pb", ".graphdef", ".savedmodel"), _TENSORFLOW),
    ".tflite": "is a TensorFlow Lite model: convert it with `python -m tf2onnx.convert --tflite FILE`",
    ".gguf": f"is a model for llama.cpp: {_HANDLER}, such as llama-cpp-python",
    **dict.fromkeys((".engine", ".plan", ".trt"), _TENSORRT),
    ".xml": "is a model for OpenVINO, for which there is no backend here: serve the ONNX file that it was made from",
    **dict.fromkeys((".ubj", ".xgb", ".cbm", ".lgb"), _BOOSTED),
    ".mlmodel": "is a Core ML model: serve the model that it was made from, as ONNX",
    ".pdmodel": "is a Paddle model: convert it with paddle2onnx",
    ".ort": (
        "is in ONNX Runtime's own format: name it in config.pbtxt, as default_model_filename, with "
        'backend: "onnxruntime"'
    ),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".zst"), _ARCHIVE),
    ".war": _WORKFLOW,
    ".mlpackage": "is a Core ML model: serve the model that it was made from, as ONNX",
    ".nemo": f"is a NeMo archive: export it to ONNX with NeMo, or {_HANDLER}",
}

# Whole file names that say more than their suffix.
_NAMES = {
    "saved_model.pb": _TENSORFLOW,
    "MLmodel": f"belongs to an MLflow model: serve the file that it describes, or {_HANDLER}",
}
# Suffixes that are common for other files too: such a file alone does not make its directory a model.
_AMBIGUOUS = frozenset(
    {".xml", ".bin", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".zst", ".pb", ".sav", ".war"}
)


def foreign_advice(names: Iterable[str]) -> str | None:
    """What to do with the first of these files that is no model of ours; None if none is known."""
    for name in sorted(names):
        known = _NAMES.get(name) or _BY_SUFFIX.get(PurePosixPath(name.lower()).suffix)
        if known:
            return f"{name} {known}"
    return None


def is_foreign_model(name: str) -> bool:
    """Whether a file of this name is most likely a model, of a kind that is not served."""
    suffix = PurePosixPath(name.lower()).suffix
    return name in _NAMES or (suffix in _BY_SUFFIX and suffix not in _AMBIGUOUS)
