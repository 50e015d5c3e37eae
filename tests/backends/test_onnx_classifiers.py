"""Classifiers whose probabilities are a sequence of maps, as scikit-learn and LightGBM export them."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from kserve_v2_backends.onnx.backend import OnnxBackend
from kserve_v2_backends.onnx.classifiers import maps_to_array
from onnx import TensorProto, helper

from kserve_v2.errors import InternalError, InvalidArgumentError

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
info = helper.make_tensor_value_info


def map_info(name: str, key: int) -> Any:
    """seq(map(key, float))"""
    value = onnx.ValueInfoProto(name=name)
    entry = value.type.sequence_type.elem_type.map_type
    entry.key_type = key
    entry.value_type.CopyFrom(helper.make_tensor_type_proto(FLOAT, None))
    return value


def zipped(classes: Sequence[int | str], batch: int | str = "N") -> bytes:
    """A model that gives back its input p, FP32 [batch, classes], as maps in output m."""
    key, attribute = (
        (INT64, "classlabels_int64s") if isinstance(classes[0], int) else (STRING, "classlabels_strings")
    )
    zip_map = helper.make_node("ZipMap", ["p"], ["m"], domain="ai.onnx.ml", **{attribute: classes})
    graph = helper.make_graph([zip_map], "g", [info("p", FLOAT, [batch, len(classes)])], [map_info("m", key)])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return content


def row(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


P = np.stack([row(0.5, 0.25, 0.125), row(-1, 0, np.inf)])


@pytest.mark.parametrize(
    "classes",
    [[0, 1, 2], [30, -7, 2**62], ["b", "a", "c"], ["", "é", "a b"]],
    ids=["ascending", "any order", "strings", "odd strings"],
)
def test_the_maps_are_the_tensor_that_they_were_made_of(loader: Any, classes: list[int | str]) -> None:
    source = loader.source({"model.onnx": zipped(classes)})
    config = loader.complete(OnnxBackend(), source)
    assert config.max_batch_size == 4
    assert [(t.name, t.data_type, list(t.dims)) for t in config.output] == [("m", 11, [3])]
    model = loader.load(OnnxBackend(), source)
    assert model.output_labels == {"m": tuple(map(str, classes))}
    output = loader.serve(OnnxBackend(), source).execute({"p": P})["m"]
    assert (output.dtype, output.tobytes()) == (np.float32, P.tobytes())


def test_a_model_that_is_served_as_it_is_written(loader: Any) -> None:
    """With the rows among the dimensions, with no rows, and without a completed configuration."""
    source = loader.source({"model.onnx": zipped([1, 2, 3])})
    text = """
        input { name: "p" data_type: TYPE_FP32 dims: [-1, 3] } output { name: "m" data_type: TYPE_FP32 dims: [-1, 3] }
        """
    model = OnnxBackend().load(source, loader.config(OnnxBackend(), source, text))
    instance = model.instance(source.placements[0])
    for rows in (2, 1, 0):
        assert instance.execute({"p": P[:rows]}, [])["m"].tolist() == P[:rows].tolist()
    instance.close()
    model.close()


def test_a_fixed_number_of_rows_is_no_batch(loader: Any) -> None:
    source = loader.source({"model.onnx": zipped([1, 2, 3], batch=2)})
    config = loader.complete(OnnxBackend(), source)
    assert (config.max_batch_size, list(config.output[0].dims)) == (0, [-1, 3])
    assert loader.serve(OnnxBackend(), source).execute({"p": P})["m"].tolist() == P.tolist()


def test_one_class(loader: Any) -> None:
    served = loader.serve(OnnxBackend(), loader.source({"model.onnx": zipped(["only"])}))
    assert served.execute({"p": P[:, :1]})["m"].tolist() == P[:, :1].tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('output { name: "m" data_type: TYPE_FP64 }', "output[0].data_type: 'm' is TYPE_FP32 in model.onnx"),
        (
            'max_batch_size: 8 output { name: "m" dims: 4 }',
            "output[0].dims: 'm' has dims [3] behind the batch dimension in model.onnx",
        ),
    ],
)
def test_a_configuration_that_says_otherwise(loader: Any, text: str, expected: str) -> None:
    source = loader.source({"model.onnx": zipped([1, 2, 3])})
    with pytest.raises(InvalidArgumentError) as caught:
        loader.complete(OnnxBackend(), source, text)
    assert expected in caught.value.message


class TestWhatIsNotKnown:
    """Maps that cannot be told to be a tensor's rows."""

    def test_classes_that_are_one_and_the_same(self, loader: Any, caplog: pytest.LogCaptureFixture) -> None:
        proto = onnx.load_from_string(zipped([1, 1, 2]))
        proto.graph.node.append(helper.make_node("Identity", ["p"], ["y"]))
        proto.graph.output.append(info("y", FLOAT, ["N", 3]))
        source = loader.source({"model.onnx": proto.SerializeToString()})
        with caplog.at_level(logging.WARNING):
            config = loader.complete(OnnxBackend(), source)
        assert [output.name for output in config.output] == ["y"]
        assert "'m' is left out: it is seq(map(int64,tensor(float)))" in caplog.text
        assert loader.serve(OnnxBackend(), source).execute({"p": P})["y"].tolist() == P.tolist()

    def test_a_model_with_nothing_else(self, loader: Any) -> None:
        source = loader.source({"model.onnx": zipped([1, 1, 2])})
        with pytest.raises(
            InvalidArgumentError, match=r"model\.onnx has no output that the v2 protocol can carry"
        ):
            loader.complete(OnnxBackend(), source)

    @pytest.mark.parametrize("completed", [True, False])
    def test_a_configuration_that_names_it(self, loader: Any, completed: bool) -> None:
        source = loader.source({"model.onnx": zipped([1, 1, 2])})
        config = loader.config(
            OnnxBackend(),
            source,
            'input { name: "p" data_type: TYPE_FP32 dims: [-1, 3] } '
            'output { name: "m" data_type: TYPE_FP32 dims: [-1, 3] }',
        )
        call = OnnxBackend().complete if completed else OnnxBackend().load
        with pytest.raises(
            InvalidArgumentError, match=r"output 'm' is seq\(map.*the configuration must not name it"
        ):
            call(source, config)


