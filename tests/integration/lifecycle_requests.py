"""What tests of loading and unloading ask a server."""

import httpx

from tests.conftest import RunningServer
from tests.integration.support import json_tensor

ASK = {"inputs": [json_tensor("IN", "INT32", [1], [0])]}
BROKEN = "raise RuntimeError('broken on purpose')"


def answer_of(server: RunningServer, model: str, version: str = "") -> int:
    """Which number a model answers with."""
    path = f"{model}/versions/{version}" if version else model
    response = server.infer(path, ASK)
    assert response.status_code == 200, response.text
    return int(response.json()["outputs"][0]["data"][0])


def ready(server: RunningServer) -> int:
    """Status of the readiness probe."""
    return server.get("/v2/health/ready").status_code


def model_ready(server: RunningServer, model: str) -> int:
    """Status of a model's readiness probe."""
    return server.get(f"/v2/models/{model}/ready").status_code


def post_load(server: RunningServer, name: str) -> httpx.Response:
    """A load on a connection of its own, for threads."""
    return httpx.post(f"{server.rest}/v2/repository/models/{name}/load", timeout=60)
