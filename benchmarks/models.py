"""The model repository that is measured, made anew for every run."""

import shutil
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

IMAGE_SHAPE = (1, 3, 96, 96)
FIXED_TIME_ROWS = 32
DELAYS_US = (0, 2000)
LEVELS_MODEL = "fixed_time_levels"
LEVELS_ROWS = 4
MLP_ROWS = 64
MLP_WIDTH = 16
MLP_MODELS = ("mlp_batched", "mlp")
"""The same model with dynamic batching, and in batches of one row."""

CACHED_MODELS = ("add_sub", "cnn")
"""Those that are there a second time, with `_cached` behind their names."""

_HERE = Path(__file__).parent
_ADD_SUB = _HERE.parent / "model_repository" / "add_sub" / "1" / "model.onnx"
_CNN_CHANNELS = (64, 128, 256)
_CNN_CLASSES = 10
_MLP_HIDDEN = (640, 640)
_ONNX_IR_VERSION = 8
_ONNX_OPSET = 17

# One thread, as in the yardsticks' sessions: on a small machine the load generator needs the rest.
_ONE_THREAD = 'parameters { key: "intra_op_thread_count" value { string_value: "1" } }\n'
_RESPONSE_CACHE = "response_cache { enable: true }\n"
_ONE_INSTANCE = "instance_group { count: 1 kind: KIND_CPU }\n"


def write_repository(directory: Path) -> None:
    """Write all models of the benchmarks below `directory`."""
    _write(directory, "add_sub", f"max_batch_size: 8\ndynamic_batching {{ }}\n{_ONE_INSTANCE}{_ONE_THREAD}")
    shutil.copyfile(_ADD_SUB, model_file(directory, "add_sub"))
    # What the cache saves of these two: next to nothing of the one, and 1.5 ms of the other.
    for name in CACHED_MODELS:
        _write(directory, f"{name}_cached", f"{_RESPONSE_CACHE}{_ONE_INSTANCE}{_ONE_THREAD}")
    shutil.copyfile(_ADD_SUB, model_file(directory, "add_sub_cached"))
    model_file(directory, "cnn_cached").write_bytes(cnn_onnx())
    _write(directory, "cnn", _ONE_INSTANCE + _ONE_THREAD)
    model_file(directory, "cnn").write_bytes(cnn_onnx())
    # Without dynamic_batching, but with room for a batch, ONNX models get it from the server.
    for name, rows in zip(MLP_MODELS, (MLP_ROWS, 1), strict=True):
        batching = f"max_batch_size: {rows}\ndynamic_batching {{ }}\n"
        _write(directory, name, batching + _ONE_INSTANCE + _ONE_THREAD)
        model_file(directory, name).write_bytes(mlp_onnx())
    _write(directory, "identity", _ONE_INSTANCE)
    shutil.copyfile(_HERE / "handlers" / "identity.py", directory / "identity" / "1" / "model.py")
    _write(directory, "identity_text", _ONE_INSTANCE)
    shutil.copyfile(_HERE / "handlers" / "identity_text.py", directory / "identity_text" / "1" / "model.py")
    for delay_us in DELAYS_US:
        name = fixed_time_model(delay_us)
        batching = f"dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}\n"
        _write(directory, name, f"max_batch_size: {FIXED_TIME_ROWS}\n{batching}{_ONE_INSTANCE}")
        shutil.copyfile(_HERE / "handlers" / "fixed_time.py", directory / name / "1" / "model.py")
    _write_levels(directory)


def _write_levels(directory: Path) -> None:
    """The 2 ms model in batches of few rows, so that few clients are too many for it."""
    levels = "dynamic_batching { priority_levels: 2 default_priority_level: 2 }\n"
    _write(directory, LEVELS_MODEL, f"max_batch_size: {LEVELS_ROWS}\n{levels}{_ONE_INSTANCE}")
    shutil.copyfile(_HERE / "handlers" / "fixed_time.py", directory / LEVELS_MODEL / "1" / "model.py")


