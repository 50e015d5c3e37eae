"""Sequences of ONNX and TorchScript models, whose controls are inputs of their graphs; and unmodified tritonclient, used
as Triton's example clients for sequences use it.
"""

import queue
import warnings
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import torch
import tritonclient.grpc
import tritonclient.http
from onnx import TensorProto, helper

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.support import json_tensor

# As Triton's simple_sequence and simple_dyna_sequence: a sum, to which the last request of the latter adds its id.
SIMPLE = """
class Model:
    inputs = {"INPUT": ("INT32", [1])}
    outputs = {"OUTPUT": ("INT32", [1])}
    max_batch_size = 8

    def load(self, context):
        self.sums = {}

    def __call__(self, inputs, requests):
        answers = []
        for row, request in enumerate(requests):
            if not inputs["READY"][row, 0]:
                answers.append([0])
                continue
            step = request.sequence
            value = int(inputs["INPUT"][row, 0])
            self.sums[step.id] = value if inputs["START"][row, 0] else self.sums[step.id] + value
            last = "END" in inputs and inputs["END"][row, 0] and isinstance(step.id, int)
            answers.append([self.sums[step.id] + (step.id if last else 0)])
        return {"OUTPUT": answers}
"""

START_READY = """
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }
  control_input { name: "READY" control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } }
"""
END = 'control_input { name: "END" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } }'

# OUT = IN + 10 START + 100 READY + 1000 END, and the id as it came.
GRAPH_CONTROLS = """
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 10 ] } }
  control_input { name: "READY" control { kind: CONTROL_SEQUENCE_READY fp32_false_true: [ 0, 100 ] } }
  control_input { name: "END" control { kind: CONTROL_SEQUENCE_END fp32_false_true: [ 0, 1000 ] } }
"""


def graph_config(kind: str) -> str:
    return f"""
max_batch_size: 4
input {{ name: "IN" data_type: TYPE_FP32 dims: 1 }}
output {{ name: "OUT" data_type: TYPE_FP32 dims: 1 }}
output {{ name: "ID" data_type: TYPE_{kind} dims: 1 }}
sequence_batching {{
  {GRAPH_CONTROLS}
  control_input {{ name: "CORRID" control {{ kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_{kind} }} }}
}}
"""


