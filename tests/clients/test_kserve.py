"""KServe's InferenceRESTClient and InferenceGRPCClient against this server, unmodified.

They live in `.venv-kserve`, which `make test-clients` makes.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer, WriteModel
from tests.integration.handlers import identity

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parent.parent / ".venv-kserve" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs .venv-kserve: make test-clients"),
]

FP32 = {"model": "bat", "id": "k-1", "datatype": "FP32", "shape": [1, 3], "data": [1.5, 2.0, 3.0]}
FP16 = {"model": "id_fp16", "id": "k-1", "datatype": "FP16", "shape": [2], "data": [1.5, -2.0]}
TEXT = {"model": "id_bytes", "id": "k-1", "datatype": "BYTES", "shape": [3], "data": ["a", "ŝ", ""]}
UNKNOWN = "Request for unknown model: 'nosuch' is not found"
SHAPE = "[request id: k-1] unexpected shape for input 'IN' for model 'bat'. Expected [-1,3], got [3,1]."


@pytest.fixture(scope="module")
def results(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """Results of all calls, by client and name."""
    root = tmp_path_factory.mktemp("clients")
    write_model(root, "bat", identity("FP32", [3], max_batch_size=4))
    write_model(root, "id_fp16", identity("FP16", [-1]))
    write_model(root, "id_bytes", identity("BYTES", [-1]))
    server = start_server(root)
    command = [str(PYTHON), str(HERE / "kserve_calls.py"), server.rest, server.grpc]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


@pytest.mark.parametrize("client", ["rest", "grpc"])
@pytest.mark.parametrize(
    ("call", "expected"),
    [("live", True), ("ready", True), ("model ready", True), ("unknown model ready", False)],
)
def test_health(results: dict[str, dict[str, Any]], client: str, call: str, expected: bool) -> None:
    assert results[client][call] is expected


@pytest.mark.parametrize(
    ("client", "call", "expected"),
    [
        ("rest", "json", FP32),
        ("rest", "binary", FP32),
        ("rest", "binary both ways", FP32),
        ("rest", "half precision", FP16),
        ("rest", "strings in json", TEXT),
        ("rest", "strings in binary", TEXT),
        ("grpc", "contents", FP32),
        ("grpc", "raw", FP32),
        ("grpc", "half precision", FP16),
        ("grpc", "strings in contents", TEXT),
    ],
)
def test_infer(results: dict[str, dict[str, Any]], client: str, call: str, expected: dict[str, Any]) -> None:
    assert results[client][call] == expected


@pytest.mark.parametrize(
    ("client", "call", "status", "text"),
    [
        ("rest", "unknown model", 404, UNKNOWN),
        ("rest", "wrong shape", 400, SHAPE),
        ("rest", "malformed", 400, "Unable to parse 'inputs': attempt to access JSON non-array as array"),
        ("grpc", "unknown model", "NOT_FOUND", UNKNOWN),
        ("grpc", "wrong shape", "INVALID_ARGUMENT", SHAPE),
    ],
)
def test_the_client_shows_the_servers_text(
    results: dict[str, dict[str, Any]], client: str, call: str, status: int | str, text: str
) -> None:
    result = results[client][call]
    assert result["status"] == status
    assert result["error"].startswith(text)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("live", True),
        ("model ready", True),
        ("rows", {"predictions": [FP32["data"]]}),
        ("columns", {"outputs": [FP32["data"]]}),
        ("half precision", {"predictions": FP16["data"]}),
        ("strings", {"predictions": ["a", {"b64": "/w=="}]}),
    ],
)
def test_v1(results: dict[str, dict[str, Any]], call: str, expected: object) -> None:
    assert results["v1"][call] == expected


@pytest.mark.parametrize(
    ("call", "status", "text"),
    [
        ("unknown model ready", 404, "Model with name nosuch does not exist."),
        ("unknown model", 404, "Model with name nosuch does not exist."),
        ("malformed", 400, 'Expected "instances" to be a list'),
        ("explain", 501, "model 'bat' has no explainer"),
    ],
)
def test_errors_of_v1(results: dict[str, dict[str, Any]], call: str, status: int, text: str) -> None:
    result = results["v1"][call]
    assert result["status"] == status
    assert text in result["error"]
