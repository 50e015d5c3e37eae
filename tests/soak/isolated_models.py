"""Models that run in processes of their own. Every row of every answer says whose it is: X is `values(tag, size)`, which
no other tag has.
"""

from pathlib import Path

from onnx import TensorProto, helper, save_model

from tests.soak.models import CENSUS

BATCHES = """
import numpy as np

class Model:
    inputs = {"TAG": ("INT64", [1]), "X": ("FP64", [-1])}
    outputs = {"TAG": ("INT64", [1]), "Y": ("FP64", [-1])}
    max_batch_size = 8

    def __call__(self, inputs, requests):
        for request in requests:
            request.response_parameters["id"] = request.id
        return {"TAG": inputs["TAG"], "Y": 2 * inputs["X"]}
"""

# Hands on the input itself, and keeps the last ones: whoever reuses their memory too early is found out.
KEEPS = """
class Model:
    inputs = {"TAG": ("INT64", [1]), "X": ("FP64", [-1])}
    outputs = {"TAG": ("INT64", [1]), "Y": ("FP64", [-1])}
    max_batch_size = 8

    def load(self, context):
        self.kept = []

    def __call__(self, inputs):
        x = inputs["X"]
        x *= 2
        self.kept = [(inputs["TAG"], x, x.sum()), *self.kept][:4]
        assert all(each.sum() == total for _, each, total in self.kept)
        return {"TAG": inputs["TAG"], "Y": x}
"""

ASYNC = """
import asyncio

class Model:
    inputs = {"TAG": ("INT64", [1]), "X": ("FP64", [-1])}
    outputs = {"TAG": ("INT64", [1]), "Y": ("FP64", [-1])}
    max_batch_size = 1
    max_concurrency = 8

    async def __call__(self, inputs):
        await asyncio.sleep(int(inputs["TAG"].ravel()[0]) % 5 / 1000)
        return {"TAG": inputs["TAG"], "Y": 2 * inputs["X"]}
"""

COUNT = """
import numpy as np

class Model:
    inputs = {"TAG": ("INT64", [1]), "N": ("INT32", [1]), "X": ("FP64", [-1])}
    outputs = {"TAG": ("INT64", [1]), "I": ("INT32", [1]), "Y": ("FP64", [-1])}

    def __call__(self, inputs):
        for number in range(inputs["N"].item()):
            yield {"TAG": inputs["TAG"], "I": np.array([number], np.int32), "Y": 2 * inputs["X"]}
"""

ASYNC_COUNT = COUNT.replace("    def __call__", "    max_concurrency = 4\n\n    async def __call__")

TRITON = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            tag = pb_utils.get_input_tensor_by_name(request, "TAG").as_numpy()
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("TAG", tag), pb_utils.Tensor("Y", 2 * x)]))
        return responses
"""

CONFIG = """
max_batch_size: 8
input [ { name: "TAG" data_type: TYPE_INT64 dims: [ 1 ] }, { name: "X" data_type: TYPE_FP64 dims: [ -1 ] } ]
output [ { name: "TAG" data_type: TYPE_INT64 dims: [ 1 ] }, { name: "Y" data_type: TYPE_FP64 dims: [ -1 ] } ]
dynamic_batching { }
"""

CALLER = """
class Model:
    inputs = {"TAG": ("INT64", [1]), "X": ("FP64", [-1])}
    outputs = {"TAG": ("INT64", [1]), "Y": ("FP64", [-1])}
    max_batch_size = 1

    def load(self, context):
        self.context = context

    def __call__(self, inputs):
        return self.context.call("free", inputs)
"""

_NEVER = 'parameters { key: "isolation" value { string_value: "none" } }\n'

ISOLATED = ("batches", "keeps", "async", "count", "async_count", "triton", "onnx", "caller")
"""Those whose processes may be killed."""

UNARY = ("batches", "keeps", "async", "triton", "onnx", "caller")


def write_isolated(repository: Path) -> None:
    """Write all of them; `free`, which runs in the server and is never disturbed; and `census`."""
    for name, code, config in (
        ("batches", BATCHES, "dynamic_batching { }\ninstance_group { count: 2 kind: KIND_CPU }\n"),
        ("keeps", KEEPS, "dynamic_batching { }\n"),
        ("async", ASYNC, ""),
        ("count", COUNT, ""),
        ("async_count", ASYNC_COUNT, ""),
        ("triton", TRITON, CONFIG),
        ("caller", CALLER, "instance_group { count: 2 kind: KIND_CPU }\n"),
        ("free", BATCHES, "dynamic_batching { }\n" + _NEVER),
        ("census", CENSUS, _NEVER),
    ):
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "1" / "model.py").write_text(code)
        if config:
            (repository / name / "config.pbtxt").write_text(config)
    _write_onnx(repository / "onnx")


def _write_onnx(directory: Path) -> None:
    number, text = TensorProto.INT64, TensorProto.DOUBLE
    graph = helper.make_graph(
        [helper.make_node("Add", ["X", "X"], ["Y"]), helper.make_node("Identity", ["tag"], ["TAG"])],
        "double",
        [
            helper.make_tensor_value_info("tag", number, ["batch", 1]),
            helper.make_tensor_value_info("X", text, ["batch", "n"]),
        ],
        [
            helper.make_tensor_value_info("TAG", number, ["batch", 1]),
            helper.make_tensor_value_info("Y", text, ["batch", "n"]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (directory / "1").mkdir(parents=True)
    save_model(model, str(directory / "1" / "model.onnx"))
