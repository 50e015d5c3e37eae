"""The description at /openapi.json names the models that are loaded, each with a request that works."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.messages import ModelMetadata, TensorMetadata
from kserve_v2.rest.model_descriptions import MOST_MODELS, TAG, DescribedModel, with_models
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import identity

STREAMING = """
class Model:
    inputs = {"N": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [1])}
    decoupled = True

    def __call__(self, inputs):
        for number in range(inputs["N"].item()):
            yield {"OUT": [number]}
"""


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel
) -> RunningServer:
    root = tmp_path_factory.mktemp("described")
    write_model(root, "made up", identity("FP32", [-1, 2], max_batch_size=4))
    sampled = write_model(root, "sampled", identity("INT32", [2]))
    request = {"inputs": [{"name": "IN", "datatype": "INT32", "shape": [2], "data": [3, 4]}]}
    (sampled / "sample_request.json").write_text(json.dumps(request))
    broken = write_model(root, "broken", identity("INT32", [2]))
    (broken / "sample_request.json").write_text("{")
    write_model(root, "half", identity("FP16", [2]))
    write_model(root, "large", identity("FP32", [1000]))
    streaming = write_model(root, "streaming", STREAMING)
    request = {"inputs": [{"name": "N", "datatype": "INT32", "shape": [1], "data": [2]}]}
    (streaming / "sample_request.json").write_text(json.dumps(request))
    return start_server(root, "--model-control-mode=explicit", "--load-model=*", "--allow-grpc=false")


def described(server: RunningServer) -> dict[str, Any]:
    """The operations of loaded models by their paths, in their order."""
    document = server.get("/openapi.json").json()
    return {
        path: methods["post"]
        for path, methods in document["paths"].items()
        if TAG in methods.get("post", {}).get("tags", ())
    }


def example_of(operation: dict[str, Any]) -> Any:
    return operation["requestBody"]["content"]["application/json"].get("example")


def test_every_loaded_model_has_a_path_of_its_own_in_front(server: RunningServer) -> None:
    document = server.get("/openapi.json").json()
    paths = list(described(server))
    assert paths == [
        "/v2/models/broken/infer",
        "/v2/models/half/infer",
        "/v2/models/large/infer",
        "/v2/models/made%20up/infer",
        "/v2/models/sampled/infer",
        "/v2/models/streaming/generate_stream",
    ]
    assert list(document["paths"])[: len(paths)] == paths
    assert [tag["name"] for tag in document["tags"]] == [TAG, "inference"]
    identifiers = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(set(identifiers)) == len(identifiers)


def test_examples_are_the_models_samples_or_made_up(server: RunningServer) -> None:
    operations = described(server)
    data = {
        path: example["inputs"][0]["data"]
        for path, operation in operations.items()
        if (example := example_of(operation)) and "inputs" in example
    }
    assert data == {
        "/v2/models/broken/infer": [0, 0],
        "/v2/models/made%20up/infer": [0.0, 0.0],
        "/v2/models/sampled/infer": [3, 4],
    }
    assert example_of(operations["/v2/models/streaming/generate_stream"]) == {"N": 2}
    for name in ("half", "large"):
        operation = operations[f"/v2/models/{name}/infer"]
        assert example_of(operation) is None
        assert "too long to be shown here, or" in operation["description"]


def test_every_example_works(server: RunningServer) -> None:
    worked = 0
    for path, operation in described(server).items():
        if (example := example_of(operation)) is not None:
            answer = server.post(path, json=example)
            assert answer.status_code == 200, answer.text
            worked += 1
    assert worked == 4


def test_the_description_is_of_now(server: RunningServer) -> None:
    before = described(server)
    assert server.post("/v2/repository/models/sampled/unload").status_code == 200
    try:
        assert described(server).keys() == before.keys() - {"/v2/models/sampled/infer"}
    finally:
        assert server.post("/v2/repository/models/sampled/load").status_code == 200
    assert described(server) == before


@pytest.mark.parametrize(("count", "note"), [(MOST_MODELS, ""), (1000, f"These are {MOST_MODELS} of 1,000;")])
def test_of_a_thousand_models_some_are_described_and_the_rest_is_said(
    server: RunningServer, tmp_path: Path, count: int, note: str
) -> None:
    tensor = TensorMetadata("X", "FP32", [1])
    models = [
        DescribedModel(
            ModelMetadata(f"m{number:03}", ["1"], "python", [tensor], [tensor]), tmp_path, False, None
        )
        for number in range(MOST_MODELS)
    ]
    general = {
        path: methods
        for path, methods in server.get("/openapi.json").json()["paths"].items()
        if re.search(r"\{model_name\}/(infer|generate_stream)$", path)
    }
    document = with_models({"paths": general}, (models, count))
    assert len(document["paths"]) == MOST_MODELS + len(general)
    assert note in document["tags"][0]["description"]
    assert ("These are" in document["tags"][0]["description"]) is bool(note)


def test_without_models_there_is_nothing_to_say() -> None:
    document = {"paths": {"/v2": {}}}
    assert with_models(document, ([], 0)) == document
