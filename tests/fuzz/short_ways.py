"""What the tests of the short ways over both protocols share."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

PING = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
"""Asked on a connection of its own, to learn that what was sent before on others has been read."""

NOW_CONFIG = """
max_batch_size: 4
input { name: "IN" data_type: TYPE_%s dims: 3 }
output { name: "OUT" data_type: TYPE_%s dims: 3 }
"""

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL, "INT8": TensorProto.INT8, "INT16": TensorProto.INT16, "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64, "UINT8": TensorProto.UINT8, "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32, "UINT64": TensorProto.UINT64, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
}  # fmt: skip
"""The datatypes that typed contents can have, but strings."""


def write_identity(directory: Path, datatype: str = "FP32") -> None:
    """An ONNX model that is executed in place, and gives back what it gets."""
    onnx_type = ONNX_TYPES[datatype]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["IN"], ["OUT"])],
        "identity",
        [helper.make_tensor_value_info("IN", onnx_type, ["n", 3])],
        [helper.make_tensor_value_info("OUT", onnx_type, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (directory / "1").mkdir(parents=True)
    onnx.save(model, directory / "1" / "model.onnx")
    (directory / "config.pbtxt").write_text(NOW_CONFIG % (datatype, datatype))
