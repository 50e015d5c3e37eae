"""Inputs that need not be sent: those with a value in the file, and those that are optional by type."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from kserve_v2_backends.onnx.backend import OnnxBackend
from onnx import TensorProto, helper, numpy_helper

from kserve_v2.errors import InvalidArgumentError

FLOAT = TensorProto.FLOAT
info = helper.make_tensor_value_info
X = np.array([[1, 2], [3, 4]], np.float32)


def scaled(default: Any, dims: Sequence[int | str] | None = None, ir_version: int = 8) -> bytes:
    """y = x * scale, where scale has a value in the file."""
    value = np.array(default, np.float32)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "scale"], ["y"])],
        "g",
        [info("x", FLOAT, ["N", 2]), info("scale", FLOAT, value.shape if dims is None else dims)],
        [info("y", FLOAT, ["N", 2])],
        [numpy_helper.from_array(value, "scale")],
    )
    opsets = [helper.make_opsetid("", 8)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version).SerializeToString()
    return content


def by_type(element: Any, *, used: bool = True) -> bytes:
    """y = x, or x + o if o is there and `used`."""

    def branch(name: str, *nodes: Any) -> Any:
        return helper.make_graph(list(nodes), name, [], [info(name, FLOAT, None)])

    there = [helper.make_node("OptionalGetElement", ["o"], ["v"]), helper.make_node("Add", ["x", "v"], ["t"])]
    choice = helper.make_node(
        "If",
        ["has"],
        ["y"],
        then_branch=branch("t", *there),
        else_branch=branch("e", helper.make_node("Identity", ["x"], ["e"])),
    )
    nodes = [helper.make_node("OptionalHasElement", ["o"], ["has"]), choice]
    optional = helper.make_value_info("o", helper.make_optional_type_proto(element))
    graph = helper.make_graph(
        nodes if used else [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [info("x", FLOAT, ["N", 2]), optional],
        [info("y", FLOAT, ["N", 2])],
    )
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()
    return content


def inputs_of(config: Any) -> list[tuple[str, list[int], bool]]:
    return [(tensor.name, list(tensor.dims), tensor.optional) for tensor in config.input]


class TestDefaults:
    @pytest.mark.parametrize("default", [[3.0], 3.0], ids=["one element", "scalar"])
    def test_what_is_not_sent_has_the_value_of_the_file(self, loader: Any, default: Any) -> None:
        source = loader.source({"model.onnx": scaled(default)})
        config = loader.complete(OnnxBackend(), source)
        assert config.max_batch_size == 0
        assert inputs_of(config) == [("x", [-1, 2], False), ("scale", [1], True)]
        served = loader.serve(OnnxBackend(), source)
        for _ in range(2):
            assert served.execute({"x": X})["y"].tolist() == (X * 3).tolist()
            sent = {"x": X, "scale": np.array([5], np.float32)}
            assert served.execute(sent)["y"].tolist() == (X * 5).tolist()

    def test_a_default_may_have_another_shape_than_what_is_sent(self, loader: Any) -> None:
        source = loader.source({"model.onnx": scaled([3.0], ["K"])})
        assert inputs_of(loader.complete(OnnxBackend(), source))[1] == ("scale", [-1], True)
        served = loader.serve(OnnxBackend(), source)
        assert served.execute({"x": X, "scale": np.array([1, 2], np.float32)})["y"].tolist() == [
            [1, 4],
            [3, 8],
        ]

    @pytest.mark.parametrize(
        "text",
        [
            "max_batch_size: 4",
            'input { name: "x" data_type: TYPE_FP32 dims: 2 }',
            'output { name: "y" dims: 2 }',
        ],
    )
    def test_a_model_that_is_to_batch_has_no_input_without_a_batch(self, loader: Any, text: str) -> None:
        source = loader.source({"model.onnx": scaled([3.0])})
        config = loader.complete(OnnxBackend(), source, text)
        assert (config.max_batch_size, inputs_of(config)) == (4, [("x", [2], False)])
        served = loader.serve(OnnxBackend(), source, text)
        assert served.execute({"x": X})["y"].tolist() == (X * 3).tolist()

    def test_the_operator_offers_one_by_its_name(self, loader: Any) -> None:
        source = loader.source({"model.onnx": scaled([3.0])})
        text = 'input { name: "x" dims: [-1, 2] } input { name: "scale" optional: true }'
        config = loader.complete(OnnxBackend(), source, text)
        assert inputs_of(config) == [("x", [-1, 2], False), ("scale", [1], True)]
        required = loader.complete(OnnxBackend(), source, text.replace("optional: true", ""))
        assert inputs_of(required)[1] == ("scale", [1], False)

    def test_one_that_is_offered_has_to_fit_the_batch(self, loader: Any) -> None:
        source = loader.source({"model.onnx": scaled([3.0])})
        text = 'max_batch_size: 4 input { name: "scale" optional: true }'
        with pytest.raises(
            InvalidArgumentError, match=r"tensor 'scale': for the model .* expected by the model is \[1\]"
        ):
            loader.complete(OnnxBackend(), source, text)

    def test_weights_are_no_inputs(self, loader: Any) -> None:
        """Some exporters list every weight as an input."""
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Add", ["z", "b"], ["y"])],
            "g",
            [info("x", FLOAT, ["N", 2]), info("w", FLOAT, [2, 20]), info("b", FLOAT, [1])],
            [info("y", FLOAT, ["N", 20])],
            [
                numpy_helper.from_array(np.ones((2, 20), np.float32), "w"),
                numpy_helper.from_array(np.ones(1, np.float32), "b"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        source = loader.source({"model.onnx": model.SerializeToString()})
        config = loader.complete(OnnxBackend(), source)
        assert (config.max_batch_size, inputs_of(config)) == (4, [("x", [2], False)])
        named = loader.complete(
            OnnxBackend(), source, 'input { name: "x" dims: [-1, 2] } input { name: "w" optional: true }'
        )
        assert inputs_of(named) == [("x", [-1, 2], False), ("w", [2, 20], True)]

    def test_old_files_list_all_weights_and_none_of_them_can_be_sent(self, loader: Any) -> None:
        config = loader.complete(OnnxBackend(), loader.source({"model.onnx": scaled([3.0], ir_version=3)}))
        assert (config.max_batch_size, inputs_of(config)) == (4, [("x", [2], False)])


class TestOptionalTypes:
    def test_what_is_not_sent_is_not_there(self, loader: Any) -> None:
        source = loader.source({"model.onnx": by_type(helper.make_tensor_type_proto(FLOAT, ["N", 2]))})
        config = loader.complete(OnnxBackend(), source)
        assert (config.max_batch_size, inputs_of(config)) == (4, [("x", [2], False), ("o", [2], True)])
        served = loader.serve(OnnxBackend(), source)
        for _ in range(2):
            assert served.execute({"x": X})["y"].tolist() == X.tolist()
            assert served.execute({"x": X, "o": X})["y"].tolist() == (X * 2).tolist()

    def test_one_that_cannot_be_carried_is_never_there(self, loader: Any) -> None:
        tensors = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
        source = loader.source({"model.onnx": by_type(tensors, used=False)})
        assert inputs_of(loader.complete(OnnxBackend(), source)) == [("x", [2], False)]
        assert loader.serve(OnnxBackend(), source).execute({"x": X})["y"].tolist() == X.tolist()
        with pytest.raises(InvalidArgumentError, match=r"input 'o' is seq\(tensor\(float\)\), which"):
            loader.complete(OnnxBackend(), source, 'input { name: "o" }')


def test_an_input_that_cannot_be_carried_is_an_error(loader: Any) -> None:
    tensors = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    graph = helper.make_graph(
        [helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)],
        "g",
        [tensors],
        [info("y", FLOAT, ["N", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    source = loader.source({"model.onnx": model.SerializeToString()})
    for text in ("", 'input { name: "s" }'):
        with pytest.raises(InvalidArgumentError, match=r"input 's' is seq\(tensor\(float\)\), which"):
            loader.complete(OnnxBackend(), source, text)
