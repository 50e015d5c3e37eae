"""Archives in a model repository, served by a real server in real processes: the v2 protocol, batches, workers that die,
parts of answers, metrics. None of these handlers needs torch.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton
from numpy import array

from tests.conftest import RunningServer, StartServer
from tests.integration.support import wait_until
from tests.isolation.conftest import children
from tests.torchserve.support import archive

HANDLER = """
import os
import sys
import helper

class Service:
    def initialize(self, context):
        self.words = open("words.txt").read().split()
        self.where = [os.getcwd() == os.path.realpath(context.system_properties["model_dir"]),
                      "ts" in sys.modules, context.system_properties["batch_size"], context.system_properties["gpu_id"],
                      context.model_yaml_config.get("handler"), context.manifest["model"]["modelVersion"]]

    def handle(self, data, context):
        answers = []
        for index, row in enumerate(data):
            body = row["body"]
            text = body.decode() if isinstance(body, bytearray) else body
            if text == "die":
                os._exit(3)
            if text == "where":
                answers.append(self.where)
            elif text == "boom":
                raise ValueError("secret reason")
            elif text == "pid":
                answers.append(str(os.getpid()))
            elif text == "header":
                answers.append(str(context.get_request_header(index, "color")))
            else:
                answers.append(helper.shout(text) + str(len(data)))
            context.metrics.add_counter("Shouts", 1, idx=index)
        return answers
"""
YAML = """
minWorkers: 2
maxWorkers: 2
batchSize: 4
maxBatchDelay: 20
responseTimeout: 30
handler:
  color: red
"""
PARTS = """
from ts.handler_utils.utils import send_intermediate_predict_response

def handle(data, context):
    if data is None:
        return None
    for part in ("a", "b"):
        send_intermediate_predict_response([part] * len(data), context.request_ids, "Intermediate", 200, context)
    return ["end"] * len(data)
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    repository = folder / "repository"
    files: dict[str, Any] = {
        "handler__py": HANDLER, "helper__py": "def shout(text):\n    return text.upper()\n", "words__txt": "one two",
        "model-config__yaml": YAML, "config_file": "model-config.yaml", "version": "2.5",
    }  # fmt: skip
    _place(repository, "shout", archive(folder, "shout", **files))
    _place(repository, "packed", archive(folder, "packed", form="tgz", handler__py=PARTS), PACKED)
    _place(repository, "explained", archive(folder, "explained", handler__py=EXPLAINED))
    plain = archive(folder, "plain", "entry:serve", form="no-archive", entry__py=ENTRY)
    (repository / "plain").mkdir()
    plain.rename(repository / "plain" / "1")
    archive(folder, "direct", handler__py=WHERE).rename(repository / "direct.MAR")
    _place(repository, "where", archive(folder, "where", handler__py=WHERE))
    return repository


@pytest.fixture(scope="module")
def server(start_server: StartServer, repository: Path) -> RunningServer:
    return start_server(repository, "--model-control-mode=explicit", "--load-model=*")


EXPLAINED = """
class Service:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        kind = "explanations" if context.get_request_header(0, "explain") == "True" else "predictions"
        context.set_response_header(0, "X-Kind", kind)
        context.set_response_header(0, "X:Odd", kind)
        context.set_response_status(data[0]["body"].get("status", 200))
        return [{kind: row["body"]["instances"]} for row in data]
"""
WHERE = """
import json

def handle(data, context):
    return None if data is None else [json.dumps(context.system_properties["model_dir"]) for _ in data]
"""
ENTRY = """
calls = []

def serve(data, context):
    calls.append(data)
    return None if data is None else [{"first": calls[0] is None, "rows": len(data)} for _ in data]
"""
PACKED = 'backend: "torchserve" default_model_filename: "packed.tar.gz"'


def _place(repository: Path, name: str, file: Path, config: str = "") -> None:
    (repository / name / "1").mkdir(parents=True)
    file.rename(repository / name / "1" / file.name)
    if config:
        (repository / name / "config.pbtxt").write_text(config)


def ask(server: RunningServer, model: str, *texts: str, **more: Any) -> Any:
    tensor = {"name": "body", "datatype": "BYTES", "shape": [len(texts), 1], "data": list(texts)}
    return server.infer(model, {"inputs": [tensor], **more})


