"""Inputs, outputs and shapes are known without reading the weights, and are the same as with them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from kserve_v2_backends.onnx.backend import OnnxBackend
from kserve_v2_backends.onnx.header import Header, read_header
from kserve_v2_backends.onnx.metadata import OnnxGraph, read_graph
from kserve_v2_backends.onnx.session import metadata_session
from kserve_v2_backends.onnx.structure import OnnxStructure
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
CASES = Path(__file__).parents[1] / "cases"
info = helper.make_tensor_value_info


def weights(name: str, *shape: int) -> Any:
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def model(
    nodes: list[Any], initializers: list[Any], *inputs: Any, ir_version: int = 10, y: Any = ("N", 4)
) -> bytes:
    """From x, FP32 [N, 1000], and `inputs`, to y."""
    graph = helper.make_graph(
        nodes, "g", [info("x", FLOAT, ["N", 1000]), *inputs], [info("y", FLOAT, y)], initializers
    )
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=ir_version
    ).SerializeToString()
    return content


MATMUL = helper.make_node("MatMul", ["x", "w"], ["y"])
W, W_INPUT = weights("w", 1000, 4), info("w", FLOAT, [1000, 4])
# The shape of y, which the file does not tell, follows from w's, and from what `shape` holds.
RESHAPED = [
    helper.make_node("MatMul", ["x", "w"], ["z"]),
    helper.make_node("Reshape", ["z", "shape"], ["y"]),
]
SHAPE = numpy_helper.from_array(np.array([-1, 2, 2], np.int64), "shape")


def inner() -> list[Any]:
    """A weight that only a graph inside the graph uses."""

    def branch(name: str) -> Any:
        return helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], [name])], name, [], [info(name, FLOAT, None)]
        )

    yes = helper.make_node(
        "Constant", [], ["yes"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True])
    )
    return [yes, helper.make_node("If", ["yes"], ["y"], then_branch=branch("a"), else_branch=branch("b"))]


MODELS = {
    "initializer": model([MATMUL], [W]),
    "shape that follows": model(RESHAPED, [W, SHAPE], y=None),
    "weight of a subgraph": model(inner(), [W]),
    "weight that is an input": model([MATMUL], [W], W_INPUT),
    "weight that is an input of an old file": model([MATMUL], [W], W_INPUT, ir_version=3),
    **{path.parents[1].name: path.read_bytes() for path in sorted(CASES.glob("*/1/model.onnx"))},
}


def graph_of(file: Path, header: Header) -> OnnxGraph:
    return read_graph(metadata_session(file, header.content, {}), OnnxStructure(), header)


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_is_the_same_without_weights(tmp_path: Path, name: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(MODELS[name])
    for data in CASES.glob(f"{name}/1/*.data"):
        (tmp_path / data.name).write_bytes(data.read_bytes())
    header = read_header(file)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    alone = read_graph(ort.InferenceSession(header.content, options), OnnxStructure(), header)
    whole = read_graph(ort.InferenceSession(file, options), OnnxStructure())
    assert alone == whole
    assert graph_of(file, header) == whole


@pytest.mark.parametrize("name", list(MODELS)[:5])
def test_weights_are_not_in_it(tmp_path: Path, name: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(MODELS[name])
    header = read_header(file)
    assert len(header.content) < 600
    assert header.weights == {"w"}
    onnx.load_from_string(header.content)


def test_what_cannot_do_without_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(MODELS["initializer"])
    assert graph_of(file, Header(b"no model")) == graph_of(file, read_header(file))


def bytes_read() -> int:
    """What the process has asked the system to read."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count")
@pytest.mark.parametrize("external", [False, True], ids=["in the file", "beside the file"])
def test_weights_are_read_once(loader: Any, tmp_path: Path, external: bool) -> None:
    size = 8 * 1024 * 1024
    proto = onnx.load_from_string(model([MATMUL], [weights("w", 1000, size // 4000)], y=["N", size // 4000]))
    if external:
        onnx.save(proto, tmp_path / "e.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
        files = {
            name: (tmp_path / file).read_bytes()
            for name, file in {"model.onnx": "e.onnx", "w.bin": "w.bin"}.items()
        }
    else:
        files = {"model.onnx": proto.SerializeToString()}
    source = loader.source(files)
    before = bytes_read()
    config = loader.complete(OnnxBackend(), source)
    assert bytes_read() - before < size / 8
    OnnxBackend().load(source, config).close()
    assert bytes_read() - before < size * 1.25
