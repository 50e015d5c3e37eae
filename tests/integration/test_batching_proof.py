"""Requests of different clients are merged only if that is known not to change an answer.

The models in tests/cases are exports of PyTorch as people have them, with the names that it gives to dimensions.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tritonclient.http as triton
from onnx import TensorProto, helper

from kserve_v2.tensors.datatypes import Array
from tests.conftest import RunningServer, StartServer, WriteModel

_CASES = Path(__file__).parents[1] / "cases"
_CASE_NAMES = (
    "clip_legacy", "pairwise", "det_legacy", "embedding_bag", "lstm_seq_first", "lin_dynamo_auto",
    "lin_legacy_only_input_dyn",
)  # fmt: skip

_MIXING_HANDLER = """
class Model:
    inputs = {"x": ("FP32", [4])}
    outputs = {"y": ("FP32", [4])}
    max_batch_size = 8

    def __call__(self, inputs):
        return {"y": inputs["x"] - inputs["x"].mean(axis=0)}
"""


def _onnx(
    path: Path, nodes: Sequence[Any], inputs: dict[str, list[Any]], outputs: dict[str, list[Any]]
) -> None:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()],
        [info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (path / "1").mkdir(parents=True)
    (path / "1" / "model.onnx").write_bytes(model.SerializeToString())


def _write_onnx_models(root: Path) -> None:
    softmax = [helper.make_node("Softmax", ["x"], ["y"], axis=0)]
    for name, config in (
        ("softmax", ""),
        ("softmax_rows", "max_batch_size: 8"),
        ("softmax_asked", "max_batch_size: 8 dynamic_batching { }"),
    ):
        _onnx(root / name, softmax, {"x": ["N", 4]}, {"y": ["N", 4]})
        if config:
            (root / name / "config.pbtxt").write_text(config)
    scores = [helper.make_node("Transpose", ["b"], ["t"]), helper.make_node("MatMul", ["a", "t"], ["y"])]
    _onnx(root / "scores_rows", scores, {"a": ["n", 4], "b": ["m", 4]}, {"y": ["n", "m"]})
    (root / "scores_rows" / "config.pbtxt").write_text("max_batch_size: 8")
    # As exported without names.
    _onnx(root / "scores", scores, {"a": [None, 4], "b": [None, 4]}, {"y": [None, None]})
    found = [
        helper.make_node("NonZero", ["x"], ["i"]), helper.make_node("Transpose", ["i"], ["t"]),
        helper.make_node("Cast", ["t"], ["y"], to=TensorProto.FLOAT),
    ]  # fmt: skip
    _onnx(root / "found", found, {"x": ["s0", 4]}, {"y": ["u0", 2]})
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    for name, config in (
        ("relu", ""),
        ("relu_untried", 'parameters { key: "try_batching" value { string_value: "false" } }'),
        (
            "relu_described",
            'max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: 4 }'
            ' output { name: "y" data_type: TYPE_FP32 dims: 4 }',
        ),
    ):
        _onnx(root / name, relu, {"x": ["N", 4]}, {"y": ["N", 4]})
        if config:
            (root / name / "config.pbtxt").write_text(config)


def _write_torchscript(root: Path) -> None:
    class Mixing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean(0)

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x + self.calls

    for name, module in (("mixing_script", Mixing()), ("counting_script", Counting())):
        (root / name / "1").mkdir(parents=True)
        torch.jit.script(module).save(str(root / name / "1" / "model.pt"))
        (root / name / "config.pbtxt").write_text(
            'max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: 4 }'
            ' output { name: "y" data_type: TYPE_FP32 dims: 4 } dynamic_batching { }'
        )


def _write_exported(root: Path) -> None:
    class Relu(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.relu()

    class Softmax(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.softmax(0)

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x + self.calls

    for name, module in (
        ("relu_export", Relu()),
        ("softmax_export", Softmax()),
        ("counting_export", Counting()),
    ):
        (root / name / "1").mkdir(parents=True)
        varying = {0: torch.export.Dim("batch", max=6)}
        program = torch.export.export(module, (torch.zeros(2, 4),), dynamic_shapes={"x": varying})
        torch.export.save(program, root / name / "1" / "model.pt2")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, start_server: StartServer, write_model: WriteModel
) -> RunningServer:
    root = tmp_path_factory.mktemp("models")
    for name in _CASE_NAMES:
        shutil.copytree(_CASES / name, root / name)
    _write_onnx_models(root)
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        _write_torchscript(root)
        _write_exported(root)
    write_model(root, "mixing_asked", _MIXING_HANDLER, "dynamic_batching { }")
    write_model(root, "mixing_declared", _MIXING_HANDLER)
    try_it = 'parameters { key: "try_batching" value { string_value: "true" } }'
    write_model(root, "mixing_tried", _MIXING_HANDLER, try_it)
    return start_server(root)


@pytest.mark.parametrize(
    ("model", "max_batch_size", "merges"),
    [
        # First dimensions of other names, or a batch that stands elsewhere: no batch dimension at all.
        ("clip_legacy", 0, False),
        ("pairwise", 0, False),
        ("det_legacy", 0, False),
        ("embedding_bag", 0, False),
        ("lstm_seq_first", 0, False),
        # No names, and outputs that don't have a row for each row.
        ("scores", 0, False),
        ("found", 0, False),
        # Names that an exporter has made up say nothing against a batch.
        ("lin_dynamo_auto", 4, True),
        ("lin_legacy_only_input_dyn", 4, True),
        ("relu", 4, True),
        ("relu_export", 4, True),
        # The shapes allow a batch; the rows do not.
        ("softmax_export", 4, False),
        ("counting_export", 0, False),
        ("softmax", 4, False),
        ("softmax_rows", 8, False),
        ("scores_rows", 8, False),
        ("relu_untried", 4, False),
        # As in Triton, a configuration that says what there is says it all.
        ("relu_described", 8, False),
        # What the operator writes is done.
        ("softmax_asked", 8, True),
        ("mixing_asked", 8, True),
        ("mixing_declared", 8, True),
        ("mixing_script", 8, True),
    ],
)
def test_configuration(server: RunningServer, model: str, max_batch_size: int, merges: bool) -> None:
    config = server.get(f"/v2/models/{model}/config").json()
    assert (config["max_batch_size"], "dynamic_batching" in config) == (max_batch_size, merges)


def test_an_exported_program_is_served_without_a_configuration(server: RunningServer) -> None:
    """Also more rows than it takes at a time: where rows are independent, the request is cut."""
    for model, rows, expected in (
        ("relu_export", 1, 200),
        ("relu_export", 9, 200),
        ("softmax_export", 5, 200),
    ):
        tensor = {
            "name": "x",
            "datatype": "FP32",
            "shape": [rows, 4],
            "data": [float(n) for n in range(4 * rows)],
        }
        answer = server.infer(model, {"inputs": [tensor]})
        assert answer.status_code == expected, answer.text
        assert answer.json()["outputs"][0]["shape"] == [rows, 4]
    tensor = {"name": "x", "datatype": "FP32", "shape": [9, 4], "data": [0] * 36}
    answer = server.infer("softmax_export", {"inputs": [tensor]})
    assert answer.status_code == 400
    assert "input 'x': dimension 0 is 9, but the program takes at most 6" in answer.json()["error"]


def test_a_trial_leaves_no_trace_in_the_buffers_of_a_module(server: RunningServer) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}
    (output,) = server.infer("counting_script", {"inputs": [tensor]}).json()["outputs"]
    assert output["data"] == [1, 1, 1, 1]
    assert "'counting_script': dynamic_batching merges requests" in server.log


@pytest.mark.parametrize(
    ("model", "lines"),
    [
        (
            "softmax",
            ["requests are not merged: output 'y' of two rows together is not that of each of them alone"],
        ),
        ("softmax_rows", ["requests are not merged"]),
        (
            "scores_rows",
            [
                "requests are not merged: its first dimension is no batch: 'm', the first of 'b', is dimension 1 of 'y'"
            ],
        ),
        ("pairwise", ["served without a batch dimension: its first dimension is no batch"]),
        ("det_legacy", ["its first dimensions are different ones: 'batch' ('images'), 'num_dets' ('dets')"]),
        (
            "relu_untried",
            ["requests are not merged: not tried; write dynamic_batching { } into config.pbtxt"],
        ),
        (
            "scores",
            ["served without a batch dimension: output 'y' has shape [2, 2] for two rows, [1, 1] for one"],
        ),
        ("softmax_asked", ["Remove dynamic_batching from config.pbtxt"]),
        ("mixing_asked", ["Remove dynamic_batching from config.pbtxt"]),
        ("mixing_tried", ["Remove dynamic_batching from config.pbtxt"]),
        ("mixing_script", ["Remove dynamic_batching from config.pbtxt"]),
        ("relu", []),
        ("lin_dynamo_auto", []),
        ("mixing_declared", []),
        ("relu_described", []),
    ],
)
def test_one_line_says_why(server: RunningServer, model: str, lines: list[str]) -> None:
    warnings = [line for line in server.log.splitlines() if "WARNING" in line and f"'{model}'" in line]
    assert len(warnings) == len(lines)
    for line, expected in zip(warnings, lines, strict=True):
        assert expected in line


def _infer(
    client: triton.InferenceServerClient, model: str, inputs: dict[str, Array], output: str = "y"
) -> Array:
    tensors = []
    for name, array in inputs.items():
        tensor = triton.InferInput(name, list(array.shape), triton.np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return np.asarray(client.infer(model, tensors).as_numpy(output))


def _softmax(x: Array) -> Array:
    exponentials = np.exp(x - x.max(0))
    return np.asarray(exponentials / exponentials.sum(0))


@pytest.mark.parametrize("model", ["softmax", "pairwise", "scores", "relu", "found"])
def test_concurrent_clients_get_their_own_answers(server: RunningServer, model: str) -> None:
    url = server.rest.removeprefix("http://")

    def ask(seed: int) -> list[str]:
        random = np.random.default_rng(seed)
        wrong = []
        with triton.InferenceServerClient(url) as client:
            for _ in range(25):
                a, b = random.integers(-9, 9, (2, 1, 4)).astype(np.float32)
                if model in ("pairwise", "scores"):
                    got, expected = _infer(client, model, {"a": a, "b": b}), a @ b.T
                else:
                    got = _infer(client, model, {"x": a})
                    expected = {"softmax": _softmax, "relu": lambda x: np.maximum(x, 0), "found": _found}[
                        model
                    ](a)
                if got.shape != expected.shape or not np.allclose(got, expected):
                    wrong.append(f"{got} instead of {expected}")
        return wrong

    with ThreadPoolExecutor(8) as clients:
        assert [wrong for each in clients.map(ask, range(8)) for wrong in each] == []


def _found(x: Array) -> Array:
    return np.argwhere(x != 0).astype(np.float32)


def test_what_has_no_batch_takes_rows_as_they_come(server: RunningServer) -> None:
    with triton.InferenceServerClient(server.rest.removeprefix("http://")) as client:
        a, b = np.ones((1, 4), np.float32), np.full((7, 4), 2, np.float32)
        assert _infer(client, "pairwise", {"a": a, "b": b}).tolist() == [[8.0] * 7]
        assert _infer(client, "scores", {"a": a, "b": b}).tolist() == [[8.0] * 7]
        assert _infer(client, "found", {"x": b}).shape == (28, 2)
        tokens, offsets = np.array([0, 1, 2, 3, 4]), np.array([0, 3])
        assert _infer(client, "embedding_bag", {"tokens": tokens, "offsets": offsets}).shape[0] == 2