def write_onnx(root: Path, name: str, config: str, kind: int) -> None:
    controls = [
        helper.make_tensor_value_info(each, TensorProto.FLOAT, ["n", 1]) for each in ("START", "READY", "END")
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Sum", ["IN", "START", "READY", "END"], ["OUT"]),
            helper.make_node("Identity", ["CORRID"], ["ID"]),
        ],
        "g",
        [
            helper.make_tensor_value_info("IN", TensorProto.FLOAT, ["n", 1]),
            *controls,
            helper.make_tensor_value_info("CORRID", kind, ["n", 1]),
        ],
        [
            helper.make_tensor_value_info("OUT", TensorProto.FLOAT, ["n", 1]),
            helper.make_tensor_value_info("ID", kind, ["n", 1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (root / name / "1").mkdir(parents=True)
    onnx.save(model, root / name / "1" / "model.onnx")
    if config:
        (root / name / "config.pbtxt").write_text(config)


class Controlled(torch.nn.Module):
    def forward(
        self,
        IN: torch.Tensor,
        START: torch.Tensor,
        READY: torch.Tensor,
        END: torch.Tensor,
        CORRID: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return IN + START + READY + END, CORRID + 0


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    root = tmp_path_factory.mktemp("clients")
    # "direct", as Triton's have it by default.
    write_model(root, "simple_sequence", SIMPLE, f"sequence_batching {{ {START_READY} }}")
    dyna = f"sequence_batching {{ oldest {{ max_candidate_sequences: 16 }} {START_READY} {END} }}"
    write_model(root, "simple_dyna_sequence", SIMPLE, dyna)
    write_onnx(root, "onnx", graph_config("INT64"), TensorProto.INT64)
    write_onnx(root, "onnx_texts", graph_config("STRING"), TensorProto.STRING)
    # What the file says of its inputs and outputs need not be written.
    completed = graph_config("INT64").replace('input { name: "IN" data_type: TYPE_FP32 dims: 1 }', "")
    completed = "\n".join(line for line in completed.splitlines() if not line.startswith("output"))
    write_onnx(root, "onnx_completed", completed, TensorProto.INT64)
    (root / "torch" / "1").mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(Controlled())
    scripted.save(str(root / "torch" / "1" / "model.pt"))
    (root / "torch" / "config.pbtxt").write_text(graph_config("INT64"))
    return start_server(root)


def step(sequence: object, value: float, start: bool = False, end: bool = False) -> dict[str, Any]:
    return {
        "inputs": [json_tensor("IN", "FP32", [1, 1], [value])],
        "parameters": {"sequence_id": sequence, "sequence_start": start, "sequence_end": end},
    }


@pytest.mark.parametrize(
    ("model", "sequence"), [("onnx", 7), ("onnx_texts", "seven"), ("onnx_completed", 7), ("torch", 7)]
)
def test_controls_that_are_inputs_of_the_graph(server: RunningServer, model: str, sequence: object) -> None:
    metadata = server.get(f"/v2/models/{model}").json()
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["IN"]
    answers = [
        server.infer(model, step(sequence, 1, start=True)),
        server.infer(model, step(sequence, 2)),
        server.infer(model, step(sequence, 3, end=True)),
        server.infer(model, step(sequence, 4, start=True, end=True)),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4, answers[0].text
    outputs = [{each["name"]: each["data"] for each in answer.json()["outputs"]} for answer in answers]
    assert [each["OUT"] for each in outputs] == [[111], [102], [1103], [1114]]
    assert [each["ID"] for each in outputs] == [[sequence]] * 4


VALUES = [11, 7, 5, 3, 2, 0, 1]


def flags(position: int) -> dict[str, bool]:
    return {"sequence_start": position == 0, "sequence_end": position == len(VALUES) - 1}


def sums(sequence: int | str, model: str, sign: int) -> list[int]:
    """Of the values so far; the last one with the id, where the model adds it."""
    expected = [sign * sum(VALUES[: position + 1]) for position in range(len(VALUES))]
    if model == "simple_dyna_sequence" and isinstance(sequence, int):
        expected[-1] += sequence
    return expected


MODELS = ["simple_sequence", "simple_dyna_sequence"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("module", [tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])
@pytest.mark.parametrize(("first", "second"), [(1007, 1001), ("a", "b")])
def test_clients_that_wait_for_each_answer(
    server: RunningServer, model: str, module: Any, first: int | str, second: int | str
) -> None:
    """simple_http_sequence_sync_infer_client.py, simple_grpc_sequence_sync_infer_client.py"""
    url = server.grpc if module is tritonclient.grpc else httpx.URL(server.rest).netloc.decode()
    seen: dict[int | str, list[int]] = {first: [], second: []}
    with module.InferenceServerClient(url) as client:
        for position, value in enumerate(VALUES):
            for sequence, sign in ((first, 1), (second, -1)):
                tensor = module.InferInput("INPUT", [1, 1], "INT32")
                tensor.set_data_from_numpy(np.array([[sign * value]], np.int32))
                result = client.infer(
                    model,
                    [tensor],
                    request_id=f"{sequence}_{position}",
                    sequence_id=sequence,
                    outputs=[module.InferRequestedOutput("OUTPUT")],
                    **flags(position),
                )
                seen[sequence].append(int(result.as_numpy("OUTPUT")[0][0]))
    assert seen == {first: sums(first, model, 1), second: sums(second, model, -1)}


@pytest.mark.parametrize("model", MODELS)
def test_a_client_that_streams(server: RunningServer, model: str) -> None:
    """simple_grpc_sequence_stream_infer_client.py"""
    results: queue.Queue[tuple[Any, Any]] = queue.Queue()
    seen: dict[str, list[int]] = {"1000": [], "1001": [], "text": []}
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(callback=lambda result, error: results.put((result, error)))
        for sequence, sign in ((1000, 1), (1001, -1), ("text", 1)):
            for position, value in enumerate(VALUES):
                tensor = tritonclient.grpc.InferInput("INPUT", [1, 1], "INT32")
                tensor.set_data_from_numpy(np.array([[sign * value]], np.int32))
                client.async_stream_infer(
                    model,
                    [tensor],
                    request_id=f"{sequence}_{position}",
                    sequence_id=sequence,
                    **flags(position),
                )
        for _ in range(3 * len(VALUES)):
            result, error = results.get(timeout=30)
            assert error is None
            sequence_text, _, position_text = result.get_response().id.partition("_")
            assert int(position_text) == len(seen[sequence_text])
            seen[sequence_text].append(int(result.as_numpy("OUTPUT")[0][0]))
        client.stop_stream()
    assert seen == {
        "1000": sums(1000, model, 1),
        "1001": sums(1001, model, -1),
        "text": sums("text", model, 1),
    }
