"""Models of the same name in several repositories, which --model-namespacing tells apart."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.client import Client
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.conftest import Start
from tests.integration.ensemble_models import INT, ONE_INT, add, ensemble, write_ensemble
from tests.integration.grpc_requests import STATUS, Channel
from tests.integration.lifecycle_requests import ready
from tests.integration.support import error_of, json_tensor, wait_until

ARE_TWO = "There are 2 identifiers of model 'step' in global map, model namespace must be provided to resolve ambiguity."


class Repositories:
    """Two repositories with a model `step`, which adds 1 in the first and 10 in the second, and ensembles of it."""

    def __init__(self, root: Path, write_model: WriteModel) -> None:
        self.first, self.second = root / "first", root / "second"
        self.write_model = write_model
        for folder, number in ((self.first, 1), (self.second, 10)):
            folder.mkdir()
            self.write(folder, number)
            self.ensemble(folder, f"of_{folder.name}")
        write_model(self.second, "lone", add(100))

    def write(self, folder: Path, number: int, name: str = "step") -> None:
        self.write_model(folder, name, add(number))

    def ensemble(self, folder: Path, name: str, namespace: str = "") -> None:
        made = ensemble(name, [("step", {"x": "X"}, {"y": "Y"})], ONE_INT, {"Y": INT}, "max_batch_size: 4")
        write_ensemble(folder, made)
        if namespace:
            config = folder / name / "config.pbtxt"
            text = config.read_text()
            assert 'model_name: "step"' in text
            config.write_text(
                text.replace('model_name: "step"', f'model_name: "step" model_namespace: "{namespace}"')
            )

    @property
    def flags(self) -> tuple[str, ...]:
        return (f"--model-repository={self.second}", "--model-namespacing")


def ask(server: RunningServer, model: str, value: int, name: str = "x") -> httpx.Response:
    return server.infer(model, {"inputs": [json_tensor(name, "INT32", [1, 1], [value])]})


def value(server: RunningServer, model: str, given: int, name: str = "X") -> Any:
    """What a model makes of a number, or the status of its error."""
    answer = ask(server, model, given, name)
    return (
        answer.json()["outputs"][0]["data"][0]
        if answer.status_code == 200
        else f"status {answer.status_code}"
    )


def load(server: RunningServer, name: str, **options: Any) -> httpx.Response:
    return server.post(f"/v2/repository/models/{name}/load", **options)


def unload(server: RunningServer, name: str) -> None:
    assert server.post(f"/v2/repository/models/{name}/unload").status_code == 200


def index(server: RunningServer) -> dict[str, str]:
    """State, or reason, by name."""
    entries = server.post("/v2/repository/index").json()
    return {entry["name"]: entry.get("reason") or entry.get("state", "") for entry in entries}


@pytest.fixture
def repositories(tmp_path: Path, write_model: WriteModel) -> Repositories:
    return Repositories(tmp_path, write_model)


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel, start_server: StartServer
) -> tuple[RunningServer, Repositories]:
    """A server that has loaded all of it."""
    made = Repositories(tmp_path_factory.mktemp("namespaces"), write_model)
    made.ensemble(made.first, "of_the_other", "second")
    made.ensemble(made.first, "of_the_path", str(made.first))
    return start_server(made.first, *made.flags, "--exit-on-error"), made


def test_ensembles_find_the_step_beside_them(both: tuple[RunningServer, Repositories]) -> None:
    server, _ = both
    assert (value(server, "of_first", 5), value(server, "of_second", 5)) == (6, 15)
    # Where a name space is given, the step is there.
    assert (value(server, "of_the_other", 5), value(server, "of_the_path", 5)) == (15, 6)
    config = server.get("/v2/models/of_the_other/config").json()
    assert config["ensemble_scheduling"]["step"][0]["model_name"] == "second/step"


def test_a_name_of_two_models_is_nobody_s(both: tuple[RunningServer, Repositories]) -> None:
    server, _ = both
    answer = ask(server, "step", 5)
    assert (answer.status_code, error_of(answer)) == (400, ARE_TWO)
    for path in ("/v2/models/step", "/v2/models/step/config", "/v2/models/step/versions/1"):
        answer = server.get(path)
        assert (answer.status_code, error_of(answer)) == (400, ARE_TWO), path
    with Channel(server) as channel:
        request = pb.ModelInferRequest(model_name="step")
        assert channel.infer_fails(request) == (STATUS.INVALID_ARGUMENT, ARE_TWO)
        # Over gRPC it can be said which one is meant, as the index shows it.
        ask_second = pb.ModelInferRequest(model_name="second/step")
        tensor = ask_second.inputs.add(name="x", datatype="INT32", shape=[1, 1])
        tensor.contents.int_contents.append(5)
        answered = channel.infer(ask_second)
        assert (answered.model_name, answered.raw_output_contents[0]) == ("step", (15).to_bytes(4, "little"))


def test_over_rest_the_slash_of_a_key_is_sent_encoded(both: tuple[RunningServer, Repositories]) -> None:
    server, _ = both
    assert (value(server, "first%2Fstep", 5, "x"), value(server, "second%2fstep/versions/1", 5, "x")) == (
        6,
        15,
    )
    for path in ("", "/config", "/stats", "/ready", "/versions/1", "/versions/1/ready", "/trace/setting"):
        assert server.get(f"/v2/models/second%2Fstep{path}").status_code == 200, path
    assert server.post("/v2/models/second%2Fstep/generate", json={"x": [[5]]}).json()["y"] == [[15]]
    assert server.get("/v1/models/second%2Fstep").json()["ready"]
    answer = ask(server, "third%2Fstep", 5)
    assert (answer.status_code, error_of(answer)) == (
        404,
        "Request for unknown model: 'third/step' is not found",
    )
    with Client(server.rest) as client:
        assert client.infer("second/step", x=[[5]])["y"].tolist() == [[15]]


def test_what_has_a_name_alone_answers_to_it(both: tuple[RunningServer, Repositories]) -> None:
    server, _ = both
    answer = ask(server, "lone", 5).json()
    assert (answer["model_name"], answer["outputs"][0]["data"]) == ("lone", [105])
    assert server.get("/v2/models/lone/stats").json()["model_stats"][0]["inference_count"] >= 1
    assert server.get("/v2/models/lone").json()["name"] == "lone"
    assert server.get("/v2/models/lone/ready").status_code == 200


def test_the_index_and_the_metrics_tell_them_apart(both: tuple[RunningServer, Repositories]) -> None:
    server, _ = both
    names = ["first/step", "lone", "of_first", "of_second", "of_the_other", "of_the_path", "second/step"]
    assert index(server) == dict.fromkeys(names, "READY")
    page = server.client.get(server.metrics).text
    lines = [line for line in page.splitlines() if line.startswith("nv_inference_count{") and "/step" in line]
    assert len(lines) == len({line.rpartition(" ")[0] for line in lines}) == 2


# --- loaded on request -------------------------------------------------------------------------------------------


@pytest.fixture
def explicit(repositories: Repositories, start: Start) -> Iterator[tuple[RunningServer, Repositories]]:
    # `start` serves the directory above them, which is none of theirs.
    server = start(
        "--model-repository", str(repositories.first), *repositories.flags, "--model-control-mode=explicit"
    )
    yield server, repositories


@pytest.mark.slow
def test_loading_and_unloading(explicit: tuple[RunningServer, Repositories]) -> None:
    server, _ = explicit
    # The step of its own repository comes along, and no other; the name means that one.
    assert load(server, "of_first").status_code == 200
    assert value(server, "of_first", 5) == 6
    assert value(server, "step", 5, "x") == 6
    # By its name all models are loaded.
    assert load(server, "step").status_code == 200
    answer = ask(server, "step", 5)
    assert (answer.status_code, error_of(answer)) == (400, ARE_TWO)
    assert load(server, "of_second").status_code == 200
    assert (value(server, "of_first", 5), value(server, "of_second", 5)) == (6, 15)
    # What a load brings along is for one model.
    answer = load(server, "step", json={"parameters": {"config": "{}"}})
    assert (answer.status_code, error_of(answer)) == (400, ARE_TWO)
    # By its key, one of them.
    unload(server, "second%2Fstep")
    wait_until(lambda: index(server)["second/step"] == index(server)["of_second"] == "unloaded")
    assert (value(server, "of_first", 5), value(server, "step", 5, "x")) == (6, 6)
    assert load(server, "second%2Fstep").status_code == 200
    assert (value(server, "of_first", 5), value(server, "second%2Fstep", 5, "x")) == (6, 15)
    unload(server, "step")
    wait_until(lambda: index(server)["first/step"] == index(server)["second/step"] == "unloaded")
    assert index(server)["of_first"] == "unloaded"
    assert ask(server, "step", 5).status_code == 404
    assert ready(server) == 200
    answer = load(server, "nosuch")
    assert (answer.status_code, "no directory of that name" in error_of(answer)) == (404, True)
    answer = load(server, "first%2F..%2Fstep")
    assert answer.status_code in {400, 404}


@pytest.mark.slow
def test_a_release_is_of_the_one_that_is_named(explicit: tuple[RunningServer, Repositories]) -> None:
    server, repositories = explicit
    assert load(server, "step").status_code == 200
    place, change = "/v2/repository/models/{}/release", {"labels": {"PROD": 1}}
    for answer in (
        server.get(place.format("step")),
        server.post(place.format("step"), json=change),
    ):
        assert (answer.status_code, error_of(answer)) == (400, ARE_TWO)
    answer = server.post(place.format("second%2Fstep"), json=change)
    assert (answer.status_code, answer.json()["name"]) == (200, "second/step")
    assert server.get(place.format("second%2fstep")).json()["labels"] == {"PROD": 1}
    assert "labels" not in server.get(place.format("first%2Fstep")).json()
    assert server.post(place.format("first%2F..%2Fstep"), json=change).status_code == 404
    assert [path.parent.parent.name for path in repositories.first.parent.rglob("release.json")] == ["second"]


@pytest.mark.slow
def test_steps_are_found_again_when_models_come_and_go(explicit: tuple[RunningServer, Repositories]) -> None:
    server, repositories = explicit
    for name in ("of_first", "of_second"):
        assert load(server, name).status_code == 200
    assert (value(server, "of_first", 5), value(server, "of_second", 5)) == (6, 15)
    shutil.move(repositories.first / "step", repositories.first.parent / "aside")
    unload(server, "step")
    assert load(server, "step").status_code == 200
    wait_until(lambda: (value(server, "of_first", 5), value(server, "of_second", 5)) == (15, 15))
    assert value(server, "step", 5, "x") == 15
    shutil.move(repositories.first.parent / "aside", repositories.first / "step")
    assert load(server, "step").status_code == 200
    wait_until(lambda: (value(server, "of_first", 5), value(server, "of_second", 5)) == (6, 15))


@pytest.mark.slow
def test_files_that_are_sent(repositories: Repositories, start: Start) -> None:
    server = start(
        "--model-repository", str(repositories.first), *repositories.flags, "--model-control-mode=explicit",
        "--allow-file-override",
    )  # fmt: skip

    def send(name: str, number: int) -> httpx.Response:
        content = base64.b64encode(add(number).encode()).decode()
        config = '{"backend": "python"}'
        return load(server, name, json={"parameters": {"config": config, "file:1/model.py": content}})

    # They replace the one model of a name, wherever that lies, or make one that lies nowhere.
    for name in ("lone", "new"):
        assert send(name, 1000).status_code == 200
        assert value(server, name, 5, "x") == 1005
    assert load(server, "lone").status_code == 200
    assert value(server, "lone", 5, "x") == 105
    answer = send("step", 1000)
    assert (answer.status_code, error_of(answer)) == (400, ARE_TWO)
    unload(server, "new")
    wait_until(lambda: "new" not in index(server))


@pytest.mark.slow
def test_on_demand(repositories: Repositories, start: Start) -> None:
    server = start(
        "--model-repository", str(repositories.first), *repositories.flags, "--model-control-mode=on-demand"
    )
    answer = ask(server, "step", 5)
    assert (answer.status_code, error_of(answer)) == (400, ARE_TWO)
    assert value(server, "lone", 5, "x") == 105
    assert (value(server, "of_first", 5), value(server, "of_second", 5)) == (6, 15)
    answer = ask(server, "step", 5)
    assert (answer.status_code, error_of(answer)) == (400, ARE_TWO)
    assert ask(server, "nosuch", 5).status_code == 404


# --- polled --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_steps_are_found_again_as_the_repositories_change(repositories: Repositories, start: Start) -> None:
    server = start(
        "--model-repository", str(repositories.first), *repositories.flags, "--model-control-mode=poll",
        "--repository-poll-secs=1", "--repository-settle-secs=1",
    )  # fmt: skip
    assert (value(server, "of_first", 5), value(server, "of_second", 5)) == (6, 15)
    shutil.move(repositories.first / "step", repositories.first.parent / "aside")
    wait_until(lambda: value(server, "of_first", 5) == 15, 60)
    wait_until(lambda: value(server, "step", 5, "x") == 15)
    shutil.move(repositories.first.parent / "aside", repositories.first / "step")
    wait_until(lambda: value(server, "of_first", 5) == 6, 60)
    assert (value(server, "of_second", 5), ask(server, "step", 5).status_code) == (15, 400)
