"""Models that answer with a number, to be edited and broken: one in the server's process, whose memory is known, one in
processes of its own, and a large one beside which there is room for nothing.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.integration.handlers import versioned
from tests.integration.lifecycle_requests import BROKEN

ALL = "version_policy { all { } }"
ISOLATED = 'parameters { key: "isolation" value { string_value: "process" } }'
# A copy would count for each process.
AT_HOME = 'parameters { key: "home" value { string_value: "single" } }'

NEAR, APART, LARGE = "near", "apart", "large"
CONFIGS = {NEAR: ALL, APART: ALL + ISOLATED, LARGE: ALL + AT_HOME}
MEGABYTE = 1024 * 1024
SIZES = {NEAR: 12 * MEGABYTE, LARGE: 180 * MEGABYTE}
# Room for both versions of `near` and of `apart`, old and new; of those, for none beside `large` but some of `apart`.
BUDGET = 200 * MEGABYTE


def write(root: Path, name: str, version: int, number: int, *, sound: bool = True) -> None:
    """Put a version into the repository that answers with `number`, or that cannot be loaded."""
    folder = root / name / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    (root / name / "config.pbtxt").write_text(CONFIGS[name])
    if name == APART:
        (folder / "model.py").write_text((versioned(number) if sound else BROKEN) + f"\n# {number}\n")
    elif sound:
        # A file may be mapped by whoever has it loaded: it is replaced, as operators do it.
        onnx.save(weighing(SIZES[name], number), folder / "new")
        (folder / "new").rename(folder / "model.onnx")
    else:
        (folder / "new").write_bytes(b"broken on purpose %d" % number)
        (folder / "new").rename(folder / "model.onnx")


def weighing(size: int, number: int) -> onnx.ModelProto:
    """VERSION = IN + number, with so many bytes of weights."""
    weights = np.zeros(size // 4, np.int32)
    weights[0] = number
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["w", "zero", "one"], ["first"]),
            helper.make_node("Add", ["IN", "first"], ["VERSION"]),
        ],
        "number",
        [helper.make_tensor_value_info("IN", TensorProto.INT32, [1])],
        [helper.make_tensor_value_info("VERSION", TensorProto.INT32, [1])],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([0], np.int64), "zero"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
