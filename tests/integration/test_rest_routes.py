"""The index, the documentation page, and how large a body may be. The other routes are in tests/wire."""

import re
from typing import Any

import pytest

from tests.conftest import RunningServer
from tests.integration.conftest import MAX_INPUT_BYTES
from tests.integration.rest_requests import IN, output_of, padded
from tests.integration.support import error_of


@pytest.mark.parametrize("options", [{}, {"json": {}}, {"json": {"ready": True}}])
def test_the_index(server: RunningServer, options: dict[str, Any]) -> None:
    index = server.post("/v2/repository/index", **options).json()
    assert index == sorted(index, key=lambda entry: (entry["name"], entry["version"]))
    assert {"name": "versions", "version": "2", "state": "READY"} in index


def test_the_documentation_names_the_routes(server: RunningServer) -> None:
    assert "swagger" in server.get("/docs").text.lower()
    paths = server.get("/openapi.json").json()["paths"]
    assert {"/v2/models/{model_name}/infer", "/v2/health/ready", "/v2/repository/index"} <= set(paths)


@pytest.mark.parametrize("body", [{"ready": None}, {"other": None}])
def test_an_index_of_all_if_ready_is_null(server: RunningServer, body: dict[str, Any]) -> None:
    everything = server.post("/v2/repository/index").json()
    assert server.post("/v2/repository/index", json=body).json() == everything


def test_head_wherever_get_is(server: RunningServer) -> None:
    """The same status and headers, and no body."""
    paths: dict[str, Any] = server.get("/openapi.json").json()["paths"]
    known = {"{model_name}": "bat", "{version}": "1", "{region_name}": "nosuch"}
    got = ["/docs", "/openapi.json", "/nosuch", "/v2/models/nosuch"]
    for path, methods in paths.items():
        if "get" in methods:
            got.append(re.sub(r"{\w+}", lambda found: known[found[0]], path))
    assert {
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/bat/ready",
        "/v2/models/bat/config",
    } <= set(got)
    for url in [*(server.rest + path for path in got), server.metrics, server.metrics + "x"]:
        answer, head = server.client.get(url), server.client.head(url)
        # How long something took may have been counted meanwhile.
        counted = "/stats" in url or "/metrics" in url
        assert (head.status_code, head.content) == (answer.status_code, b"")
        assert head.headers.keys() == answer.headers.keys()
        assert counted or head.headers == answer.headers


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v2/health/live", {"GET", "HEAD"}),
        ("/v2/repository/index", {"POST"}),
        ("/v2/models/bat/infer", {"POST"}),
    ],
)
def test_the_methods_that_are_allowed(server: RunningServer, path: str, allowed: set[str]) -> None:
    answer = server.client.request("PUT", server.rest + path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed


# --- the limit of a body --------------------------------------------------------------------------------------


def test_a_body_of_exactly_the_limit(server: RunningServer) -> None:
    response = server.post("/v2/models/bat/infer", content=padded(MAX_INPUT_BYTES))
    assert output_of(response)["data"] == [1, 2, 3]


@pytest.mark.parametrize("path", ["models/bat/infer", "repository/index", "repository/models/bat/load"])
@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_over_the_limit(server: RunningServer, path: str, chunked: bool) -> None:
    body = padded(MAX_INPUT_BYTES + 1)
    pieces = (body[start : start + 2**20] for start in range(0, len(body), 2**20))
    response = server.post(f"/v2/{path}", content=pieces if chunked else body)
    assert response.status_code == 413
    assert f"exceeds the maximum allowed input size of {MAX_INPUT_BYTES} bytes" in error_of(response)
    assert "--http-max-input-size" in error_of(response)
    assert server.infer("bat", {"inputs": [IN]}).status_code == 200