def answers(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    (output,) = response.json()["outputs"]
    assert (output["name"], output["datatype"]) == ("prediction", "BYTES")
    found: list[str] = output["data"]
    return found


@pytest.mark.slow
def test_an_archive_answers_the_v2_protocol(server: RunningServer) -> None:
    response = ask(server, "shout", "hello")
    assert answers(response) == ["HELLO1"]
    assert response.json().get("parameters", {}) == {}


def test_rows_of_a_request_are_rows_of_the_handler(server: RunningServer) -> None:
    assert answers(ask(server, "shout", "a", "b", "c")) == ["A3", "B3", "C3"]


def test_the_handler_finds_its_folder_its_configuration_and_its_manifest(server: RunningServer) -> None:
    response = ask(server, "shout", "where")
    assert json.loads(answers(response)[0]) == [True, True, 4, None, {"color": "red"}, "2.5"]
    assert response.json()["parameters"] == {"content_type": "application/json"}


def test_a_module_s_function_is_called_once_without_data(server: RunningServer) -> None:
    assert json.loads(answers(ask(server, "plain", "x"))[0]) == {"first": True, "rows": 1}


def test_parameters_are_headers_and_may_say_the_content_type(server: RunningServer) -> None:
    assert answers(ask(server, "shout", "header", parameters={"color": "blue"})) == ["blue"]
    assert answers(ask(server, "shout", '"json"', parameters={"content_type": "application/json"})) == [
        "JSON1"
    ]


def test_a_client_cannot_have_its_bytes_taken_for_fields(server: RunningServer) -> None:
    packed = {"fields": [["data", None, 2]], "headers": {"color": "x"}, "id": "i"}
    refused = ask(server, "shout", "xy", parameters={"packed": packed})
    assert refused.status_code == 400
    assert answers(ask(server, "shout", "xy", parameters={"packed": json.dumps(packed)})) == ["XY1"]
    outside = {
        "inputs": [{"name": "body", "datatype": "BYTES", "shape": [1, 1], "data": ["xy"]}],
        "packed": packed,
    }
    assert answers(server.infer("shout", outside)) == ["XY1"]


def test_requests_that_come_together_are_one_batch(server: RunningServer) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = [answers(each)[0] for each in pool.map(lambda n: ask(server, "shout", f"t{n}"), range(64))]
    assert [each[:-1] for each in found] == [f"T{n}" for n in range(64)]
    assert {each[-1] for each in found} <= {"1", "2", "3", "4"}
    assert {each[-1] for each in found} != {"1"}


def test_a_request_that_fails_takes_no_other_with_it(server: RunningServer) -> None:
    texts = [f"t{n}" if n % 4 else "boom" for n in range(32)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda text: ask(server, "shout", text), texts))
    assert [each.status_code for each in found] == [200 if text != "boom" else 500 for text in texts]
    assert [answers(each)[0][:-1] for each in found if each.status_code == 200] == [
        text.upper() for text in texts if text != "boom"
    ]


@pytest.mark.slow
def test_workers_are_processes_and_there_are_as_many_as_the_yaml_says(server: RunningServer) -> None:
    config = server.get("/v2/models/shout/config").json()
    assert config["instance_group"][0]["count"] == 2
    assert config["max_batch_size"] == 4
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 20_000
    assert config["parameters"]["execution_timeout"]["string_value"] == "30"
    pids = {answers(ask(server, "shout", "pid"))[0] for _ in range(20)}
    assert pids <= {str(pid) for pid in children(server.process.pid)}
    assert str(os.getpid()) not in pids


def test_an_exception_is_an_error_and_its_traceback_is_in_the_log(server: RunningServer) -> None:
    response = ask(server, "shout", "boom", id="r-17")
    assert response.status_code == 500
    assert "Traceback" not in response.text
    assert "handler.py" in server.log
    assert "secret reason" in server.log
    assert answers(ask(server, "shout", "next")) == ["NEXT1"]


def test_a_worker_that_dies_is_started_again(server: RunningServer) -> None:
    response = ask(server, "shout", "die")
    assert response.status_code == 503
    assert "process of model 'shout'" in response.json()["error"]
    assert answers(ask(server, "shout", "alive")) == ["ALIVE1"]


