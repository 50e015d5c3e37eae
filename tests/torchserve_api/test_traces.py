"""Predictions are traced as requests of the v2 protocol are."""

from pathlib import Path

import grpc
import pytest

from kserve_v2._generated import torchserve_inference_pb2 as pb
from tests.conftest import launch
from tests.integration.test_trace import EXECUTION, GRPC_TIMES, HTTP_TIMES, read
from tests.torchserve_api.conftest import Server
from tests.torchserve_api.support import ECHO, PROPERTIES, mar

PREDICT = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"


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
