"""Models that load, unload and ask for other models."""

from pathlib import Path

import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import identity
from tests.triton.conftest import isolated
from tests.triton.lab import CONFIG, LAB

LOADING = '''
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    """Loads the model that it works with."""

    def initialize(self, args):
        assert not pb_utils.is_model_ready("helper")
        pb_utils.load_model(model_name="helper")
        assert pb_utils.is_model_ready(model_name="helper", model_version="1")
        assert not pb_utils.is_model_ready("helper", "2")

    def execute(self, requests):
        responses = []
        for request in requests:
            call = pb_utils.InferenceRequest(
                model_name="helper", requested_output_names=["OUT"], inputs=request.inputs()
            )
            responses.append(pb_utils.InferenceResponse(call.exec().output_tensors()))
        return responses

    def finalize(self):
        pb_utils.unload_model("helper")
'''

LOADING_CONFIG = """
backend: "python"
input [ { name: "IN" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] } ]
"""

# Waits for a load that waits for its own.
WAITING = """
import triton_python_backend_utils as pb_utils
class TritonPythonModel:
    def initialize(self, args):
        pb_utils.load_model({other!r})
    def execute(self, requests):
        return []
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel, isolation: str) -> Path:
    root = tmp_path_factory.mktemp("loading")
    write_model(root, "helper", identity("FP32", [1]))
    write_model(root, "batched", identity("FP32", [1], max_batch_size=4))
    isolated(write_model(root, "loading", LOADING, LOADING_CONFIG), isolation)
    isolated(write_model(root, "lab", LAB, CONFIG), isolation)
    for name, other in (("alone", "alone"), ("first", "second"), ("second", "third"), ("third", "first")):
        isolated(write_model(root, name, WAITING.format(other=other), CONFIG), isolation)
    return root


@pytest.fixture(scope="module")
def server(repository: Path, serve: StartServer) -> RunningServer:
    return serve(repository, "--model-control-mode=explicit", "--load-model=lab")


def ready(server: RunningServer, model: str) -> bool:
    return server.get(f"/v2/models/{model}/ready").status_code == 200


def run(server: RunningServer, code: str) -> str:
    """What the lab makes of some code: the text that it has answered with, or its error."""
    tensor = {"name": "CODE", "datatype": "BYTES", "shape": [1], "data": [code]}
    answer = server.infer("lab", {"inputs": [tensor]})
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.json()['error']}"
    text: str = answer.json()["outputs"][0]["data"][0]
    return text


def test_a_model_that_loads_what_it_works_with(server: RunningServer) -> None:
    assert server.post("/v2/repository/models/loading/load").status_code == 200
    assert ready(server, "helper")
    answer = server.infer(
        "loading", {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1], "data": [3]}]}
    )
    assert answer.json()["outputs"][0]["data"] == [3]
    assert server.post("/v2/repository/models/loading/unload").status_code == 200
    while ready(server, "loading") or ready(server, "helper"):
        pass


def test_a_configuration_in_place_of_the_model_s(server: RunningServer) -> None:
    code = """
config = json.dumps({"backend": "python", "max_batch_size": 2})
pb_utils.load_model("batched", config=config)
first = pb_utils.is_model_ready("batched")
return [answer(first)]
"""
    assert run(server, code) == "True"
    assert server.get("/v2/models/batched/config").json()["max_batch_size"] == 2
    assert (
        run(server, 'pb_utils.unload_model("batched", unload_dependents=True)\nreturn [answer()]') == "done"
    )


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ('pb_utils.is_model_ready("nosuch")', "False"),
        ('pb_utils.is_model_ready("lab")', "True"),
        ('pb_utils.unload_model("nosuch")', "None"),
        # This ends a real tritonserver.
        ('pb_utils.is_model_ready("lab", "x")',
         "TritonModelException: Failed to check model readiness: Failed to process the request for model 'lab_0', "
         "message: failed to get model version from specified version string 'x'"),
        ('pb_utils.load_model("nosuch")',
         "TritonModelException: Failed to load model: Failed to process the request for model 'lab_0', message: "
         "failed to load 'nosuch', failed to poll from model repository"),
        ('pb_utils.load_model("batched", config="no JSON")',
         "TritonModelException: Failed to load model: Failed to process the request for model 'lab_0', message: "),
        ('pb_utils.load_model("new", config="{}", files={"file:1/model.py": b""})',
         "TritonModelException: Failed to load model: Failed to process the request for model 'lab_0', message: load "
         "parameter 'file:1/model.py': uploading model files is not supported"),
    ],
)  # fmt: skip
def test_what_comes_of_a_call(server: RunningServer, call: str, expected: str) -> None:
    assert run(server, f"return [answer(attempt(lambda: {call}))]").startswith(expected)


@pytest.mark.parametrize(("model", "other"), [("alone", "alone"), ("first", "first")])
def test_loads_that_would_wait_for_each_other(server: RunningServer, model: str, other: str) -> None:
    answer = server.post(f"/v2/repository/models/{model}/load")
    assert answer.status_code == 400
    assert (
        f"model '{other}' cannot be loaded: its load would wait for that of model" in answer.json()["error"]
    )
    assert run(server, "return [answer()]") == "done"


def test_where_nothing_may_be_loaded(
    tmp_path: Path, write_model: WriteModel, serve: StartServer, isolation: str
) -> None:
    isolated(write_model(tmp_path, "lab", LAB, CONFIG), isolation)
    server = serve(tmp_path)
    for call in ('load_model("lab")', 'unload_model("lab")'):
        assert "explicit model load / unload is not allowed" in run(
            server, f"return [answer(attempt(lambda: pb_utils.{call}))]"
        )
    assert run(server, 'return [answer(pb_utils.is_model_ready("lab"))]') == "True"