def test_a_handler_that_sends_parts_is_a_stream(server: RunningServer) -> None:
    config = server.get("/v2/models/packed/config").json()
    assert config["model_transaction_policy"] == {"decoupled": True}
    client = triton.InferenceServerClient(server.grpc)
    found: list[Any] = []
    client.start_stream(lambda result, error: found.append(error or result))
    tensor = triton.InferInput("body", [1, 1], "BYTES")
    tensor.set_data_from_numpy(array([[b"x"]], object))
    client.async_stream_infer("packed", [tensor])
    client.stop_stream()
    client.close()
    assert [each.as_numpy("prediction").item() for each in found] == [b"a", b"b", b"end"]


def test_index_and_metrics_have_such_models(server: RunningServer) -> None:
    index = {each["name"]: each for each in server.post("/v2/repository/index").json()}
    assert index["shout"]["state"] == index["plain"]["state"] == "READY"
    metadata = server.get("/v2/models/shout").json()
    assert metadata["inputs"] == [{"name": "body", "datatype": "BYTES", "shape": [-1, 1]}]
    assert metadata["outputs"] == [{"name": "prediction", "datatype": "BYTES", "shape": [-1, 1]}]
    text = server.client.get(server.metrics).text
    assert 'nv_inference_request_success{model="shout",version="1"}' in text
    line = next(each for each in text.splitlines() if each.startswith("Shouts{"))
    assert 'ModelName="shout"' in line
    assert 'Level="Model"' in line


# As curl has it.
_FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(("verb", "member"), [("predict", "predictions"), ("explain", "explanations")])
def test_v1_clients_ask_the_handler_itself(server: RunningServer, verb: str, member: str) -> None:
    """The body as it came, whatever its content type is called, and the answer as the handler has made it."""
    for options in (
        {"json": {"instances": [{"a": 1}]}},
        {"content": b'{"instances": [{"a": 1}]}', "headers": _FORM},
    ):
        answer = server.post(f"/v1/models/explained:{verb}", **options)
        assert (answer.status_code, answer.json()) == (200, {member: [{"a": 1}]})
        assert (answer.headers["content-type"], answer.headers["x-kind"]) == ("application/json", member)
    assert server.get("/v1/models/explained").json()["ready"] is True
    failed = server.post(f"/v1/models/shout:{verb}", content=b"boom", headers={"content-type": "text/plain"})
    assert (failed.status_code, list(failed.json())) == (500, ["error"])


@pytest.mark.parametrize(("code", "told"), [(204, 204), (418, 418), (100, 500), (600, 500)])
def test_v1_clients_get_a_status_that_http_has(server: RunningServer, code: int, told: int) -> None:
    """What came behind a 204 would be the next answer of the connection."""
    for _ in range(2):
        answer = server.post("/v1/models/explained:predict", json={"instances": [1], "status": code})
        assert answer.status_code == told
        assert (answer.content == b"") == (told == 204)
        assert answer.headers["x-kind"] == "predictions"


def test_what_was_unpacked_goes_with_the_model(server: RunningServer) -> None:
    folder = Path(json.loads(answers(ask(server, "where", "x"))[0]))
    assert (folder / "handler.py").is_file()
    assert server.post("/v2/repository/models/where/load").status_code == 200
    assert Path(json.loads(answers(ask(server, "where", "x"))[0])).is_dir()
    assert server.post("/v2/repository/models/where/unload").status_code == 200
    wait_until(lambda: not folder.exists())


@pytest.mark.slow
def test_another_archive_is_another_model(server: RunningServer, repository: Path, tmp_path: Path) -> None:
    changed = archive(
        tmp_path, "where", handler__py="def handle(data, context):\n    return ['new'] * len(data or [])\n"
    )
    changed.replace(repository / "where" / "1" / "where.mar")
    assert server.post("/v2/repository/models/where/load").status_code == 200
    assert answers(ask(server, "where", "x")) == ["new"]


def test_an_archive_that_lies_in_the_repository_itself_is_a_model(
    server: RunningServer, repository: Path
) -> None:
    assert Path(json.loads(answers(ask(server, "direct", "x"))[0])).is_dir()
    (repository / "direct.MAR").unlink()
    assert server.post("/v2/repository/models/direct/unload").status_code == 200
    response = server.post("/v2/repository/models/direct/load")
    assert response.status_code == 404
    assert "no directory of that name" in response.json()["error"]
