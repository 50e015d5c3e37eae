"""Small models run on buffers that stay, and nobody can tell."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve_v2_backends.onnx.backend import OnnxBackend
from kserve_v2_backends.onnx.bound import BoundRuns
from onnx import TensorProto, helper

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.tensors.datatypes import BF16, BY_CONFIG_ENUM, BYTES, Array

FLOAT, INT32 = TensorProto.FLOAT, TensorProto.INT32
Dims = Sequence[int | str] | None

# Types that BoundRuns takes; the kernels below have them all.
ELEMENT_TYPES = {
    "TYPE_FP32": TensorProto.FLOAT,
    "TYPE_FP64": TensorProto.DOUBLE,
    "TYPE_FP16": TensorProto.FLOAT16,
    "TYPE_INT8": TensorProto.INT8,
    "TYPE_UINT8": TensorProto.UINT8,
    "TYPE_INT32": TensorProto.INT32,
    "TYPE_INT64": TensorProto.INT64,
    "TYPE_UINT64": TensorProto.UINT64,
    "TYPE_BOOL": TensorProto.BOOL,
}


def proto(
    nodes: list[Any], inputs: Mapping[str, tuple[int, Dims]], outputs: Mapping[str, tuple[int, Dims]]
) -> bytes:
    """A model file."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *info) for name, info in inputs.items()],
        [helper.make_tensor_value_info(name, *info) for name, info in outputs.items()],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    content: bytes = model.SerializeToString()
    return content


def swap(element_type: int, dims: Dims) -> bytes:
    """Two inputs, each of which is the other output."""
    nodes = [helper.make_node("Identity", ["a"], ["y"]), helper.make_node("Identity", ["b"], ["x"])]
    tensor = (element_type, dims)
    return proto(nodes, {"a": tensor, "b": tensor}, {"x": tensor, "y": tensor})


def config(
    max_batch_size: int,
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
    data_type: str,
) -> ModelConfig:
    """A complete configuration."""
    found = ModelConfig(name="m", max_batch_size=max_batch_size)
    for name, dims in inputs.items():
        found.input.add(name=name, data_type=data_type, dims=dims)
    for name, dims in outputs.items():
        found.output.add(name=name, data_type=data_type, dims=dims)
    return found


