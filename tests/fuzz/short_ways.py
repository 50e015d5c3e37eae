"""What the tests of the short ways over both protocols share."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

PING = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
"""Asked on a connection of its own, to learn that what was sent before on others has been read."""

NOW_CONFIG = """
max_batch_size: 4
input { name: "IN" data_type: TYPE_FP32 dims: 3 }
output { name: "OUT" data_type: TYPE_FP32 dims: 3 }
"""


def write_identity(directory: Path) -> None:
    """An ONNX model that is executed in place, and gives back what it gets."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["IN"], ["OUT"])],
        "identity",
        [helper.make_tensor_value_info("IN", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("OUT", TensorProto.FLOAT, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (directory / "1").mkdir(parents=True)
    onnx.save(model, directory / "1" / "model.onnx")
    (directory / "config.pbtxt").write_text(NOW_CONFIG)
