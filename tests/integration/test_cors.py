"""Browsers: pages of other origins may call the server only if the operator says so."""

import socket
from pathlib import Path

import httpx
import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import identity
from tests.integration.support import json_tensor

ORIGIN = "http://localhost:3000"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type",
}
BODY = {"inputs": [json_tensor("IN", "FP32", [2], [1.0, 2.0])]}


@pytest.fixture(scope="module")
def one_model(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_model(root, "m", identity("FP32", [2]))
    return root


@pytest.fixture(scope="module")
def open_to_origin(one_model: Path, start_server: StartServer) -> RunningServer:
    return start_server(
        one_model, f"--http-cors-allow-origin={ORIGIN}", "--http-cors-allow-origin=https://b.example"
    )


@pytest.mark.parametrize(
    "path", ["/v2/models/m/infer", "/v2/models/m/generate", "/v2/models/m", "/v2/repository/index"]
)
def test_a_preflight_request_is_answered(open_to_origin: RunningServer, path: str) -> None:
    answer = open_to_origin.client.options(open_to_origin.rest + path, headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type"


@pytest.mark.parametrize("origin", [ORIGIN, "https://b.example"])
def test_answers_and_errors_can_be_read(open_to_origin: RunningServer, origin: str) -> None:
    for _ in range(3):
        answer = open_to_origin.post("/v2/models/m/infer", json=BODY, headers={"Origin": origin})
        assert answer.json()["outputs"][0]["data"] == [1.0, 2.0]
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "Inference-Header-Content-Length" in answer.headers["Access-Control-Expose-Headers"]
    for path, status in (("/v2/models/m/infer", 400), ("/v2/models/nosuch/infer", 404)):
        error = open_to_origin.post(path, json={}, headers={"Origin": origin})
        assert (error.status_code, error.headers["Access-Control-Allow-Origin"]) == (status, origin)


def test_what_the_connection_itself_refuses_can_be_read(open_to_origin: RunningServer) -> None:
    many = {f"x-{number}": "1" for number in range(300)}
    for origin, shown in ((ORIGIN, ORIGIN), ("https://evil.example", None)):
        with httpx.Client() as client:
            answer = client.post(
                f"{open_to_origin.rest}/v2/models/m/infer", json=BODY, headers={**many, "Origin": origin}
            )
        assert answer.status_code == 431
        assert answer.headers.get("Access-Control-Allow-Origin") == shown


def test_what_is_no_request_is_refused_all_the_same(open_to_origin: RunningServer) -> None:
    host, _, port = open_to_origin.rest.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"\x00\x01\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_other_origins_get_nothing(open_to_origin: RunningServer) -> None:
    headers = {**PREFLIGHT, "Origin": "https://evil.example"}
    preflight = open_to_origin.client.options(open_to_origin.rest + "/v2/models/m/infer", headers=headers)
    assert preflight.status_code == 400
    assert "Access-Control-Allow-Origin" not in preflight.headers
    answer = open_to_origin.post("/v2/models/m/infer", json=BODY, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_without_the_flag_nobody_is_let_in(server: RunningServer) -> None:
    answer = server.client.options(server.rest + "/v2/models/bat/infer", headers=PREFLIGHT)
    assert answer.status_code == 405
    assert "Access-Control-Allow-Origin" not in answer.headers
