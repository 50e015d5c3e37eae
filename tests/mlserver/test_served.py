"""MLServer's models on our server: real processes, real clients. What is expected was said by a real MLServer, and is in
`expected.json`; `make compare-mlserver` asks one again.
"""

import json
import queue
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from kserve_v2.cli import main
from tests.conftest import RunningServer, StartServer
from tests.integration.support import wait_until
from tests.mlserver.cases import DIFFERENT, SAME, Case, infer, tensor, texts
from tests.mlserver.compare import told

MODELS = Path(__file__).parent / "models"
EXPECTED = json.loads((MODELS.parent / "expected.json").read_text())

BROKEN = {
    "pickled": {
        "model-settings.json": '{"implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "model.joblib"}}',
        "model.joblib": "",
    },
    "lacking": {
        "model-settings.json": '{"implementation": "models.Lacking"}',
        "models.py": "from mlserver.grpc.converters import ModelInferRequestConverter\n",
    },
}
"""Models that are refused."""

LOOSE = {
    "model-settings.json": '{"implementation": "loose.Loose"}',
    "loose.py": """
from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec


class Loose(MLModel):
    async def predict(self, payload):
        x = NumpyCodec.decode_input(payload.inputs[0])
        if x.dtype.kind not in "if":
            raise ValueError(f"no numbers: {x.dtype}")
        return types.InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", 2 * x)])
""",
}
"""A model that does not say what it takes."""

BEHIND = {
    "model-settings.json": '{"implementation": "behind.Behind"}',
    "behind.py": """
import asyncio

from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec
from mlserver.logging import logger


class Behind(MLModel):
    async def load(self):
        self.waiting = asyncio.Queue()
        self.task = asyncio.create_task(self.work())
        return True

    async def work(self):
        while True:
            answer, x = await self.waiting.get()
            answer.set_result(2 * x)

    async def predict(self, payload):
        answer = asyncio.get_running_loop().create_future()
        await self.waiting.put((answer, NumpyCodec.decode_input(payload.inputs[0])))
        return types.InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", await answer)])

    async def unload(self):
        self.task.cancel()
        await asyncio.wait([self.task])
        logger.warning("what was begun has ended: %s", self.task.cancelled())
        return True
""",
}
"""A model that answers by a task that it has begun at its load."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlserver")
    for each in MODELS.iterdir():
        (folder / each.name).symlink_to(each)
    for name, files in {**BROKEN, "loose": LOOSE}.items():
        (folder / name).mkdir()
        for file, text in files.items():
            (folder / name / file).write_text(text)
    (folder / "caller" / "1").mkdir(parents=True)
    (folder / "caller" / "1" / "model.py").write_text(CALLER)
    return folder


CALLER = """
import numpy as np


class Model:
    inputs = {"x": ("FP32", [1, 2])}
    outputs = {"y": ("FP32", [1, 2]), "words": ("BYTES", [-1])}

    def load(self, context):
        self.context = context

    def __call__(self, inputs):
        words = self.context.stream("words", {"x": np.array([b"a b"], np.object_)})
        return {
            "y": self.context.call("echo", {"x": inputs["x"]})["doubled"],
            "words": [each["output"].item() for each in words],
        }
