"""What is read of an ONNX file without ONNX Runtime."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve_v2_backends.onnx.backend import OnnxBackend
from kserve_v2_backends.onnx.header import read_header
from kserve_v2_backends.onnx.structure import read_structure
from onnx import TensorProto, helper

from kserve_v2.backend import MovableInstance
from kserve_v2.errors import InvalidArgumentError

BOOL, FLOAT, INT64 = TensorProto.BOOL, TensorProto.FLOAT, TensorProto.INT64


def info(name: str, element: int, dims: Any) -> Any:
    return helper.make_tensor_value_info(name, element, dims)


def model(nodes: list[Any], initializers: Any = (), functions: Any = ()) -> bytes:
    """From x to y, both FP32 [N, 1]."""
    graph = helper.make_graph(
        nodes, "g", [info("x", FLOAT, ["N", 1])], [info("y", FLOAT, ["N", 1])], list(initializers)
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString()
    return content


def branch(name: str) -> Any:
    return helper.make_graph(
        [helper.make_node("Neg", ["x"], [name])], name, [], [info(name, FLOAT, ["N", 1])]
    )


def choice(output: str = "y") -> Any:
    return helper.make_node("If", ["yes"], [output], then_branch=branch("a"), else_branch=branch("b"))


def loop() -> Any:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "state"], ["doubled"]),
            helper.make_node("Identity", ["going"], ["on"]),
        ],
        "body",
        [info("i", INT64, []), info("going", BOOL, []), info("state", FLOAT, ["N", 1])],
        [info("on", BOOL, []), info("doubled", FLOAT, ["N", 1])],
    )
    return helper.make_node("Loop", ["times", "yes", "x"], ["y"], body=body)


def scan() -> Any:
    body = helper.make_graph(
        [helper.make_node("Neg", ["row"], ["negated"])],
        "body",
        [info("row", FLOAT, [1])],
        [info("negated", FLOAT, [1])],
    )
    return helper.make_node("Scan", ["x"], ["y"], body=body, num_scan_inputs=1)


YES = helper.make_tensor("yes", BOOL, [], [True])
TIMES = helper.make_tensor("times", INT64, [], [3])
IDENTITY = helper.make_node("Identity", ["x"], ["y"])
HIDDEN = helper.make_function(
    "own",
    "Hidden",
    ["x"],
    ["y"],
    [helper.make_node("Constant", [], ["yes"], value=YES), choice()],
    [helper.make_opsetid("", 21)],
)
PLAIN = helper.make_function(
    "own", "Plain", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], [helper.make_opsetid("", 21)]
)

MODELS = {
    "plain": (model([IDENTITY]), False),
    # Names prove nothing.
    "node named Loop": (model([helper.make_node("Identity", ["x"], ["y"], name="Loop")]), False),
    "function": (model([helper.make_node("Plain", ["x"], ["y"], domain="own")], functions=[PLAIN]), False),
    "if": (model([choice()], [YES]), True),
    "loop": (model([loop()], [YES, TIMES]), True),
    "scan": (model([scan()]), True),
    "if in a function": (
        model([helper.make_node("Hidden", ["x"], ["y"], domain="own")], functions=[HIDDEN]),
        True,
    ),
}


class TestControlFlow:
    @pytest.mark.parametrize("name", MODELS)
    def test_it_is_seen_wherever_it_is(self, tmp_path: Path, name: str) -> None:
        content, has_control_flow = MODELS[name]
        file = tmp_path / "model.onnx"
        file.write_bytes(content)
        assert read_structure(file).has_control_flow is has_control_flow

    @pytest.mark.parametrize("name", MODELS)
    def test_a_model_that_has_it_keeps_to_its_thread(self, loader: Any, name: str) -> None:
        content, has_control_flow = MODELS[name]
        served = loader.serve(OnnxBackend(), loader.source({"model.onnx": content}))
        assert isinstance(served.instance, MovableInstance) is not has_control_flow
        assert served.execute({"x": np.ones((1, 1), np.float32)})["y"].shape == (1, 1)

    def test_what_is_in_onnx_runtimes_own_format_may_have_it(self, tmp_path: Path) -> None:
        file = tmp_path / "model.ort"
        file.write_bytes(b"\x20\x00\x00\x00ORTM")
        assert read_structure(file).has_control_flow


def sized(nodes: list[Any], initializers: Any = (), functions: Any = (), rank: int = 2) -> bytes:
    """From x, FP32 [N, 1], and n, INT64 [2], to y, FP32 of `rank` dimensions."""
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", FLOAT, ["N", 1]), info("n", INT64, [2])],
        [info("y", FLOAT, [f"D{n}" for n in range(rank)])],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))
    content: bytes = proto.SerializeToString()
    return content


def node(operator: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    """`inputs` by their names; "-" for one that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, [output], **attributes)