def test_maps_with_other_classes_are_an_error() -> None:
    """ONNX Runtime gives none: each of its maps has all classes."""
    assert maps_to_array("m", (1, 2), [{2: 0.5, 1: 0.25}]).tolist() == [[0.25, 0.5]]
    for wrong in ({1: 0.5}, {1: 0.5, 3: 0.5}, {1: 0.5, 2: 0.25, 3: 0.25}, {}):
        with pytest.raises(InternalError, match="output 'm': expected a probability for each of"):
            maps_to_array("m", (1, 2), [{1: 0.5, 2: 0.5}, wrong])


@pytest.mark.parametrize("steps", [[], ["Cast"], ["Identity", "Cast", "Identity"]], ids=str)
def test_a_class_for_each_row_whatever_shape_is_declared(loader: Any, steps: list[str]) -> None:
    """LightGBM's converter declares the label as [1]."""
    names = [f"t{number}" for number in range(len(steps))]
    outputs = [*names[1:], "label"] if steps else []
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["p"],
            [names[0] if names else "label", "scores"],
            domain="ai.onnx.ml",
            coefficients=[1.0, 0.0, 0.0, 1.0],
            intercepts=[0.0, 0.0],
            classlabels_ints=[7, 8],
        )
    ]
    for step, source, target in zip(steps, names, outputs, strict=True):
        nodes.append(helper.make_node(step, [source], [target], **({"to": INT64} if step == "Cast" else {})))
    graph = helper.make_graph(
        nodes, "g", [info("p", FLOAT, ["N", 2])], [info("label", INT64, [1]), info("scores", FLOAT, ["N", 2])]
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    source = loader.source({"model.onnx": model.SerializeToString()})
    config = loader.complete(OnnxBackend(), source)
    assert config.max_batch_size == 4
    assert config.output[0].HasField("reshape")
    served = loader.serve(OnnxBackend(), source)
    for rows in (P[:, :2], P[:1, :2], P[[0, 1, 1, 0], :2]):
        expected = [8 if row[1] > row[0] else 7 for row in rows.tolist()]
        assert served.execute({"p": np.ascontiguousarray(rows)})["label"].tolist() == expected


def test_other_sizes_that_a_file_declares_may_be_those_of_its_example(loader: Any) -> None:
    """ONNX Runtime warns of that, and answers."""
    scaler = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0])
    graph = helper.make_graph([scaler], "g", [info("x", FLOAT, ["N"])], [info("y", FLOAT, [1])])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    source = loader.source({"model.onnx": model.SerializeToString()})
    config = loader.complete(OnnxBackend(), source)
    assert (config.max_batch_size, list(config.output[0].dims)) == (0, [-1])
