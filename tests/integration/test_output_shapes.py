"""The shape of an answer is the one that the metadata announces, or the answer is an error."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.grpc_requests import STATUS, Channel, request_of, tensor
from tests.integration.support import error_of, json_tensor

CASES = Path(__file__).parents[1] / "cases"

# As scikit-learn's `predict` answers: one number for each row, and none of the dimensions that were declared.
PREDICTION = """
import numpy as np

class Model:
    inputs = {"x": ("FP32", [2])}
    outputs = {"y": ("INT64", [%s])}
    max_batch_size = 8

    def __call__(self, inputs):
        return {"y": inputs["x"].argmax(-1)}
"""

GENERATOR = """
import numpy as np

class Model:
    inputs = {"x": ("INT64", [1])}
    outputs = {"y": ("INT64", [2])}

    def __call__(self, inputs):
        yield {"y": np.array([[1, 2]])}
        yield {"y": np.zeros(inputs["x"].item(), np.int64)}
"""


@pytest.fixture(scope="module")
def shaped(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    root = tmp_path_factory.mktemp("shapes")
    write_model(root, "one_dim", PREDICTION % 1)
    write_model(root, "three", PREDICTION % 3)
    write_model(root, "generator", GENERATOR)
    for case in ("lgbm_clf_nozip", "scalar_out"):
        shutil.copytree(CASES / case, root / case)
    (root / "lgbm_as_written").mkdir()
    shutil.copytree(CASES / "lgbm_clf_nozip" / "1", root / "lgbm_as_written" / "1")
    (root / "lgbm_as_written" / "config.pbtxt").write_text(
        'output [{ name: "label" dims: [1] }, { name: "probabilities" dims: [-1, 3] }]'
    )
    return start_server(root)


def outputs(server: RunningServer, model: str, *inputs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    answer = server.infer(model, {"inputs": inputs})
    assert answer.status_code == 200, answer.text
    return {output["name"]: output for output in answer.json()["outputs"]}


def announced(server: RunningServer, model: str) -> dict[str, list[int]]:
    described = server.get(f"/v2/models/{model}").json()["outputs"]
    return {output["name"]: output["shape"] for output in described}


ROWS = json_tensor("x", "FP32", [3, 2], [1, 2, 2, 1, 1, 2])


def test_a_dimension_of_1_that_is_missing_is_added(shaped: RunningServer) -> None:
    output = outputs(shaped, "one_dim", ROWS)["y"]
    assert (output["shape"], output["data"]) == ([3, 1], [1, 0, 1])
    assert announced(shaped, "one_dim") == {"y": [-1, 1]}


def test_anything_else_is_an_error_that_names_the_output(shaped: RunningServer) -> None:
    expected = (
        "output 'y' of model 'three' has shape [3], but the model's configuration says [-1, 3]; "
        "a dimension that varies is -1 there"
    )
    answer = shaped.infer("three", {"inputs": [ROWS]})
    assert answer.status_code == 500
    assert expected in error_of(answer)
    message = request_of("three", tensor("x", "FP32", [3, 2], fp32_contents=[1, 2, 2, 1, 1, 2]))
    with Channel(shaped) as channel:
        code, details = channel.infer_fails(message)
    assert code is STATUS.INTERNAL
    assert expected in details


def test_each_response_of_a_stream_is_checked(shaped: RunningServer) -> None:
    text = shaped.post("/v2/models/generator/generate_stream", json={"x": 2}).text
    assert text.count('"y":[1,2]') == 1
    assert text.count('"y":[0,0]') == 1
    text = shaped.post("/v2/models/generator/generate_stream", json={"x": 3}).text
    assert text.count('"y":[1,2]') == 1
    assert "output 'y' of model 'generator' has shape [3], but the model's configuration says [2]" in text


def test_a_torchscript_scalar_has_shape_1(shaped: RunningServer) -> None:
    given = json_tensor("x", "FP32", [2, 4], [1] * 8)
    assert outputs(shaped, "scalar_out", given)["OUTPUT__0"]["shape"] == [1]


@pytest.mark.parametrize("rows", [1, 3])
def test_a_classifier_has_a_class_for_each_row(shaped: RunningServer, rows: int) -> None:
    """LightGBM's converter says that `label` is [1]; what comes from a classifier has as many as there are rows."""
    features = np.arange(rows * 4.0).tolist()
    found = outputs(shaped, "lgbm_clf_nozip", json_tensor("input", "FP32", [rows, 4], features))
    shapes = announced(shaped, "lgbm_clf_nozip")
    assert (found["label"]["shape"], shapes["label"]) == ([rows, 1], [-1, 1])
    assert (found["probabilities"]["shape"], shapes["probabilities"]) == ([rows, 3], [-1, 3])


def test_what_the_operator_has_written_holds(shaped: RunningServer) -> None:
    one = json_tensor("input", "FP32", [1, 4], [1, 2, 3, 4])
    assert outputs(shaped, "lgbm_as_written", one)["label"]["shape"] == [1]
    three = json_tensor("input", "FP32", [3, 4], [1, 2, 3, 4] * 3)
    answer = shaped.infer("lgbm_as_written", {"inputs": [three]})
    assert answer.status_code == 500
    assert "output 'label' of model 'lgbm_as_written' has shape [3]" in error_of(answer)
