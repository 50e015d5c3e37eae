"""The model repository that is measured, made anew for every run."""

import shutil
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

IMAGE_SHAPE = (1, 3, 96, 96)
FIXED_TIME_ROWS = 32
DELAYS_US = (0, 2000)

_HERE = Path(__file__).parent
_ADD_SUB = _HERE.parent / "model_repository" / "add_sub" / "1" / "model.onnx"
_CNN_CHANNELS = (64, 128, 256)
_CNN_CLASSES = 10
_ONNX_IR_VERSION = 8
_ONNX_OPSET = 17

# One thread, as in the yardsticks' sessions: on a small machine the load generator needs the rest.
_ONE_THREAD = 'parameters { key: "intra_op_thread_count" value { string_value: "1" } }\n'
_ONE_INSTANCE = "instance_group { count: 1 kind: KIND_CPU }\n"


def write_repository(directory: Path) -> None:
    """Write all models of the benchmarks below `directory`."""
    _write(directory, "add_sub", f"max_batch_size: 8\ndynamic_batching {{ }}\n{_ONE_INSTANCE}{_ONE_THREAD}")
    shutil.copyfile(_ADD_SUB, model_file(directory, "add_sub"))
    _write(directory, "cnn", _ONE_INSTANCE + _ONE_THREAD)
    model_file(directory, "cnn").write_bytes(cnn_onnx())
    _write(directory, "identity", _ONE_INSTANCE)
    shutil.copyfile(_HERE / "handlers" / "identity.py", directory / "identity" / "1" / "model.py")
    _write(directory, "identity_text", _ONE_INSTANCE)
    shutil.copyfile(_HERE / "handlers" / "identity_text.py", directory / "identity_text" / "1" / "model.py")
    for delay_us in DELAYS_US:
        name = fixed_time_model(delay_us)
        batching = f"dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}\n"
        _write(directory, name, f"max_batch_size: {FIXED_TIME_ROWS}\n{batching}{_ONE_INSTANCE}")
        shutil.copyfile(_HERE / "handlers" / "fixed_time.py", directory / name / "1" / "model.py")


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
    random = np.random.default_rng(1)
    weights: list[TensorProto] = []

    def weight(name: str, *shape: int) -> str:
        values = random.standard_normal(shape, dtype=np.float32) / np.sqrt(
            np.prod(shape[1:], dtype=np.float32)
        )
        weights.append(numpy_helper.from_array(values, name))
        return name

    nodes: list[NodeProto] = []
    source, channels = "image", IMAGE_SHAPE[1]
    for number, (filters, stride) in enumerate(zip(_CNN_CHANNELS, (2, 1, 2), strict=True)):
        kernel = weight(f"conv{number}.weight", filters, channels, 3, 3)
        nodes.append(
            helper.make_node("Conv", [source, kernel], [f"conv{number}"], pads=[1] * 4, strides=[stride] * 2)
        )
        source, channels = f"relu{number}", filters
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [source]))
    nodes += [
        helper.make_node("GlobalAveragePool", [source], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node(
            "Gemm", ["features", weight("dense.weight", _CNN_CLASSES, channels)], ["scores"], transB=1
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE_SHAPE)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, _CNN_CLASSES))],
        initializer=weights,
    )
    opset = [helper.make_opsetid("", _ONNX_OPSET)]
    model = helper.make_model(graph, ir_version=_ONNX_IR_VERSION, opset_imports=opset)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _write(directory: Path, name: str, config: str) -> None:
    (directory / name / "1").mkdir(parents=True)
    (directory / name / "config.pbtxt").write_text(f'name: "{name}"\n{config}')