def runs(
    model: bytes,
    max_batch_size: int,
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
    data_type: str = "TYPE_FP32",
) -> BoundRuns | None:
    """What is made for a model, if anything."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return BoundRuns.of(session, config(max_batch_size, inputs, outputs, data_type), ort.RunOptions())


@pytest.fixture
def batched() -> BoundRuns:
    """`swap` of rows of 3 FP32, up to 8 of them."""
    found = runs(swap(FLOAT, ("N", 3)), 8, {"a": [3], "b": [3]}, {"x": [3], "y": [3]})
    assert found is not None
    return found


def rows(count: int, value: float) -> Array:
    return np.full((count, 3), value, np.float32)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(st.sampled_from(sorted(ELEMENT_TYPES)), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data())
def test_any_type_and_shape(data_type: str, dims: list[int], data: st.DataObject) -> None:
    """Equal to the bit, in any order of batch sizes."""
    names = {"a": dims, "b": dims}, {"x": dims, "y": dims}
    bound = runs(swap(ELEMENT_TYPES[data_type], ["N", *dims]), 8, *names, data_type)
    assert bound is not None
    dtype = BY_CONFIG_ENUM[ModelConfig(input=[{"data_type": data_type}]).input[0].data_type].dtype
    for count in data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=4)):
        size = count * int(np.prod(dims))
        a, b = (
            np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), np.uint8)
            .astype(dtype)
            .reshape(count, *dims)
            for _ in range(2)
        )
        got = bound.run({"b": b, "a": a})
        assert got is not None
        assert list(got) == ["x", "y"]
        for name, expected in (("x", b), ("y", a)):
            assert (got[name].dtype, got[name].shape) == (dtype, expected.shape)
            assert got[name].tobytes() == expected.tobytes()


def test_outputs_are_not_overwritten_by_the_next_run(batched: BoundRuns) -> None:
    first = batched.run({"a": rows(2, 1), "b": rows(2, 2)})
    batched.run({"a": rows(2, 3), "b": rows(2, 4)})
    assert first is not None
    assert (first["x"].tolist(), first["y"].tolist()) == (rows(2, 2).tolist(), rows(2, 1).tolist())


def test_inputs_in_any_layout(batched: BoundRuns) -> None:
    a = np.arange(12, dtype=np.float32).reshape(3, 4).T[::2]
    assert not a.flags.c_contiguous
    got = batched.run({"a": a, "b": a[::-1]})
    assert got is not None
    assert (got["y"].tolist(), got["x"].tolist()) == (a.tolist(), a[::-1].tolist())


def test_without_a_batch_dimension() -> None:
    bound = runs(swap(INT32, (2, 2)), 0, {"a": [2, 2], "b": [2, 2]}, {"x": [2, 2], "y": [2, 2]}, "TYPE_INT32")
    assert bound is not None
    a, b = np.eye(2, dtype=np.int32), np.ones((2, 2), np.int32)
    got = bound.run({"a": a, "b": b})
    assert got is not None
    assert (got["x"].tolist(), got["y"].tolist()) == (b.tolist(), a.tolist())


def test_only_the_configured_outputs() -> None:
    bound = runs(swap(FLOAT, ("N", 3)), 8, {"a": [3], "b": [3]}, {"y": [3]})
    assert bound is not None
    assert list(bound.run({"a": rows(1, 1), "b": rows(1, 2)}) or ()) == ["y"]


# --- what the session does itself -----------------------------------------------------------------------------------


def test_batches_that_do_not_fit_together(batched: BoundRuns) -> None:
    """Numbers are not repeated to fill a batch."""
    assert batched.run({"a": rows(4, 1), "b": rows(1, 2)}) is None
    assert batched.run({"a": rows(1, 1), "b": rows(4, 2)}) is None


def test_large_tensors() -> None:
    bound = runs(swap(FLOAT, ("N", 512)), 8, {"a": [512], "b": [512]}, {"x": [512], "y": [512]})
    assert bound is not None
    small, large = (np.ones((count, 512), np.float32) for count in (2, 3))
    assert bound.run({"a": small, "b": small}) is not None
    for _ in range(100):
        assert bound.run({"a": large, "b": large}) is None
        large = np.ones((len(large) + 1, 512), np.float32)
    # They take no other size's place.
    one = np.ones((1, 512), np.float32)
    assert bound.run({"a": one, "b": one}) is not None


def test_batches_of_many_sizes() -> None:
    dims = {"a": [3], "b": [3]}, {"x": [3], "y": [3]}
    bound = runs(swap(FLOAT, ("N", 3)), 100, *dims)
    assert bound is not None
    taken = [bound.run({"a": rows(count, 1), "b": rows(count, 2)}) is not None for count in range(1, 100)]
    assert taken == [True] * 64 + [False] * 35
    assert bound.run({"a": rows(64, 1), "b": rows(64, 2)}) is not None


def test_nothing_at_all(batched: BoundRuns) -> None:
    assert batched.run({"a": rows(0, 1), "b": rows(0, 1)}) is None


VARYING: dict[str, tuple[Dims, int, Sequence[int], str]] = {
    "shapes-that-vary": (("N", "M"), 8, [-1], "TYPE_FP32"),
    "no-batches-and-a-shape-that-varies": (("N", 3), 0, [-1, 3], "TYPE_FP32"),
    "an-unknown-rank": (None, 0, [3], "TYPE_FP32"),
}


@pytest.mark.parametrize("name", VARYING)
def test_models_whose_tensors_vary(name: str) -> None:
    in_file, max_batch_size, dims, data_type = VARYING[name]
    names = {"a": dims, "b": dims}, {"x": dims, "y": dims}
    assert runs(swap(FLOAT, in_file), max_batch_size, *names, data_type) is None


@pytest.mark.parametrize("datatype", [BYTES, BF16])
def test_models_of_what_numpy_does_not_have(datatype: Any) -> None:
    element_type = {BYTES: TensorProto.STRING, BF16: TensorProto.BFLOAT16}[datatype]
    data_type = {BYTES: "TYPE_STRING", BF16: "TYPE_BF16"}[datatype]
    names = {"a": [3], "b": [3]}, {"x": [3], "y": [3]}
    assert runs(swap(element_type, ("N", 3)), 8, *names, data_type) is None


def test_an_input_that_the_configuration_leaves_out() -> None:
    assert runs(swap(FLOAT, ("N", 3)), 8, {"a": [3]}, {"y": [3]}) is None


# --- within an instance ---------------------------------------------------------------------------------------------

TABLE = proto(
    [helper.make_node("Gather", ["table", "i"], ["y"]), helper.make_node("Constant", [], ["table"], value_floats=[5.0, 6.0])][::-1],
    {"i": (TensorProto.INT64, ("N", 1))},
    {"y": (FLOAT, ("N", 1))},
)  # fmt: skip
EVERY_OTHER_ROW = proto(
    [
        *(
            helper.make_node("Constant", [], [name], value_ints=[value])
            for name, value in {"start": 0, "end": 2**31, "axis": 0, "step": 2}.items()
        ),
        helper.make_node("Slice", ["a", "start", "end", "axis", "step"], ["y"]),
    ],
    {"a": (FLOAT, ("N", 3))},
    {"y": (FLOAT, ("N", 3))},
)


def test_a_run_that_fails_says_what_the_session_says(loader: Any) -> None:
    instance = loader.serve(OnnxBackend(), loader.source({"model.onnx": TABLE}))
    assert instance.execute({"i": np.array([[1], [0]])})["y"].tolist() == [[6.0], [5.0]]
    with pytest.raises((InternalError, InvalidArgumentError), match="indices element out of data bounds"):
        instance.execute({"i": np.array([[7], [0]])})
    assert instance.execute({"i": np.array([[0], [1]])})["y"].tolist() == [[5.0], [6.0]]


def test_an_output_with_fewer_rows_than_the_input(loader: Any) -> None:
    """It is for the server to say that this is no batch; the numbers are right."""
    instance = loader.serve(OnnxBackend(), loader.source({"model.onnx": EVERY_OTHER_ROW}))
    bound = instance.instance._bound
    for _ in range(2):
        assert instance.execute({"a": rows(2, 1)})["y"].tolist() == [[1.0, 1.0, 1.0]]
        # It is tried once.
        assert bound.run({"a": rows(2, 1)}) is None
    assert instance.execute({"a": rows(1, 3)})["y"].tolist() == [[3.0, 3.0, 3.0]]
    assert bound.run({"a": rows(1, 1)}) is not None


def test_data_that_fails_does_not_count_against_its_batch_size(loader: Any) -> None:
    instance = loader.serve(OnnxBackend(), loader.source({"model.onnx": TABLE}))
    with pytest.raises((InternalError, InvalidArgumentError)):
        instance.execute({"i": np.array([[7], [0]])})
    assert instance.instance._bound.run({"i": np.array([[1], [0]])}) is not None


def test_instances_of_one_session_have_their_own_buffers(loader: Any, instance_thread: Any) -> None:
    """Each run is one at a time, but only within its instance."""
    source = loader.source({"model.onnx": swap(FLOAT, ("N", 3))}, instances=2)
    model = loader.load(OnnxBackend(), source)
    instances = [instance_thread(model) for _ in range(2)]
    try:
        for each in instances:
            each.execute({"a": rows(1, 1), "b": rows(1, 2)})
        first, second = (each.instance._bound._bound[1, 3] for each in instances)
        for (_, one), (_, other) in zip(
            first.inputs + first.outputs, second.inputs + second.outputs, strict=True
        ):
            assert not np.shares_memory(one, other)
    finally:
        for each in instances:
            each.close()


def test_an_input_that_is_an_output_too(loader: Any) -> None:
    model = proto(
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": (FLOAT, ("N", 3))},
        {"y": (FLOAT, ("N", 3)), "x": (FLOAT, ("N", 3))},
    )
    instance = loader.serve(OnnxBackend(), loader.source({"model.onnx": model}))
    outputs = instance.execute({"x": rows(1, 1.5)})
    assert {name: array.tolist() for name, array in outputs.items()} == {
        name: [[1.5, 1.5, 1.5]] for name in "yx"
    }


def test_a_model_without_inputs(loader: Any) -> None:
    model = proto(
        [helper.make_node("Constant", [], ["y"], value_floats=[5.0, 6.0])], {}, {"y": (FLOAT, (2,))}
    )
    instance = loader.serve(OnnxBackend(), loader.source({"model.onnx": model}))
    assert instance.execute({})["y"].tolist() == [5.0, 6.0]


def test_an_optional_input(loader: Any) -> None:
    """One that no node uses, and one that the model cannot do without."""
    model = proto(
        [helper.make_node("Identity", ["a"], ["y"])],
        {"a": (FLOAT, (3,)), "b": (FLOAT, (3,))},
        {"y": (FLOAT, (3,))},
    )
    text = """
        input { name: "a" data_type: TYPE_FP32 dims: 3 optional: true }
        input { name: "b" data_type: TYPE_FP32 dims: 3 optional: true }
        """
    instance = loader.serve(OnnxBackend(), loader.source({"model.onnx": model}), text)
    a = np.ones(3, np.float32)
    assert instance.execute({"a": a, "b": a})["y"].tolist() == [1.0, 1.0, 1.0]
    assert instance.execute({"a": a * 2})["y"].tolist() == [2.0, 2.0, 2.0]
    with pytest.raises((InternalError, InvalidArgumentError)):
        instance.execute({"b": a})
