"""Triton models of sequences: controls, states, and requests that are executed again."""

import json
from typing import Any

import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.triton.conftest import isolated

# Adds up what comes, by the controls that it is given; each request has its own.
SUMS = """
import numpy as np
import triton_python_backend_utils as pb_utils

def value(request, name):
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy().ravel()[0]

class TritonPythonModel:
    def initialize(self, args):
        self.sums = {}

    def execute(self, requests):
        responses = []
        for request in requests:
            if not value(request, "READY"):
                responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("SUM", np.zeros((1, 1), np.int32))]))
                continue
            assert request.correlation_id() == value(request, "ID"), request.correlation_id()
            assert bool(request.flags() & 1) == bool(value(request, "START"))
            assert bool(request.flags() & 2) == bool(value(request, "END"))
            before = 0 if value(request, "START") else self.sums[request.correlation_id()]
            total = self.sums[request.correlation_id()] = before + value(request, "IN")
            if value(request, "END"):
                del self.sums[request.correlation_id()]
            out = np.array([[total]], np.int32)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("SUM", out)]))
        return responses
"""

CONTROLS = """
  control_input [
    { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } },
    { name: "END" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } },
    { name: "READY" control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } },
    { name: "ID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }
  ]
"""

CONFIG = """
backend: "python"
max_batch_size: 4
input [ {{ name: "IN" data_type: TYPE_INT32 dims: [ 1 ] }} ]
output [ {{ name: "SUM" data_type: TYPE_INT32 dims: [ 1 ] }} ]
sequence_batching {{ {strategy} {rest} }}
"""

# The same with the server keeping the sum.
STATES = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        assert [each["name"] for each in json.loads(args["model_config"])["input"]] == ["IN"]

    def execute(self, requests):
        responses = []
        for request in requests:
            tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            assert request.requested_output_names() == {"SUM", "AFTER"}
            total = tensors["BEFORE"] + tensors["IN"]
            outputs = [pb_utils.Tensor("SUM", total), pb_utils.Tensor("AFTER", total)]
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses
"""

STATE = """
  state [ { input_name: "BEFORE" output_name: "AFTER" data_type: TYPE_INT32 dims: [ 1 ]
            initial_state { name: "zero" data_type: TYPE_INT32 dims: [ 1 ] zero_data: true } } ]
"""

# Counts down from what its request says, a round for each number.
ROUNDS = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.left = {}

    def execute(self, requests):
        responses = []
        for request in requests:
            key = request.correlation_id()
            start = pb_utils.get_input_tensor_by_name(request, "START").as_numpy().ravel()[0]
            if start:
                self.left[key] = int(pb_utils.get_input_tensor_by_name(request, "IN").as_numpy().ravel()[0])
            self.left[key] -= 1
            more = self.left[key] > 0
            out = pb_utils.Tensor("SUM", np.array([[self.left[key]]], np.int32))
            if more:
                request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
            DECOUPLED
        return ANSWER
"""

ONCE = ROUNDS.replace(
    "DECOUPLED", "responses.append(None if more else pb_utils.InferenceResponse([out]))"
).replace("ANSWER", "responses")
EACH = ROUNDS.replace(
    "DECOUPLED",
    "flags = 0 if more else pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL\n"
    "            request.get_response_sender().send(pb_utils.InferenceResponse([out]), flags=flags)",
).replace("ANSWER", "None")
ITERATIVE = (
    "iterative_sequence: true control_input [ "
    '{ name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } ]'
)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    write_model: WriteModel,
    isolation: str,
    serve: StartServer,
) -> RunningServer:
    root = tmp_path_factory.mktemp("sequences")
    models = {
        "direct": (SUMS, CONFIG.format(strategy="direct { }", rest=CONTROLS)),
        "oldest": (SUMS, CONFIG.format(strategy="oldest { max_candidate_sequences: 4 }", rest=CONTROLS)),
        "states": (STATES, CONFIG.format(strategy="direct { }", rest=STATE)),
        "once": (ONCE, CONFIG.format(strategy="oldest { max_candidate_sequences: 4 }", rest=ITERATIVE)),
        "each": (
            EACH,
            CONFIG.format(strategy="oldest { max_candidate_sequences: 4 }", rest=ITERATIVE)
            + "model_transaction_policy { decoupled: true }",
        ),
    }
    for name, (code, config) in models.items():
        isolated(write_model(root, name, code, config), isolation)
    return serve(root)


def step(server: RunningServer, model: str, value: int, **parameters: Any) -> int:
    tensor = {"name": "IN", "datatype": "INT32", "shape": [1, 1], "data": [value]}
    answer = server.infer(model, {"inputs": [tensor], "parameters": parameters})
    assert answer.status_code == 200, answer.text
    result: int = answer.json()["outputs"][0]["data"][0]
    return result


@pytest.mark.parametrize("model", ["direct", "oldest", "states"])
def test_two_sequences_side_by_side(server: RunningServer, model: str) -> None:
    sums = []
    for number, value in enumerate((1, 2, 3, 4)):
        marks = {"sequence_start": number == 0, "sequence_end": number == 3}
        sums.append((
            step(server, model, value, sequence_id=7, **marks),
            step(server, model, 10 * value, sequence_id=8, **marks),
        ))  # fmt: skip
    assert sums == [(1, 10), (3, 30), (6, 60), (10, 100)]


def test_requests_that_are_executed_again(server: RunningServer) -> None:
    assert [step(server, "once", rounds) for rounds in (1, 2, 5)] == [0, 0, 0]


def test_requests_that_are_answered_in_each_round(server: RunningServer) -> None:
    answer = server.post("/v2/models/each/generate_stream", json={"IN": [4]})
    assert answer.status_code == 200, answer.text
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]
    assert [event["SUM"] for event in events] == [3, 2, 1, 0]
