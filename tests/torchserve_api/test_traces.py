"""Predictions are traced as requests of the v2 protocol are."""

import json
from pathlib import Path

import grpc
import pytest

from kserve_v2._generated import torchserve_inference_pb2 as pb
from tests.conftest import launch
from tests.integration.test_trace import EXECUTION, GRPC_TIMES, HTTP_TIMES, read
from tests.torchserve_api.conftest import Server
from tests.torchserve_api.support import ECHO, PROPERTIES, mar
from tests.torchserve_api.test_workflows import FLOW, WORDS, war

SERVICE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService"
PREDICT = f"{SERVICE}/Predictions"


@pytest.mark.slow
def test_predictions_are_traced(tmp_path: Path) -> None:
    mar(tmp_path / "store", "echo", ECHO, yaml="minWorkers: 1\n")
    properties = tmp_path / "config.properties"
    properties.write_text(PROPERTIES)
    traces = tmp_path / "traces"
    flags = (
        "--torchserve",
        "--model-store",
        str(tmp_path / "store"),
        "--ts-config",
        str(properties),
        "--models=all",
    )
    options = ("level=TIMESTAMPS", "rate=1", f"triton,file={traces}")
    server = Server.of(launch(tmp_path, None, *flags, *(f"--trace-config={each}" for each in options)))
    try:
        answer = server.inference.post("/predictions/echo", content=b"x")
        assert answer.json() == {"body": "x"}
        assert server.inference.post("/predictions/echo/9.0", content=b"x").status_code == 404
        with grpc.insecure_channel(server.running.urls["TorchServe gRPC inference"]) as channel:
            ask = channel.unary_unary(
                PREDICT, pb.PredictionsRequest.SerializeToString, pb.PredictionResponse.FromString
            )
            ask(pb.PredictionsRequest(model_name="echo", input={"body": b"x"}), timeout=60)
    finally:
        assert server.close() == 0
    over_http, refused, over_grpc = read(traces)
    assert over_http.identity["model_name"] == "echo"
    assert over_http.identity["request_id"] == answer.headers["x-request-id"]
    assert list(over_http.times) == HTTP_TIMES
    assert not set(refused.times) & set(EXECUTION)
    assert list(over_grpc.times) == GRPC_TIMES


@pytest.mark.slow
def test_each_request_of_a_stream_has_a_trace_and_an_access_line(tmp_path: Path) -> None:
    mar(tmp_path / "store", "echo", ECHO, yaml="minWorkers: 1\n")
    (tmp_path / "config.properties").write_text(PROPERTIES)
    traces = tmp_path / "traces"
    server = Server.of(
        launch(
            tmp_path, None, "--torchserve", "--model-store", str(tmp_path / "store"), "--models=all",
            "--ts-config", str(tmp_path / "config.properties"), "--log-access", "--log-format=json",
            "--trace-config=level=TIMESTAMPS", "--trace-config=rate=1", f"--trace-config=triton,file={traces}",
        )
    )  # fmt: skip
    requests = [
        pb.PredictionsRequest(model_name="echo", input={"body": text}) for text in (b"one", b"two")
    ] + [pb.PredictionsRequest(model_name="nosuch", input={"body": b"three"})]
    try:
        with grpc.insecure_channel(server.running.urls["TorchServe gRPC inference"]) as channel:
            ask = channel.stream_stream(
                f"{SERVICE}/StreamPredictions2",
                pb.PredictionsRequest.SerializeToString,
                pb.PredictionResponse.FromString,
            )
            answers = ask(iter(requests), timeout=60)
            assert [json.loads(next(answers).prediction) for _ in range(2)] == [
                {"body": "one"},
                {"body": "two"},
            ]
            with pytest.raises(grpc.RpcError):
                next(answers)
    finally:
        assert server.close() == 0
    first, second, refused = read(traces)
    for found in (first, second):
        assert found.identity["model_name"] == "echo"
        assert list(found.times) == GRPC_TIMES
    assert first.identity["request_id"] != second.identity["request_id"]
    assert not set(refused.times) & set(EXECUTION)
    records = [json.loads(line) for line in server.running.log.splitlines() if line.startswith("{")]
    lines = [
        (each["protocol"], each["model"], each["status"], each["batch_rows"])
        for each in records
        if each["logger"] == "kserve_v2.access"
    ]
    assert lines == [
        ("torchserve-grpc", "echo", 0, 1),
        ("torchserve-grpc", "echo", 0, 1),
        ("torchserve-grpc", "nosuch", grpc.StatusCode.INTERNAL.value[0], 0),
    ]


@pytest.mark.slow
def test_each_node_of_a_workflow_is_part_of_its_trace(tmp_path: Path) -> None:
    mar(tmp_path / "store", "words", WORDS)
    war(tmp_path / "store", "flow", FLOW)
    (tmp_path / "config.properties").write_text(f"{PROPERTIES}default_workers_per_model=1\n")
    traces = tmp_path / "traces"
    server = Server.of(
        launch(
            tmp_path, None, "--torchserve", "--model-store", str(tmp_path / "store"), "--models=all",
            "--ts-config", str(tmp_path / "config.properties"),
            "--trace-config=level=TIMESTAMPS", "--trace-config=rate=1", f"--trace-config=triton,file={traces}",
        )
    )  # fmt: skip
    try:
        assert server.inference.post("/wfpredict/flow", content=b"a b").status_code == 200
        assert server.inference.post("/wfpredict/flow", content=b"boom").status_code == 500
    finally:
        assert server.close() == 0
    found = read(traces)
    wholes = [each for each in found if "parent_id" not in each.identity]
    assert [each.identity["model_name"] for each in wholes] == ["flow", "flow"]
    for whole in wholes:
        nodes = [each for each in found if each.identity.get("parent_id") == whole.identity["id"]]
        assert {each.identity["model_name"] for each in nodes} == {
            "flow__pre", "flow__words", "flow__upper", "flow__join",
        }  # fmt: skip
        answered = [
            each for each in nodes if each.identity["model_name"] != "flow__join" or whole is wholes[0]
        ]
        assert all(set(EXECUTION) <= set(each.times) for each in answered)
