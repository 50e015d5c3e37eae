"""Sequences of ONNX and TorchScript models, whose controls are inputs of their graphs."""

import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from tests.conftest import RunningServer, StartServer
from tests.integration.support import json_tensor

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
def server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    root = tmp_path_factory.mktemp("graphs")
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