TWO = helper.make_tensor("two", INT64, [2], [3, 4])
ZERO, ONE = (helper.make_tensor(name, INT64, [], [value]) for name, value in (("zero", 0), ("one", 1)))
PADS = helper.make_tensor("pads", INT64, [4], [0, 0, 1, 1])
SIZED = helper.make_function(
    "own", "Sized", ["x", "n"], ["y"], [node("Expand", "x n")], [helper.make_opsetid("", 21)]
)  # fmt: skip

SIZES = {
    "nothing": (sized([node("Neg", "x")]), False),
    "expand to a weight": (sized([node("Expand", "x two")], [TWO]), False),
    "expand to a constant": (
        sized([node("Constant", "", "shape", value=TWO), node("Expand", "x shape")]), False,
    ),
    "expand to a shape": (sized([node("Shape", "n", "s"), node("Expand", "x s")]), False),
    "expand to an input": (sized([node("Expand", "x n")]), True),
    "expand to what is computed of an input": (
        sized([node("Abs", "n", "a"), node("Mul", "a two", "b"), node("Expand", "x b")], [TWO]), True,
    ),
    "expand to what is computed of a shape": (
        sized([node("Shape", "n", "s"), node("Concat", "s s", "b", axis=0), node("Expand", "x b")]), False,
    ),
    "tile": (sized([node("Tile", "x n")]), True),
    "range to an input": (
        sized(
            [
                node("ReduceMax", "n -", "end", keepdims=0), node("Range", "zero end one", "r"),
                node("Cast", "r", "y", to=FLOAT),
            ],
            [ZERO, ONE],
            rank=1,
        ),
        True,
    ),
    "range to a size": (
        sized(
            [node("Size", "x", "end"), node("Range", "zero end one", "r"), node("Cast", "r", "y", to=FLOAT)],
            [ZERO, ONE],
            rank=1,
        ),
        False,
    ),
    "constant of shape": (sized([node("ConstantOfShape", "n", "y")]), True),
    "pad by a weight": (sized([node("Pad", "x pads")], [PADS]), False),
    "non-zero": (sized([node("NonZero", "x", "z"), node("Cast", "z", "y", to=FLOAT)]), True),
    "a slice is no more than what it is of": (sized([node("Slice", "x n two", "y")], [TWO]), False),
    "in a function": (sized([helper.make_node("Sized", ["x", "n"], ["y"], domain="own")], functions=[SIZED]), True),
}  # fmt: skip


class TestSizes:
    @pytest.mark.parametrize("name", SIZES)
    def test_what_values_say_is_told_from_what_shapes_say(self, tmp_path: Path, name: str) -> None:
        content, by_values = SIZES[name]
        file = tmp_path / "model.onnx"
        file.write_bytes(content)
        structure = read_structure(file)
        assert structure.sized_by_values is by_values
        assert not structure.has_control_flow

    @pytest.mark.parametrize("name", [name for name in SIZES if "slice" not in name])
    def test_a_model_whose_work_a_client_chooses_keeps_to_its_thread(self, loader: Any, name: str) -> None:
        content, by_values = SIZES[name]
        served = loader.serve(OnnxBackend(), loader.source({"model.onnx": content}))
        assert isinstance(served.instance, MovableInstance) is not by_values
        assert "y" in served.execute({"x": np.ones((1, 1), np.float32), "n": np.array([2, 3])})


@pytest.mark.parametrize(
    "numbers",
    [
        {"floats": [1.5] * 1000},
        {"ints": [0, 1, -1, 2**40, 61, 64] * 200},  # 61 and 64 are the tags themselves
        {"floats": [np.frombuffer(b"\x3d\x3d\x40\x40", np.float32)[0]] * 5, "ints": [64] * 5},
    ],
    ids=["floats", "integers", "both"],
)
def test_numbers_that_are_not_packed_are_skipped(tmp_path: Path, numbers: dict[str, list[Any]]) -> None:
    """The graph behind them is found; ONNX's own classes write numbers without packing."""
    node = choice()
    attribute = node.attribute[0]
    for field, values in numbers.items():
        getattr(attribute, field).extend(values)
    attribute.graphs.append(branch("c"))
    attribute.ClearField("g")
    del node.attribute[1]
    graph = helper.make_graph([node], "g", [], [])
    file = tmp_path / "model.onnx"
    file.write_bytes(helper.make_model(graph).SerializeToString())
    assert read_structure(file).has_control_flow


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_bytes_are_a_model_or_none(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([content for content, _ in MODELS.values()])))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 8)))
        content[start:stop] = data.draw(
            st.binary(max_size=8) | st.sampled_from([b"\x3d", b"\x40", b"\xff" * 10])
        )
    file = tmp_path_factory.getbasetemp() / "any.onnx"
    file.write_bytes(content)
    for read in (read_structure, read_header):
        with suppress(InvalidArgumentError):
            read(file)
