"""The index, the documentation page, and how large a body may be. The other routes are in tests/wire."""

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
