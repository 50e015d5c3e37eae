"""More rows than `max_batch_size`: a limit where the operator wrote it, the server's own affair where it did not."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.utils.shared_memory as shm
from onnx import TensorProto, helper

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.conftest import ExplicitServer
from tests.integration.grpc_requests import STATUS, Channel, request_of, tensor
from tests.integration.rest_requests import post_binary, read_binary
from tests.integration.support import error_of, json_tensor, statistics

ROWS = 150
X = np.arange(ROWS * 4, dtype=np.float32).reshape(ROWS, 4) - 300

HANDLER = """
class Model:
    inputs = {"x": ("FP32", [4])}
    outputs = {"y": ("FP32", [4])}
    max_batch_size = 4

    def __call__(self, inputs):
        assert len(inputs["x"]) <= 4
        inputs["x"] *= 2
        return {"y": inputs["x"]}
"""

SPLIT = 'parameters { key: "split_large_requests" value { string_value: "%s" } }'


def write_onnx(root: Path, name: str, operator: str, config: str = "", **attributes: Any) -> None:
    x, y = (helper.make_tensor_value_info(each, TensorProto.FLOAT, ["N", 4]) for each in "xy")
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], **attributes)], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (root / name / "1").mkdir(parents=True)
    (root / name / "1" / "model.onnx").write_bytes(model.SerializeToString())
    if config:
        (root / name / "config.pbtxt").write_text(config)


@pytest.fixture(scope="module")
def large(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    root = tmp_path_factory.mktemp("large")
    write_onnx(root, "relu", "Relu")
    write_onnx(root, "softmax", "Softmax", axis=0)
    write_onnx(root, "relu_limited", "Relu", "max_batch_size: 4")
    write_onnx(root, "relu_refuses", "Relu", SPLIT % "false")
    write_onnx(root, "relu_asked", "Relu", "max_batch_size: 4 " + SPLIT % "true")
    write_onnx(root, "softmax_asked", "Softmax", "max_batch_size: 4 " + SPLIT % "true", axis=0)
    write_model(root, "handler", HANDLER)
    write_model(root, "handler_asked", HANDLER, SPLIT % "true")
    return start_server(root, "--allow-client-shm=true")


@pytest.fixture(scope="module")
def channel(large: RunningServer) -> Iterator[Channel]:
    with Channel(large) as made:
        yield made


def binary(server: RunningServer, model: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    header = {
        "inputs": [
            {
                "name": "x",
                "datatype": "FP32",
                "shape": x.shape,
                "parameters": {"binary_data_size": x.nbytes},
            }
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    described, data = read_binary(post_binary(server, model, header, x.tobytes()))
    return np.frombuffer(data, np.float32).reshape(described["outputs"][0]["shape"])


def message(model: str, x: np.ndarray[Any, Any]) -> pb.ModelInferRequest:
    return request_of(model, tensor("x", "FP32", list(x.shape)), raw=[x.tobytes()])


def expected(model: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return x * 2 if "handler" in model else np.maximum(x, 0)


SPLITTING = pytest.mark.parametrize("model", ["relu", "relu_asked", "handler_asked"])


@SPLITTING
def test_in_json(large: RunningServer, model: str) -> None:
    before = statistics(large, model)
    # Twice: the second one comes the short way, as far as there is one.
    for _ in range(2):
        answer = large.infer(
            model, {"id": "r", "inputs": [json_tensor("x", "FP32", [ROWS, 4], X.ravel().tolist())]}
        )
        assert answer.status_code == 200, answer.text
        (output,) = answer.json()["outputs"]
        assert (output["shape"], output["data"]) == ([ROWS, 4], expected(model, X).ravel().tolist())
    after = statistics(large, model)
    assert after["inference_count"] - before["inference_count"] == 2 * ROWS
    success = after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"]
    assert success == 2
    assert max(batch["batch_size"] for batch in after["batch_stats"]) == 4


@SPLITTING
def test_in_binary(large: RunningServer, model: str) -> None:
    for shift in range(3):
        x = X + shift
        assert binary(large, model, x).tolist() == expected(model, x).tolist()
        # Between them, what has the size of a batch.
        assert binary(large, model, x[:3]).tolist() == expected(model, x[:3]).tolist()


@SPLITTING
def test_over_grpc(large: RunningServer, channel: Channel, model: str) -> None:
    for shift in range(3):
        x = X + shift
        answer = channel.infer(message(model, x))
        assert list(answer.outputs[0].shape) == [ROWS, 4]
        assert answer.raw_output_contents[0] == expected(model, x).tobytes()


@SPLITTING
def test_in_a_stream(channel: Channel, model: str) -> None:
    method = channel.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )
    given = [X, X[:2], X + 1, X[:1]]
    answers = list(method(iter([message(model, x) for x in given]), timeout=60))
    assert [answer.error_message for answer in answers] == [""] * 4
    found = [answer.infer_response.raw_output_contents[0] for answer in answers]
    assert found == [expected(model, x).tobytes() for x in given]


def test_from_and_to_shared_memory(large: RunningServer) -> None:
    key = f"test_large_{os.getpid()}"
    region = shm.create_shared_memory_region("large", key, 2 * X.nbytes)
    try:
        shm.set_shared_memory_region(region, [X])
        register = {"key": key, "offset": 0, "byte_size": 2 * X.nbytes}
        assert large.post("/v2/systemsharedmemory/region/large/register", json=register).status_code == 200
        place = {"shared_memory_region": "large", "shared_memory_byte_size": X.nbytes}
        body = {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [ROWS, 4], "parameters": place}],
            "outputs": [{"name": "y", "parameters": {**place, "shared_memory_offset": X.nbytes}}],
        }
        answer = large.infer("handler_asked", body)
        assert answer.status_code == 200, answer.text
        written = shm.get_contents_as_numpy(region, np.float32, [2 * ROWS, 4])
        assert written[ROWS:].tolist() == (X * 2).tolist()
        # The handler has written to its inputs, but not to the client's.
        assert written[:ROWS].tolist() == X.tolist()
        assert large.post("/v2/systemsharedmemory/unregister").status_code == 200
    finally:
        shm.destroy_shared_memory_region(region)


@pytest.mark.parametrize("model", ["relu_limited", "relu_refuses", "handler"])
def test_what_the_operator_has_written_is_a_limit(large: RunningServer, channel: Channel, model: str) -> None:
    text = f"inference request batch-size must be <= 4 for '{model}'"
    body = {"inputs": [json_tensor("x", "FP32", [ROWS, 4], X.ravel().tolist())]}
    answer = large.infer(model, body)
    assert answer.status_code == 400
    assert text in error_of(answer)
    code, details = channel.infer_fails(message(model, X))
    assert code is STATUS.INVALID_ARGUMENT
    assert text in details


def test_rows_that_are_not_known_to_be_independent_stay_together(large: RunningServer) -> None:
    x = X / 100
    exponents = np.exp(x.astype(np.float64) - x.max(0))
    assert np.allclose(binary(large, "softmax", x), exponents / exponents.sum(0), rtol=1e-4, atol=1e-7)
    assert statistics(large, "softmax")["batch_stats"][0]["batch_size"] == ROWS


def test_the_operator_is_told_what_his_request_does(large: RunningServer) -> None:
    assert binary(large, "softmax_asked", X).shape == (ROWS, 4)
    (line,) = [line for line in large.log.splitlines() if "split_large_requests" in line]
    assert "'softmax_asked'" in line
    assert "output 'y' of two rows together is not that of each of them alone" in line


@pytest.mark.parametrize(
    ("code", "value", "text"),
    [
        (HANDLER, "yes", "parameters['split_large_requests']: expected 'true' or 'false' as string_value, got 'yes'"),
        (
            HANDLER.replace("max_batch_size = 4", "max_batch_size = 0"),
            "true",
            "parameters['split_large_requests']: there are no batches: max_batch_size is 0",
        ),
        (
            HANDLER.replace("return", "yield"),
            "true",
            "parameters['split_large_requests']: there are no batches: the model is decoupled",
        ),
    ],
)  # fmt: skip
def test_a_parameter_that_means_nothing_is_refused(
    explicit: ExplicitServer, code: str, value: str, text: str
) -> None:
    explicit.write("senseless", code, SPLIT % value)
    answer = explicit.load("senseless")
    assert answer.status_code == 400
    assert text in error_of(answer)