"""
"""A handler of ours beside them, which asks them."""


@pytest.fixture(scope="module")
def server(folder: Path, start_server: StartServer) -> RunningServer:
    return start_server(folder, "--exit-on-error=false")


def ask(server: RunningServer, case: Case) -> tuple[int, dict[str, str], Any]:
    method, path, body = case
    content = body if body is None or isinstance(body, str) else json.dumps(body)
    answer = server.client.request(method, server.rest + path, content=content, headers={"x-mine": "mine"})
    return told(answer.status_code, answer.headers, answer.content)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME)
def test_the_answer_is_mlserver_s(server: RunningServer, name: str) -> None:
    assert list(ask(server, SAME[name])) == EXPECTED[name]


@pytest.mark.parametrize("name", DIFFERENT)
def test_the_error_is_as_for_all_other_models(server: RunningServer, name: str) -> None:
    case, status, error = DIFFERENT[name]
    answered, _, body = ask(server, case)
    assert (answered, body["error"][: len(error)]) == (status, error)


def test_a_traceback_is_in_the_log_with_the_request_id_and_never_in_the_answer(server: RunningServer) -> None:
    _, _, body = ask(server, infer("echo", tensor("boom", [1, 2], [1, 2])))
    found = re.search(r"request_id=(\w+)", body["error"])
    assert found is not None and "models.py" not in body["error"]
    log = server.log[server.log.index(found[0]) :]
    assert 'models.py", line' in log


@pytest.mark.slow
def test_load_predict_and_unload_share_an_event_loop(tmp_path: Path, start_server: StartServer) -> None:
    (tmp_path / "behind").mkdir()
    for file, text in BEHIND.items():
        (tmp_path / "behind" / file).write_text(text)
    server = start_server(tmp_path, "--model-control-mode=explicit", "--load-model=behind")
    _, _, body = ask(server, infer("behind", tensor("x", [1, 2], [1, 2])))
    assert body["outputs"][0]["data"] == [2, 4]
    unloaded = server.client.post(f"{server.rest}/v2/repository/models/behind/unload", json={})
    assert unloaded.status_code == 200
    wait_until(lambda: "what was begun has ended: True" in server.log, 60)


def test_a_request_without_an_id_gets_one(server: RunningServer) -> None:
    _, headers, body = ask(
        server, ("POST", "/v2/models/echo/infer", {"inputs": [tensor("x", [1, 2], [1, 2])]})
    )
    assert re.fullmatch(r"[0-9a-f-]{36}", body["id"])
    assert headers["ce-id"] == body["id"]


def test_who_asks_by_v1_is_told_what_to_ask(server: RunningServer) -> None:
    """Nothing is known of the tensors of such a model that instances could be made into."""
    status, _, body = ask(server, ("POST", "/v1/models/echo:predict", {"instances": [[1, 2]]}))
    assert (status, "reads requests itself" in body["error"], "/v2/models/echo/infer" in body["error"]) == (
        501,
        True,
        True,
    )


def test_an_error_in_a_stream_is_an_event(server: RunningServer) -> None:
    status, _, events = ask(server, infer("words", texts("x", "a fail b"), operation="infer_stream"))
    assert status == 200
    assert [each.get("outputs", [{"data": "error"}])[0]["data"] for each in events] == [["a"], "error"]
    assert "ValueError: this word is too much" in events[1]["error"]


def test_an_ordinary_model_streams_one_event(server: RunningServer) -> None:
    status, _, (event,) = ask(server, infer("rows", tensor("x", [1, 2], [1, 2]), operation="infer_stream"))
    assert (status, event["outputs"][0]["data"]) == (200, [3.0])


def test_a_stream_has_no_binary_tensors(server: RunningServer) -> None:
    body = {
        "inputs": [tensor("x", [1, 2], [1, 2])],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    status, _, events = ask(server, ("POST", "/v2/models/caller/infer_stream", body))
    assert (status, events) == (
        400,
        [{"error": "infer_stream answers in JSON: leave 'binary_data' and 'binary_data_output' out"}],
    )


def test_requests_at_a_time_are_one_batch_and_a_bad_one_fails_alone(server: RunningServer) -> None:
    with tritonclient.http.InferenceServerClient(
        server.rest.removeprefix("http://"), concurrency=6
    ) as client:
        asked = [
            client.async_infer("rows", [_http(np.full((2, 2), value, np.float32))]) for value in range(5)
        ]
        bad = client.async_infer("rows", [_http(np.full((2, 2), -1, np.float32))])
        answers = [each.get_result() for each in asked]
        with pytest.raises(tritonclient.utils.InferenceServerException, match="a negative number"):
            bad.get_result()
    assert [each.as_numpy("sum").ravel().tolist() for each in answers] == [[2 * n, 2 * n] for n in range(5)]


def test_batches_are_as_large_as_what_waits(server: RunningServer) -> None:
    with tritonclient.http.InferenceServerClient(
        server.rest.removeprefix("http://"), concurrency=8
    ) as client:
        tensors = [_http(np.ones((2, 2), np.float32))]
        asked = [client.async_infer("rows", tensors) for _ in range(32)]
        rows = [each.get_result().as_numpy("rows").ravel().tolist() for each in asked]
    # How many come together is chance; that some do is not.
    assert max(each[0] for each in rows) > 2
    assert all(each[0] % 2 == 0 and each[0] <= 16 for each in rows)


def _http(array: np.ndarray) -> tritonclient.http.InferInput:
    made = tritonclient.http.InferInput("x", list(array.shape), "FP32")
    made.set_data_from_numpy(array, binary_data=True)
    return made


@pytest.mark.parametrize("binary", [True, False])
def test_binary_tensors(server: RunningServer, binary: bool) -> None:
    with tritonclient.http.InferenceServerClient(server.rest.removeprefix("http://")) as client:
        wanted = [tritonclient.http.InferRequestedOutput("doubled", binary_data=binary)]
        answer = client.infer("echo", [_http(np.array([[1, 2]], np.float32))], outputs=wanted)
    assert answer.as_numpy("doubled").tolist() == [[2, 4]]
    (output,) = answer.get_response()["outputs"]
    assert output["parameters"]["content_type"] == "np"
    assert answer.get_response()["model_version"] == "v2"


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[tritonclient.grpc.InferenceServerClient]:
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        yield client


def _grpc(name: str, array: np.ndarray, datatype: str) -> tritonclient.grpc.InferInput:
    made = tritonclient.grpc.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def test_grpc(client: tritonclient.grpc.InferenceServerClient) -> None:
    answer = client.infer("echo", [_grpc("x", np.array([[1, 2]], np.float32), "FP32")], request_id="7")
    response = answer.get_response()
    assert (response.model_version, response.id) == ("v2", "7")
    assert response.outputs[0].parameters["content_type"].string_param == "np"
    assert answer.as_numpy("doubled").tolist() == [[2, 4]]


def test_texts_over_grpc_are_bytes_to_the_model(client: tritonclient.grpc.InferenceServerClient) -> None:
    text = _grpc("x", np.array([b"a", "\xfc".encode()], np.object_), "BYTES")
    answer = client.infer("codecs", [text], parameters={"ask": "texts"})
    assert answer.as_numpy("output-1").ravel().tolist() == [b"a", "ü".encode()]
    with pytest.raises(tritonclient.utils.InferenceServerException, match="Codec not found"):
        client.infer("codecs", [text], parameters={"ask": "unencodable"})


def test_a_stream_over_grpc(client: tritonclient.grpc.InferenceServerClient) -> None:
    got: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: got.put((result, error)))
    client.async_stream_infer(
        "words",
        [_grpc("x", np.array([b"a b"], np.object_), "BYTES")],
        enable_empty_final_response=True,
    )
    answers = [got.get(timeout=60) for _ in range(3)]
    client.stop_stream()
    assert [error for _, error in answers] == [None] * 3
    assert [answer.as_numpy("output").ravel().tolist() for answer, _ in answers[:2]] == [[b"a"], [b"b"]]
    assert answers[2][0].get_response().parameters["triton_final_response"].bool_param is True


def test_handlers_beside_them_may_ask_them(server: RunningServer) -> None:
    answer = server.infer("caller", {"inputs": [tensor("x", [1, 2], [1, 2])]}).json()
    assert "error" not in answer
    y, words = answer["outputs"]
    assert (y["data"], words["data"]) == ([2.0, 4.0], ["a", "b"])


def test_metadata_shows_what_the_settings_say(server: RunningServer) -> None:
    assert server.get("/v2/models/echo").json() == {
        "name": "echo",
        "versions": ["1"],
        "labels": {"v2": "1"},
        "platform": "mlserver",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "parameters": {"content_type": "np"}}],
        "outputs": [],
    }


TELLING = """
from mlserver import MLModel, types