def fixed_time_model(delay_us: int) -> str:
    """Name of the 2 ms model that may wait `delay_us` for a batch to fill."""
    return f"fixed_time_delay_{delay_us}us"


def model_file(directory: Path, name: str) -> Path:
    """The ONNX file of a model in the repository."""
    return directory / name / "1" / "model.onnx"


def cnn_onnx() -> bytes:
    """Some 700 million floating point operations: image FP32 [1, 3, 96, 96] to scores FP32 [1, 10].

    A convolutional network with random weights from a fixed seed: only the time matters.
    """
    weights = _Weights()
    nodes: list[NodeProto] = []
    source, channels = "image", IMAGE_SHAPE[1]
    for number, (filters, stride) in enumerate(zip(_CNN_CHANNELS, (2, 1, 2), strict=True)):
        kernel = weights.add(f"conv{number}.weight", filters, channels, 3, 3)
        nodes.append(
            helper.make_node("Conv", [source, kernel], [f"conv{number}"], pads=[1] * 4, strides=[stride] * 2)
        )
        source, channels = f"relu{number}", filters
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [source]))
    nodes += [
        helper.make_node("GlobalAveragePool", [source], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node(
            "Gemm", ["features", weights.add("dense.weight", _CNN_CLASSES, channels)], ["scores"], transB=1
        ),
    ]
    return _onnx_file("cnn", nodes, weights, ("image", IMAGE_SHAPE), ("scores", (1, _CNN_CLASSES)))


def mlp_onnx() -> bytes:
    """A multilayer perceptron with random weights from a fixed seed: INPUT and OUTPUT FP32 [n, 16].

    A batch of 64 rows takes one thread some 0.6 ms: 55 million floating point operations. A row alone takes far more
    than a 64th of it, for the weights are read all the same.
    """
    weights = _Weights()
    nodes: list[NodeProto] = []
    source, width = "INPUT", MLP_WIDTH
    for number, hidden in enumerate(_MLP_HIDDEN):
        dense = weights.add(f"dense{number}.weight", hidden, width)
        nodes.append(helper.make_node("Gemm", [source, dense], [f"dense{number}"], transB=1))
        source, width = f"relu{number}", hidden
        nodes.append(helper.make_node("Relu", [f"dense{number}"], [source]))
    last = weights.add("last.weight", MLP_WIDTH, width)
    nodes.append(helper.make_node("Gemm", [source, last], ["OUTPUT"], transB=1))
    return _onnx_file("mlp", nodes, weights, ("INPUT", ("n", MLP_WIDTH)), ("OUTPUT", ("n", MLP_WIDTH)))


class _Weights:
    """Random weights by name, always the same."""

    def __init__(self) -> None:
        self.tensors: list[TensorProto] = []
        self._random = np.random.default_rng(1)

    def add(self, name: str, *shape: int) -> str:
        """Make one, scaled so that what comes out of a layer is as large as what goes in. Returns its name."""
        scale = np.sqrt(np.prod(shape[1:], dtype=np.float32))
        values = self._random.standard_normal(shape, dtype=np.float32) / scale
        self.tensors.append(numpy_helper.from_array(values, name))
        return name


_Tensor = tuple[str, tuple[int | str, ...]]
"""Name and shape."""


def _onnx_file(
    name: str, nodes: list[NodeProto], weights: _Weights, source: _Tensor, result: _Tensor
) -> bytes:
    """A model with one input and one output, both FP32."""
    inputs, outputs = (
        [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, shape)]
        for tensor, shape in (source, result)
    )
    graph = helper.make_graph(nodes, name, inputs, outputs, initializer=weights.tensors)
    opset = [helper.make_opsetid("", _ONNX_OPSET)]
    model = helper.make_model(graph, ir_version=_ONNX_IR_VERSION, opset_imports=opset)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _write(directory: Path, name: str, config: str) -> None:
    (directory / name / "1").mkdir(parents=True)
    (directory / name / "config.pbtxt").write_text(f'name: "{name}"\n{config}')
