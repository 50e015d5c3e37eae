"""Tensors that clients do not see, where a backend completes a configuration from its file."""

from kserve_v2_backends.completion import TensorSpec, fill_tensors

from kserve_v2.backend import ModelConfig
from kserve_v2.config import parse_config

CONFIG = """
name: "M" max_batch_size: 4
sequence_batching {
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } }
  state { input_name: "S" output_name: "SO" data_type: TYPE_FP32 dims: 8 }
}
"""


def config(more: str = "") -> ModelConfig:
    return parse_config(CONFIG + more, "test")


def spec(name: str, datatype: str = "FP32", *dims: int) -> TensorSpec:
    return TensorSpec(name, datatype, dims or (8,))


def test_hidden_tensors_are_not_added() -> None:
    filled = config()
    assert fill_tensors(filled, "input", [spec("X"), spec("START", "FP32", 1), spec("S")], "file") == []
    assert fill_tensors(filled, "output", [spec("Y"), spec("SO")], "file") == []
    assert [tensor.name for tensor in filled.input] == ["X"]
    assert [tensor.name for tensor in filled.output] == ["Y"]


def test_a_state_that_is_declared_is_completed_like_any_output() -> None:
    filled = config('output { name: "SO" }')
    assert fill_tensors(filled, "output", [spec("Y"), spec("SO")], "file") == []
    assert [(tensor.name, list(tensor.dims)) for tensor in filled.output] == [("SO", [8])]


def test_what_the_file_says_otherwise() -> None:
    given = [spec("X"), spec("START", "INT32", 1), spec("S", "FP32", 9)]
    assert fill_tensors(config(), "input", given, "file") == [
        "input['START'].data_type: 'START' is TYPE_INT32 in file, the configuration says TYPE_FP32",
        "input['S'].dims: 'S' has dims [9] behind the batch dimension in file, the configuration says [8]",
    ]
