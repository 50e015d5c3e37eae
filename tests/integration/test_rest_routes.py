"""The routes of the REST port: what is there, what is not, and how large a body may be."""

import json
from typing import Any

import pytest

from tests.conftest import RunningServer
from tests.integration.conftest import MAX_INPUT_BYTES
from tests.integration.rest_requests import IN, output_of, padded
from tests.integration.support import error_of


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"live": True, "ready": True}),
        ("/v2/models/bat/ready", {"name": "bat", "ready": True}),
        ("/v2/models/bat/versions/1/ready", {"name": "bat", "ready": True}),
        ("/v2/models/bat?x=1", {
            "name": "bat", "versions": ["1"], "platform": "python",
            "inputs": [{"name": "IN", "datatype": "FP32", "shape": [-1, 3]}],
            "outputs": [{"name": "OUT", "datatype": "FP32", "shape": [-1, 3]}],
        }),
        ("/v2/models/id_bytes/versions/1", {
            "name": "id_bytes", "versions": ["1"], "platform": "python",
            "inputs": [{"name": "IN", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": "OUT", "datatype": "BYTES", "shape": [-1]}],
        }),
    ],
)  # fmt: skip
def test_health_and_metadata(server: RunningServer, path: str, body: Any) -> None:
    response = server.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert json.dumps(response.json()) == json.dumps(body), "members and their order"


@pytest.mark.parametrize("path", ["nosuch/ready", "bat/versions/9/ready", "nosuch/versions/1/ready"])
def test_a_model_that_is_not_ready(server: RunningServer, path: str) -> None:
    response = server.get(f"/v2/models/{path}")
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    assert response.json()["error"] == "Model version not ready"
    assert response.json()["ready"] is False


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v2/"),
        ("GET", "/v1"),
        ("GET", "/V2"),
        ("GET", "//v2"),
        ("GET", "/v2/health"),
        ("GET", "/v2/health/live/"),
        ("GET", "/v2/models/"),
        ("GET", "/v2/models/bat/"),
        ("GET", "/v2/models/bat/nosuch"),
        ("GET", "/v2/models//ready"),
        ("GET", "/v2/models/bat/versions"),
        ("GET", "/v2/models/bat/versions/abc"),
        ("GET", "/v2/models/bat/versions/-1/ready"),
        ("GET", "/v2/models/bat/versions/1.0/config"),
        ("GET", "/v2/models/bat/versions/²/stats"),
        ("POST", "/v2/models/bat/versions/abc/infer"),
        ("POST", "/v2/models/bat/versions/²/infer"),
        ("POST", "/v2/models/bat/versions//infer"),
        ("POST", "/v2/models//infer"),
        ("POST", "/v2/models/a/b/infer"),
        ("POST", "/v2/models/a%2Fb/infer"),
        ("POST", "/v2/repository"),
        ("POST", "/v2/repository/models//load"),
        ("GET", "/metrics"),
    ],
)
def test_there_is_no_such_route(server: RunningServer, method: str, path: str) -> None:
    response = server.client.request(method, server.rest + path)
    assert (response.status_code, error_of(response)) == (404, "Not Found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2"),
        ("OPTIONS", "/v2"),
        ("POST", "/v2/health/live"),
        ("DELETE", "/v2/models/bat"),
        ("PUT", "/v2/models/bat/config"),
        ("PATCH", "/v2/models/bat/stats"),
        ("POST", "/v2/models/bat/ready"),
        ("POST", "/v2/models/nosuch/ready"),
        ("GET", "/v2/models/bat/infer"),
        ("PUT", "/v2/models/bat/infer"),
        ("GET", "/v2/models/bat/versions/1/infer"),
        ("GET", "/v2/repository/index"),
        ("GET", "/v2/repository/models/bat/load"),
        ("DELETE", "/v2/repository/models/bat/unload"),
    ],
)
def test_the_method_does_not_fit_the_route(server: RunningServer, method: str, path: str) -> None:
    response = server.client.request(method, server.rest + path)
    assert (response.status_code, error_of(response)) == (405, "Method Not Allowed")


@pytest.mark.parametrize("path", ["/v2", "/v2/models/bat/infer"])
def test_head_is_not_answered_as_get(server: RunningServer, path: str) -> None:
    assert server.client.head(server.rest + path).status_code == 405


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("nosuch", 404, "Request for unknown model: 'nosuch' is not found"),
        ("nosuch/config", 404, "Request for unknown model: 'nosuch' is not found"),
        ("nosuch/versions/1", 404, "Request for unknown model: 'nosuch' is not found"),
        ("bat/versions/9/config", 404, "Request for unknown model: 'bat' version 9 is not found"),
        ("nosuch/stats", 400, "requested model 'nosuch' is not available"),
        ("bat/versions/9/stats", 400, "requested model version is not available for model 'bat'"),
    ],
)
def test_a_route_about_a_model_that_is_not_there(
    server: RunningServer, path: str, status: int, text: str
) -> None:
    response = server.get(f"/v2/models/{path}")
    assert (response.status_code, error_of(response)) == (status, text)


@pytest.mark.parametrize("path", ["", "/config", "/stats"])
def test_a_version_that_is_too_large_for_64_bits(server: RunningServer, path: str) -> None:
    response = server.get(f"/v2/models/bat/versions/99999999999999999999{path}")
    assert response.status_code == 400
    assert path == "/stats" or "version should be an integral value > 0" in error_of(response)


@pytest.mark.parametrize("body", [b"[", b"{]", b"nonsense"])
def test_the_index_with_a_malformed_body(server: RunningServer, body: bytes) -> None:
    response = server.post("/v2/repository/index", content=body)
    assert response.status_code == 400
    assert "JSON" in error_of(response)


def test_the_index_with_a_filter_that_is_no_boolean(server: RunningServer) -> None:
    response = server.post("/v2/repository/index", json={"ready": 1})
    assert (response.status_code, error_of(response)) == (
        400,
        "Invalid value for 'ready': expected a boolean",
    )


@pytest.mark.parametrize("options", [{}, {"json": {}}, {"json": {"ready": True}}])
def test_the_index(server: RunningServer, options: dict[str, Any]) -> None:
    index = server.post("/v2/repository/index", **options).json()
    assert index == sorted(index, key=lambda entry: (entry["name"], entry["version"]))
    assert {"name": "versions", "version": "2", "state": "READY"} in index


def test_the_documentation_names_the_routes(server: RunningServer) -> None:
    assert "swagger" in server.get("/docs").text.lower()
    paths = server.get("/openapi.json").json()["paths"]
    assert {"/v2/models/{model_name}/infer", "/v2/health/ready", "/v2/repository/index"} <= set(paths)


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
