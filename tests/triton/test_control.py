"""Models that load, unload and ask for other models."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import identity
from tests.integration.support import wait_until
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
        # Those that are no number end a real tritonserver. This could be a label, which the model does not have.
        ('pb_utils.is_model_ready("lab", "x")', "False"),
        ('pb_utils.is_model_ready("lab", "1x")',
         "TritonModelException: Failed to check model readiness: Failed to process the request for model 'lab_0', "
         "message: failed to get model version from specified version string '1x'"),
        ('pb_utils.load_model("nosuch")',
         "TritonModelException: Failed to load model: Failed to process the request for model 'lab_0', message: "
         "failed to load 'nosuch', failed to poll from model repository"),
        ('pb_utils.load_model("batched", config="no JSON")',
         "TritonModelException: Failed to load model: Failed to process the request for model 'lab_0', message: "),
        ('pb_utils.load_model("new", config="{}", files={"file:1/model.py": b""})',
         "TritonModelException: Failed to load model: Failed to process the request for model 'lab_0', message: load "
         "parameter 'file:1/model.py': uploading model files is disabled, because they can be code that runs as the "
         "server's user. Start the server with '--allow-file-override=true' to enable."),
    ],
)  # fmt: skip
def test_what_comes_of_a_call(server: RunningServer, call: str, expected: str) -> None:
    assert run(server, f"return [answer(attempt(lambda: {call}))]").startswith(expected)


# A model that is sent by the lab. It answers with what became of the files beside it.
SENT = """
import zlib
import numpy as np
class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"TEXT": ("BYTES", [1])}
    def load(self, context):
        self.path = context.path
    def __call__(self, inputs):
        found = {path.name: zlib.crc32(path.read_bytes()) for path in self.path.iterdir() if path.is_file()}
        return {"TEXT": np.array([repr(sorted(found.items()))], dtype=np.object_)}
"""

SENDING = """
files = {{"file:1/model.py": {code!r}, "file:1/empty": b"", "file:1/large": bytes({mebibytes} << 20)}}
files |= {{f"file:1/{{number}}": bytes([number]) for number in range({count})}}
config = json.dumps({{"backend": "python"}})
return [answer(attempt(lambda: pb_utils.load_model("sent", config=config, files=files)))]
"""


@pytest.fixture(scope="module")
def taking(
    tmp_path_factory: pytest.TempPathFactory, repository: Path, serve: StartServer
) -> Iterator[tuple[RunningServer, Path]]:
    """A server that takes files, and where it keeps them."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        flags = ("--model-control-mode=explicit", "--load-model=lab", "--allow-file-override")
        yield serve(repository, *flags), folder


@pytest.mark.slow
@pytest.mark.parametrize(("mebibytes", "count"), [(0, 0), (80, 200)])
def test_files_that_a_model_sends(taking: tuple[RunningServer, Path], mebibytes: int, count: int) -> None:
    server, folder = taking
    code = SENDING.format(code=SENT.encode(), mebibytes=mebibytes, count=count)
    assert run(server, code) == "None"
    files = {"model.py": SENT.encode(), "empty": b"", "large": bytes(mebibytes << 20)}
    files |= {str(number): bytes([number]) for number in range(count)}
    ask = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1], "data": [3]}]}
    (output,) = server.infer("sent", ask).json()["outputs"]
    assert output["data"] == [repr(sorted((name, zlib.crc32(content)) for name, content in files.items()))]
    assert run(server, 'pb_utils.unload_model("sent")\nreturn [answer()]') == "done"
    wait_until(lambda: not [*folder.glob("kserve-v2-uploads-*/*")])


@pytest.mark.parametrize(
    ("files", "config", "expected"),
    [
        ({"file:1/../x": b""}, "{}", "load parameter 'file:1/../x' must not contain path traversal characters"),
        ({"1/model.py": b""}, "{}", "unrecognized load parameter '1/model.py'."),
        ({"file:1/model.py": b""}, "", "failed to load 'sent', failed to poll from model repository: files were sent "
         "without the parameter 'config', the configuration that goes with them"),
        ({"file:1/model.py": b"raise ValueError('broken')"}, "{}", "load failed for model 'sent': version 1 is at "
         "UNAVAILABLE state: Internal: "),
        ({"file:1/model.py": "text"}, "{}", "load parameter 'file:1/model.py' is not bytes, but str"),
        ({"file:1/model.py": None}, "{}", "load parameter 'file:1/model.py' is not bytes, but NoneType"),
    ],
)  # fmt: skip
def test_files_that_a_model_sends_and_that_are_refused(
    taking: tuple[RunningServer, Path], files: dict[str, object], config: str, expected: str
) -> None:
    server, folder = taking
    told = run(
        server, f"return [answer(attempt(lambda: pb_utils.load_model('sent', {config!r}, {files!r})))]"
    )
    start = "TritonModelException: Failed to load model: Failed to process the request for model 'lab_0', message: "
    assert told.startswith(start + expected)
    assert run(server, 'pb_utils.unload_model("sent")\nreturn [answer()]') == "done"
    wait_until(lambda: not [*folder.glob("kserve-v2-uploads-*/*")])


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
