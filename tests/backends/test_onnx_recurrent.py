"""Recurrent layers of ONNX Runtime end the process where they are given nothing: no client's input may get there."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from kserve_v2_backends.onnx.backend import OnnxBackend
from onnx import TensorProto, helper

from kserve_v2.backend import Instance, ModelConfig, ModelSource, Placement
from kserve_v2.errors import ConfigurationError, InvalidArgumentError

GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
HIDDEN = 4


def write(directory: Path, operator: str) -> None:
    """A recurrent layer over x, in 1/model.onnx."""
    rows = GATES[operator] * HIDDEN
    weights = [
        helper.make_tensor("W", TensorProto.FLOAT, [1, rows, 2], np.ones(rows * 2, np.float32)),
        helper.make_tensor("R", TensorProto.FLOAT, [1, rows, HIDDEN], np.ones(rows * HIDDEN, np.float32)),
    ]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "W", "R"], ["y"], hidden_size=HIDDEN)],
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["steps", "rows", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["steps", 1, "rows", HIDDEN])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    (directory / "1").mkdir(parents=True)
    onnx.save(model, directory / "1" / "model.onnx")


def instance(directory: Path, **parameters: str) -> Instance:
    backend, placement = OnnxBackend(), Placement("m_0", "CPU")
    source = ModelSource("m", 1, directory, directory / "1", placements=(placement,))
    config = ModelConfig(name="m", default_model_filename="model.onnx")
    for key, text in parameters.items():
        config.parameters[key].string_value = text
    config.max_batch_size = 0
    backend.complete(source, config)
    made = backend.load(source, config).instance(placement)
    assert isinstance(made, Instance)
    return made


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("shape", [(0, 1, 2), (3, 0, 2)], ids=["no steps", "no rows"])
def test_an_input_without_elements_is_refused(tmp_path: Path, operator: str, shape: tuple[int, ...]) -> None:
    write(tmp_path, operator)
    made = instance(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"input 'x' has shape \[\d, \d, 2\], which is without"):
        made.execute({"x": np.zeros(shape, np.float32)}, ())
    assert made.execute({"x": np.zeros((3, 1, 2), np.float32)}, ())["y"].shape == (3, 1, 1, HIDDEN)


def test_a_model_may_say_that_it_can_do_with_that(tmp_path: Path) -> None:
    # No steps are no harm to this kind of layer.
    write(tmp_path, "RNN")
    made = instance(tmp_path, accept_empty_inputs="true")
    assert made.execute({"x": np.zeros((0, 1, 2), np.float32)}, ())["y"].shape[0] == 0


def test_what_it_says_is_true_or_false(tmp_path: Path) -> None:
    write(tmp_path, "RNN")
    with pytest.raises(ConfigurationError, match="accept_empty_inputs"):
        instance(tmp_path, accept_empty_inputs="perhaps")
