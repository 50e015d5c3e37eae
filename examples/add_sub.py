"""add_sub: an ONNX graph of two operators, written node by node."""

from collections.abc import Callable
from pathlib import Path

from onnx import TensorProto, ValueInfoProto, checker, helper

from examples.sample_request import input_tensor, sample_request

ELEMENTS = 16
ONNX_IR_VERSION = 8
ONNX_OPSET = 17


def make(_repository: Path, _report: Callable[[str], None]) -> dict[str, bytes]:
    """The files of the model `add_sub`."""
    row = range(ELEMENTS)
    sample = sample_request(
        [
            input_tensor("INPUT0", "INT32", [1, ELEMENTS], list(row)),
            input_tensor("INPUT1", "INT32", [1, ELEMENTS], [1 for _ in row]),
        ]
    )
    return {"1/model.onnx": add_sub_onnx(), "sample_request.json": sample}


def add_sub_onnx() -> bytes:
    """INPUT0, INPUT1 INT32 [n, 16] to OUTPUT0 = INPUT0 + INPUT1 and OUTPUT1 = INPUT0 - INPUT1."""

    def tensor(name: str) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", ELEMENTS])

    graph = helper.make_graph(
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        "add_sub",
        [tensor("INPUT0"), tensor("INPUT1")],
        [tensor("OUTPUT0"), tensor("OUTPUT1")],
    )
    opset = [helper.make_opsetid("", ONNX_OPSET)]
    model = helper.make_model(graph, ir_version=ONNX_IR_VERSION, opset_imports=opset)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
