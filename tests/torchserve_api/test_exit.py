"""What TorchServe's clients are told while the server ends."""

import http.client
import json
import signal
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import pytest

from kserve_v2._generated import torchserve_inference_pb2 as pb
from tests.conftest import RunningServer, launch
from tests.integration.support import Gate, wait_until
from tests.torchserve_api.support import PROPERTIES, mar

pytestmark = pytest.mark.slow

# Waits at the port that a request names, until it is let go on.
GATED = """
import socket

def handle(data, context):
    if data is None:
        return
    for row in data:
        port = int(bytes(row["body"]))
        if port:
            with socket.create_connection(("127.0.0.1", port), timeout=100) as gate:
                gate.recv(1)
    return ["done"] * len(data)
"""
INFERENCE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService"
PREDICT = f"{INFERENCE}/Predictions"
UNHEALTHY = {"status": "Unhealthy"}


def post(connection: http.client.HTTPConnection, *, in_chunks: bool) -> httpx.Response:
    """`in_chunks`: that goes another way than what is usual."""
    body = iter([b"0"]) if in_chunks else b"0"
    connection.request("POST", "/predictions/gated", body, encode_chunked=in_chunks)
    response = connection.getresponse()
    return httpx.Response(response.status, headers=response.getheaders(), content=response.read())


def launched(tmp_path: Path, *flags: str) -> RunningServer:
    """A server with the model."""
    store = tmp_path / "store"
    mar(store, "gated", GATED)
    properties = tmp_path / "config.properties"
    properties.write_text(f"{PROPERTIES}\ndefault_workers_per_model=1\n")
    torchserve = (
        "--torchserve",
        "--model-store",
        str(store),
        "--ts-config",
        str(properties),
        "--models",
        "all",
    )
    return launch(tmp_path, None, *torchserve, *flags)


def test_a_server_that_is_about_to_end_is_not_healthy_and_answers(tmp_path: Path) -> None:
    """Until load balancers have heard of it."""
    server = launched(tmp_path, "--exit-delay-secs=600")
    with (
        httpx.Client(base_url=server.urls["TorchServe inference"], timeout=100) as client,
        grpc.insecure_channel(server.urls["TorchServe gRPC inference"]) as channel,
    ):
        ping = channel.unary_unary(
            f"{INFERENCE}/Ping", response_deserializer=pb.TorchServeHealthResponse.FromString
        )
        assert (
            client.get("/ping").json() == json.loads(ping(b"", timeout=100).health) == {"status": "Healthy"}
        )
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get("/v2/health/ready").status_code == 400)
        answer = client.get("/ping")
        assert (answer.status_code, answer.json()) == (500, UNHEALTHY)
        assert json.loads(ping(b"", timeout=100).health) == UNHEALTHY
        assert client.post("/predictions/gated", content=b"0").text == "done"
    # The second one ends it at once.
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 1
    server.stop()


def test_a_server_that_ends_says_so_on_connections_that_are_open(tmp_path: Path) -> None:
    server = launched(tmp_path, "--exit-timeout-secs=600")
    host = urlsplit(server.urls["TorchServe inference"])
    running, pinging, *others = (
        http.client.HTTPConnection(str(host.hostname), host.port, timeout=100) for _ in range(4)
    )
    with Gate() as gate, grpc.insecure_channel(server.urls["TorchServe gRPC inference"]) as channel:
        predict = channel.unary_unary(PREDICT, response_deserializer=pb.PredictionResponse.FromString)
        asked = pb.PredictionsRequest(model_name="gated", input={"body": b"0"}).SerializeToString()
        assert predict(asked, timeout=100).prediction == b"done"
        for connection, in_chunks in zip(others, (False, True), strict=True):
            for _ in range(2):
                assert post(connection, in_chunks=in_chunks).status_code == 200
        pinging.request("GET", "/ping")
        assert json.loads(pinging.getresponse().read()) == {"status": "Healthy"}
        running.request("POST", "/predictions/gated", str(gate.port).encode())
        gate.await_start()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get("/v2/health/ready").status_code == 400)
        pinging.request("GET", "/ping")
        unhealthy = pinging.getresponse()
        assert (unhealthy.status, json.loads(unhealthy.read())) == (500, UNHEALTHY)
        for connection, in_chunks in zip(others, (False, True), strict=True):
            refused = post(connection, in_chunks=in_chunks)
            assert refused.json() == {
                "code": 503, "type": "ServiceUnavailableException", "message": "Server exiting",
            }  # fmt: skip
            assert refused.status_code == 503
            assert refused.headers["connection"] == "close"
        with pytest.raises(grpc.RpcError) as raised:
            predict(asked, timeout=100)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        assert raised.value.details().startswith("Server exiting")
        gate.open()
        assert running.getresponse().read() == b"done"
        assert server.process.wait(60) == 0
    server.stop()
    for connection in (running, pinging, *others):
        connection.close()
    assert "Traceback" not in server.log
