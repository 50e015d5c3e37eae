"""What TorchServe's clients are told while the server ends."""

import http.client
import signal
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import pytest

from kserve_v2._generated import torchserve_inference_pb2 as pb
from tests.conftest import launch
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
PREDICT = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"


def post(connection: http.client.HTTPConnection, *, in_chunks: bool) -> httpx.Response:
    """`in_chunks`: that goes another way than what is usual."""
    body = iter([b"0"]) if in_chunks else b"0"
    connection.request("POST", "/predictions/gated", body, encode_chunked=in_chunks)
    response = connection.getresponse()
    return httpx.Response(response.status, headers=response.getheaders(), content=response.read())


def test_a_server_that_ends_says_so_on_connections_that_are_open(tmp_path: Path) -> None:
    store = tmp_path / "store"
    mar(store, "gated", GATED)
    properties = tmp_path / "config.properties"
    properties.write_text(f"{PROPERTIES}\ndefault_workers_per_model=1\n")
    flags = ("--torchserve", "--model-store", str(store), "--ts-config", str(properties), "--models", "all")
    flags += ("--exit-timeout-secs=600",)
    server = launch(tmp_path, None, *flags)
    host = urlsplit(server.urls["TorchServe inference"])
    running, *others = (
        http.client.HTTPConnection(str(host.hostname), host.port, timeout=100) for _ in range(3)
    )
    with Gate() as gate, grpc.insecure_channel(server.urls["TorchServe gRPC inference"]) as channel:
        predict = channel.unary_unary(PREDICT, response_deserializer=pb.PredictionResponse.FromString)
        asked = pb.PredictionsRequest(model_name="gated", input={"body": b"0"}).SerializeToString()
        assert predict(asked, timeout=100).prediction == b"done"
        for connection, in_chunks in zip(others, (False, True), strict=True):
            for _ in range(2):
                assert post(connection, in_chunks=in_chunks).status_code == 200
        running.request("POST", "/predictions/gated", str(gate.port).encode())
        gate.await_start()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get("/v2/health/ready").status_code == 400)
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
    for connection in (running, *others):
        connection.close()
    assert "Traceback" not in server.log
