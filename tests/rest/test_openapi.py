"""The description at /openapi.json is complete and true: every route is in it, and its examples work."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kserve_v2.rest.model_descriptions import TAG
from tests.conftest import RunningServer, StartServer

MODELS = Path(__file__).parent.parent.parent / "model_repository"

# Every route of the protocol and its extensions that the server has.
ROUTES = [
    "GET /",
    "GET /v1/models",
    "GET /v1/models/{model_name}",
    "GET /v1/models/{model_name}/metadata",
    "GET /v1/models/{model_name}/versions/{version}",
    "GET /v1/models/{model_name}/versions/{version}/metadata",
    "POST /v1/models/{model_name}:predict",
    "POST /v1/models/{model_name}/versions/{version}:predict",
    "GET /v2",
    "GET /v2/health/live",
    "GET /v2/health/ready",
    "GET /v2/models/stats",
    "GET /v2/models/{model_name}",
    "GET /v2/models/{model_name}/ready",
    "GET /v2/models/{model_name}/config",
    "GET /v2/models/{model_name}/stats",
    "GET /v2/models/{model_name}/versions/{version}",
    "GET /v2/models/{model_name}/versions/{version}/ready",
    "GET /v2/models/{model_name}/versions/{version}/config",
    "GET /v2/models/{model_name}/versions/{version}/stats",
    "POST /v2/models/{model_name}/infer",
    "POST /v2/models/{model_name}/infer_stream",
    "POST /v2/models/{model_name}/generate",
    "POST /v2/models/{model_name}/generate_stream",
    "POST /v2/models/{model_name}/versions/{version}/infer",
    "POST /v2/models/{model_name}/versions/{version}/infer_stream",
    "POST /v2/models/{model_name}/versions/{version}/generate",
    "POST /v2/models/{model_name}/versions/{version}/generate_stream",
    "POST /v2/repository/index",
    "POST /v2/repository/models/{model_name}/load",
    "POST /v2/repository/models/{model_name}/unload",
    "GET /v2/repository/models/{model_name}/release",
    "POST /v2/repository/models/{model_name}/release",
    "GET /v2/logging",
    "POST /v2/logging",
    "GET /v2/trace/setting",
    "POST /v2/trace/setting",
    "GET /v2/models/{model_name}/trace/setting",
    "POST /v2/models/{model_name}/trace/setting",
    "GET /v2/systemsharedmemory/status",
    "GET /v2/systemsharedmemory/region/{region_name}/status",
    "POST /v2/systemsharedmemory/region/{region_name}/register",
    "POST /v2/systemsharedmemory/region/{region_name}/unregister",
    "POST /v2/systemsharedmemory/unregister",
    "GET /v2/cudasharedmemory/status",
    "GET /v2/cudasharedmemory/region/{region_name}/status",
    "POST /v2/cudasharedmemory/region/{region_name}/register",
    "POST /v2/cudasharedmemory/region/{region_name}/unregister",
    "POST /v2/cudasharedmemory/unregister",
]

# What the examples of these answer where there is no shared memory object of the name, and no GPU.
NOT_OK = {
    "GET /v2/systemsharedmemory/region/{region_name}/status": 404,
    "POST /v2/systemsharedmemory/region/{region_name}/register": 500,
    "GET /v2/cudasharedmemory/region/{region_name}/status": 404,
    "POST /v2/cudasharedmemory/region/{region_name}/register": 400,
}


@pytest.fixture(scope="module")
def server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    """A server with the models of the examples."""
    flags = (
        "--model-control-mode=explicit",
        "--load-model=add_sub",
        "--load-model=intent",
        "--allow-client-shm=true",
        f"--release-directory={tmp_path_factory.mktemp('releases')}",
    )
    return start_server(MODELS, *flags)


@pytest.fixture
def document(server: RunningServer) -> dict[str, Any]:
    """The description."""
    made: dict[str, Any] = server.get("/openapi.json").json()
    return made


@pytest.fixture
def models_are_back(server: RunningServer) -> Iterator[None]:
    """An example may unload its model."""
    yield
    assert server.post("/v2/repository/models/add_sub/load").status_code == 200


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The described operations, by method and path, but for those of loaded models."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if TAG not in operation["tags"]
    }


def call(server: RunningServer, route: str, operation: dict[str, Any]) -> httpx.Response:
    """Do what the example of an operation says."""
    method, path = route.split()
    parameters = [each for each in operation.get("parameters", []) if each["in"] == "path"]
    examples = {parameter["name"]: parameter["example"] for parameter in parameters}
    body = operation.get("requestBody", {"content": {}})["content"].get("application/json", {})
    options = {"json": body["example"]} if body else {}
    return server.client.request(method, server.rest + path.format(**examples), **options)


def test_every_route_is_described(document: dict[str, Any]) -> None:
    assert sorted(operations(document)) == sorted(ROUTES)


@pytest.mark.usefixtures("models_are_back")
@pytest.mark.parametrize("route", ROUTES)
def test_the_example_works(server: RunningServer, document: dict[str, Any], route: str) -> None:
    operation = operations(document)[route]
    response = call(server, route, operation)
    assert response.status_code == NOT_OK.get(route, 200), response.text
    described = operation["responses"][str(response.status_code)]
    if response.content:
        assert response.headers["content-type"].partition(";")[0] in described["content"]


@pytest.mark.parametrize("route", ROUTES)
def test_every_post_has_an_example(document: dict[str, Any], route: str) -> None:
    operation = operations(document)[route]
    if "requestBody" in operation:
        assert "example" in operation["requestBody"]["content"]["application/json"]
    for status, response in operation["responses"].items():
        assert re.fullmatch(r"[245]\d\d", status)
        assert response["description"]
        for kind, content in response.get("content", {}).items():
            assert "example" in content or kind == "application/octet-stream", status


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/models/add_sub", "/v2/models/add_sub/ready", "/v2/systemsharedmemory/status"]
)
def test_a_query_is_ignored(server: RunningServer, path: str) -> None:
    plain = server.get(path)
    asked = server.get(f"{path}?version=9&region_name=images&model_name=nosuch")
    assert (asked.status_code, asked.content) == (plain.status_code, plain.content)


def test_binary_answers_are_described(server: RunningServer, document: dict[str, Any]) -> None:
    """A request without a body is a raw one, and its answer binary."""
    response = server.post("/v2/models/intent/infer")
    operation = operations(document)["POST /v2/models/{model_name}/infer"]
    assert response.headers["content-type"] in operation["responses"]["200"]["content"]
    assert response.headers["content-type"] == "application/octet-stream"


def test_the_answer_to_the_example_of_infer_is_the_described_one(
    server: RunningServer, document: dict[str, Any]
) -> None:
    route = "POST /v2/models/{model_name}/infer"
    operation = operations(document)[route]
    described = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert call(server, route, operation).json() == described


def test_the_answer_to_the_example_of_generate_has_the_described_members(
    server: RunningServer, document: dict[str, Any]
) -> None:
    route = "POST /v2/models/{model_name}/generate"
    operation = operations(document)[route]
    described = operation["responses"]["200"]["content"]["application/json"]["example"]
    answer = call(server, route, operation).json()
    assert {**answer, "score": 0} == {**described, "score": 0}


def test_the_form_of_generate_works(server: RunningServer, document: dict[str, Any]) -> None:
    content = operations(document)["POST /v2/models/{model_name}/generate"]["requestBody"]["content"]
    fields = {name: (None, text) for name, text in content["multipart/form-data"]["example"].items()}
    answer = server.post("/v2/models/intent/generate", files=fields)
    assert answer.json()["intent"] == "alarm"


def test_the_documentation_page(server: RunningServer) -> None:
    page = server.get("/docs")
    assert page.status_code == 200
    assert "openapi.json" in page.text