X = types.MetadataTensor(name="x", datatype="INT64", shape=[-1, 3], parameters=types.Parameters(content_type="np"))
Y = types.MetadataTensor(name="y", datatype="BYTES", shape=[-1])


class Telling(MLModel):
    async def metadata(self):
        return types.MetadataModelResponse(name="other", platform="own", versions=["7"], inputs=[X], outputs=[Y])


class Setting(MLModel):
    async def load(self):
        self.inputs, self.outputs = [X], [Y]
        return True


class Failing(MLModel):
    async def metadata(self):
        raise ValueError("nothing is known")
"""


def test_metadata_is_what_the_class_says(tmp_path: Path, start_server: StartServer) -> None:
    for kind in ("Telling", "Setting", "Failing"):
        (tmp_path / kind.lower()).mkdir()
        (tmp_path / kind.lower() / "telling.py").write_text(TELLING)
        settings = {
            "implementation": f"telling.{kind}",
            "inputs": [{"name": "z", "datatype": "FP32", "shape": [1]}],
        }
        (tmp_path / kind.lower() / "model-settings.json").write_text(json.dumps(settings))
    server = start_server(tmp_path)
    x = {"name": "x", "datatype": "INT64", "shape": [-1, 3], "parameters": {"content_type": "np"}}
    y = {"name": "y", "datatype": "BYTES", "shape": [-1]}
    said = {"versions": ["1"], "inputs": [x], "outputs": [y]}
    assert server.get("/v2/models/telling").json() == {"name": "telling", "platform": "own", **said}
    assert server.get("/v2/models/setting").json() == {"name": "setting", "platform": "mlserver", **said}
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        over_grpc = client.get_model_metadata("telling", as_json=True)
    assert over_grpc["platform"] == "own"
    assert [over_grpc["inputs"][0][key] for key in ("name", "datatype", "shape")] == [
        "x",
        "INT64",
        ["-1", "3"],
    ]
    # It is served all the same, and shown as its settings have it.
    failing = server.get("/v2/models/failing").json()
    assert failing["inputs"] == [{"name": "z", "datatype": "FP32", "shape": [1]}]
    assert server.get("/v2/models/failing/ready").status_code == 200
    assert "ValueError: nothing is known" in server.log


def test_metrics_of_models_are_among_the_server_s(server: RunningServer) -> None:
    ask(server, infer("echo", tensor("x", [1, 2], [1, 2])))
    text = server.client.get(server.metrics).text
    assert "# TYPE rows histogram" in text
    assert 'rows_count{model_name="echo",model_version="v2"' in text


def test_routes_that_are_not_the_models(server: RunningServer) -> None:
    assert server.post("/hello/bob").status_code == 404
    assert server.get("/goodbye").status_code == 404
    assert server.get("/v2/models/echo/ready").json() == {"name": "echo", "ready": True}


def test_the_description_is_where_mlserver_has_it(server: RunningServer) -> None:
    for path in ("/v2/docs", "/v2/models/echo/docs", "/v2/models/echo/versions/v2/docs"):
        answer = server.client.get(server.rest + path, follow_redirects=True)
        assert str(answer.url) == f"{server.rest}/docs"
    assert "/v2/models/echo/infer" in server.get("/v2/docs/dataplane.json").json()["paths"]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("pickled", "a model of SKLearnModel is a pickle, which can run any code when it is read: if you trust it, start the server "
                    "with --backend-config mlserver,allow-pickles=true"),
        ("lacking", "implementation 'models.Lacking' needs mlserver.grpc, a part of MLServer that this server does not "
                    "have: it has models, types, codecs, errors, handlers, metrics, settings, utils and logging"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(server: RunningServer, model: str, why: str) -> None:
    (entry,) = [each for each in server.post("/v2/repository/index").json() if each["name"] == model]
    assert entry["state"] == "UNAVAILABLE"
    assert why in entry["reason"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "doubled"),
    [("3", [6]), ("1,2,3", [2, 4, 6]), ("[1,2.5]", [2, 5]), (" 1 , 2 ", [2, 4]), ("1e3", [2000])],
)
def test_what_a_model_does_not_name_takes_numbers_as_numbers(
    server: RunningServer, value: str, doubled: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["infer", "loose", f"x={value}", "--json", "--url", server.rest], {}) == 0
    [output] = json.loads(capsys.readouterr().out)["outputs"]
    assert (output["datatype"] in ("INT64", "FP64"), output["data"]) == (True, doubled)


@pytest.mark.slow
def test_a_guess_that_a_model_refuses_is_told(
    server: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["infer", "loose", "x=abc", "--url", server.rest], {}) == 1
    assert (
        "the model does not say what it takes, so numbers were sent as INT64 or FP64"
        in capsys.readouterr().err
    )
