"""The gRPC services with grpcio as client. The protos are TorchServe's by their numbers: see `test_the_numbers`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kserve_v2._generated import torchserve_inference_pb2 as inference_pb
from kserve_v2._generated import torchserve_management_pb2 as management_pb
from tests.conftest import launch
from tests.torchserve_api.conftest import Server
from tests.torchserve_api.support import PROPERTIES, mar

pytestmark = pytest.mark.slow

INFERENCE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService"
MANAGEMENT = "/org.pytorch.serve.grpc.management.ManagementAPIsService"


@pytest.fixture(scope="module")
def inference(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.running.urls["TorchServe gRPC inference"]) as channel:
        yield channel


@pytest.fixture(scope="module")
def management(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.running.urls["TorchServe gRPC management"]) as channel:
        yield channel


def predict(channel: grpc.Channel, **fields: Any) -> bytes:
    call = channel.unary_unary(
        f"{INFERENCE}/Predictions",
        inference_pb.PredictionsRequest.SerializeToString,
        inference_pb.PredictionResponse.FromString,
    )
    return bytes(call(inference_pb.PredictionsRequest(**fields), timeout=60).prediction)


def manage(channel: grpc.Channel, name: str, **fields: Any) -> str:
    kind = getattr(management_pb, {"SetDefault": "SetDefaultRequest"}.get(name, f"{name}Request"))
    call = channel.unary_unary(
        f"{MANAGEMENT}/{name}", kind.SerializeToString, management_pb.ManagementResponse.FromString
    )
    return str(call(kind(**fields), timeout=60).msg)


def failure(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_ping(inference: grpc.Channel) -> None:
    call = inference.unary_unary(
        f"{INFERENCE}/Ping", response_deserializer=inference_pb.TorchServeHealthResponse.FromString
    )
    assert call(b"", timeout=60).health == '{\n  "status": "Healthy"\n}'


def test_predictions(inference: grpc.Channel) -> None:
    """What is in the map arrives as bytes, whatever it is."""
    answer = predict(inference, model_name="echo", input={"data": b'{"a": 1}', "x": b"y"})
    assert json.loads(answer) == {"data": '{"a": 1}', "x": "y"}
    assert json.loads(predict(inference, model_name="echo", model_version="1.0", input={"body": b"b"})) == {
        "body": "b"
    }


def test_errors_of_predictions(inference: grpc.Channel) -> None:
    """As TorchServe has it, a model that is not there is an internal error."""
    assert failure(lambda: predict(inference, model_name="nosuch")) == (
        grpc.StatusCode.INTERNAL,
        "Model not found: nosuch\norg.pytorch.serve.archive.model.ModelNotFoundException",
    )
    assert failure(lambda: predict(inference, input={"a": b"b"}))[0] is grpc.StatusCode.INTERNAL
    assert failure(lambda: predict(inference, model_name="lab", input={"body": b"raise"})) == (
        grpc.StatusCode.UNAVAILABLE,
        "Prediction failed\norg.pytorch.serve.http.InternalServerException",
    )


def test_streams(inference: grpc.Channel) -> None:
    request = inference_pb.PredictionsRequest(model_name="parts", input={"body": b"x"}, sequence_id="s")
    one = inference.unary_stream(
        f"{INFERENCE}/StreamPredictions",
        inference_pb.PredictionsRequest.SerializeToString,
        inference_pb.PredictionResponse.FromString,
    )
    assert [part.prediction for part in one(request, timeout=60)] == [b"a", b"b", b"end"]
    both = inference.stream_stream(
        f"{INFERENCE}/StreamPredictions2",
        inference_pb.PredictionsRequest.SerializeToString,
        inference_pb.PredictionResponse.FromString,
    )
    parts = list(both(iter([request, request]), timeout=60))
    assert [part.prediction for part in parts] == [b"a", b"b", b"end"] * 2
    assert {part.sequence_id for part in parts} == {"s"}


def test_a_life(server: Server, management: grpc.Channel, inference: grpc.Channel) -> None:
    said = manage(
        management,
        "RegisterModel",
        url="echo.mar",
        model_name="g",
        initial_workers=1,
        synchronous=True,
        batch_size=2,
    )
    assert said == 'Model "g" Version: 1.0 registered with 1 initial workers'
    assert json.loads(predict(inference, model_name="g", input={"body": b"x"})) == {"body": "x"}
    [found] = json.loads(manage(management, "DescribeModel", model_name="g"))
    assert (found["batchSize"], found["workers"][0]["status"]) == (2, "READY")
    listed = json.loads(manage(management, "ListModels", limit=2, next_page_token=1))
    assert [each["modelName"] for each in listed["models"]] == ["g", "lab"]
    said = manage(management, "ScaleWorker", model_name="g", min_worker=2, synchronous=True)
    assert said == "Workers scaled to 2 for model: g"
    said = manage(management, "SetDefault", model_name="g", model_version="1.0")
    assert said == 'Default version successfully updated for model "g" to "1.0"'
    said = manage(management, "UnregisterModel", model_name="g")
    assert said == 'Model "g" unregistered'
    assert server.management.get("/models/g").status_code == 404


def test_numbers_below_none(tmp_path: Path) -> None:
    """As TorchServe has it, over HTTP they are none, whatever the configuration says; over gRPC they are not said."""
    mar(tmp_path / "store", "echo")
    properties = tmp_path / "config.properties"
    properties.write_text(f"{PROPERTIES}default_workers_per_model=1\n")
    flags = ("--torchserve", "--model-store", str(tmp_path / "store"), "--ts-config", str(properties))
    server = Server.of(launch(tmp_path, None, *flags, "--enable-model-api"))
    less: dict[str, Any] = {"url": "echo.mar", "initial_workers": -1, "max_batch_delay": -1}
    answer = server.management.post("/models", params={**less, "model_name": "http"})
    text = 'Model "http" Version: 1.0 registered with 0 initial workers. Use scale workers API to add workers for the model.'
    assert (answer.status_code, answer.json()) == (200, {"status": text})
    with grpc.insecure_channel(server.running.urls["TorchServe gRPC management"]) as channel:
        said = manage(channel, "RegisterModel", model_name="grpc", synchronous=True, batch_size=-1, **less)
        assert said == 'Model "grpc" Version: 1.0 registered with 1 initial workers'
        said = manage(
            channel, "ScaleWorker", model_name="grpc", min_worker=-1, max_worker=-1, synchronous=True
        )
        assert said == "Workers scaled to 1 for model: grpc"
    for name, *described in (("http", 0, 0, 0), ("grpc", 1, 1, 100)):
        [found] = server.management.get(f"/models/{name}").json()
        assert [found[key] for key in ("minWorkers", "maxWorkers", "maxBatchDelay")] == described
    assert server.close() == 0


def test_errors_of_management(management: grpc.Channel) -> None:
    for name, fields, code, text in (
        ("RegisterModel", {}, grpc.StatusCode.INVALID_ARGUMENT, "Parameter url is required."),
        ("RegisterModel", {"url": "no.mar"}, grpc.StatusCode.NOT_FOUND, "Model not found at: no.mar"),
        (
            "RegisterModel", {"url": "echo.mar"}, grpc.StatusCode.ABORTED,
            "Model version 1.0 is already registered for model echo",
        ),
        ("DescribeModel", {"model_name": "no"}, grpc.StatusCode.NOT_FOUND, "Model not found: no"),
    ):  # fmt: skip
        found = failure(lambda name=name, fields=fields: manage(management, name, **fields))
        assert (found[0], found[1].split("\n")[0]) == (code, text)


def test_the_numbers() -> None:
    """As TorchServe's documentation of its gRPC API has them."""

    def numbers(message: Any) -> dict[str, int]:
        return {field.name: field.number for field in message.DESCRIPTOR.fields}

    assert numbers(inference_pb.PredictionsRequest) == {
        "model_name": 1, "model_version": 2, "input": 3, "sequence_id": 4,
    }  # fmt: skip
    assert numbers(inference_pb.PredictionResponse) == {"prediction": 1, "sequence_id": 2, "status": 3}
    assert numbers(inference_pb.TorchServeHealthResponse) == {"health": 1}
    assert numbers(management_pb.ManagementResponse) == {"msg": 1}
    assert numbers(management_pb.RegisterModelRequest) == {
        "batch_size": 1, "handler": 2, "initial_workers": 3, "max_batch_delay": 4, "model_name": 5,
        "response_timeout": 6, "runtime": 7, "synchronous": 8, "url": 9, "s3_sse_kms": 10, "startup_timeout": 11,
    }  # fmt: skip
    assert numbers(management_pb.ScaleWorkerRequest) == {
        "model_name": 1, "model_version": 2, "max_worker": 3, "min_worker": 4, "number_gpu": 5, "synchronous": 6,
        "timeout": 7,
    }  # fmt: skip
    assert numbers(management_pb.DescribeModelRequest) == {
        "model_name": 1,
        "model_version": 2,
        "customized": 3,
    }
    assert numbers(management_pb.ListModelsRequest) == {"limit": 1, "next_page_token": 2}
