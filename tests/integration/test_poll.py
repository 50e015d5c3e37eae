"""Control mode poll: models come, change and go with their directories."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.repository.lifecycle.load_log import GOES_ON
from tests.conftest import RunningServer
from tests.integration.conftest import ExplicitServer, Start, StartExplicit
from tests.integration.ensemble_models import INT, ONE_INT, add, ensemble, write_ensemble
from tests.integration.grpc_requests import STATUS, Channel
from tests.integration.handlers import versioned
from tests.integration.lifecycle_requests import ASK, BROKEN, answer_of, ready
from tests.integration.support import error_of, json_tensor, wait_until

pytestmark = pytest.mark.slow

POLL = "--model-control-mode=poll"
REFUSED = "explicit model load / unload is not allowed if polling is enabled"


@pytest.fixture(scope="module")
def polling(start_explicit: StartExplicit) -> ExplicitServer:
    """A server that finds changes within a second, by events or by looking."""
    return start_explicit(POLL, "--repository-poll-secs=1", "--repository-settle-secs=1")


def answers(server: RunningServer, model: str, number: int) -> Callable[[], bool]:
    def ask() -> bool:
        response = server.infer(model, ASK)
        return response.status_code == 200 and response.json()["outputs"][0]["data"] == [number]

    return ask


def state(polling: ExplicitServer, model: str) -> str:
    return polling.index(model)[0].get("state", "") if polling.index(model) else "none"


@pytest.fixture
def model(polling: ExplicitServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """A model that answers with 1, of its own for each test."""
    name = request.node.name.removeprefix("test_")[:40].replace("[", "_").rstrip("]")
    polling.write(name, versioned(1))
    wait_until(answers(polling.server, name, 1))
    yield name
    shutil.rmtree(polling.root / name, ignore_errors=True)


def test_added_changed_removed(polling: ExplicitServer, model: str) -> None:
    polling.write(model, versioned(22))
    wait_until(answers(polling.server, model, 22))
    polling.write(model, versioned(3), version=2)
    wait_until(answers(polling.server, model, 3))
    shutil.rmtree(polling.root / model / "2")
    wait_until(answers(polling.server, model, 22))
    shutil.rmtree(polling.root / model)
    wait_until(lambda: state(polling, model) == "UNAVAILABLE")
    response = polling.server.infer(model, ASK)
    assert (response.status_code, error_of(response)) == (
        404, f"Request for unknown model: '{model}' has no available versions",
    )  # fmt: skip
    polling.write(model, versioned(4))
    wait_until(answers(polling.server, model, 4))


def test_the_api_is_refused_with_tritons_text(polling: ExplicitServer, model: str) -> None:
    for answer in (polling.load(model), polling.unload(model)):
        assert (answer.status_code, error_of(answer)) == (503, REFUSED)
    with Channel(polling.server) as channel:
        load = pb.RepositoryModelLoadRequest(model_name=model)
        assert channel.fails("RepositoryModelLoad", load, pb.RepositoryModelLoadResponse) == (
            STATUS.UNAVAILABLE, REFUSED,
        )  # fmt: skip
        unload = pb.RepositoryModelUnloadRequest(model_name=model)
        assert channel.fails("RepositoryModelUnload", unload, pb.RepositoryModelUnloadResponse) == (
            STATUS.UNAVAILABLE, REFUSED,
        )  # fmt: skip
    assert answer_of(polling.server, model) == 1


def test_what_is_broken_does_not_replace_what_answers(polling: ExplicitServer, model: str) -> None:
    for broken, config, line in (
        (BROKEN, "", f"failed to load: {model} version 1{GOES_ON}: "),
        (versioned(2), "max_batch_size: many", f"model '{model}' cannot be loaded{GOES_ON}: "),
    ):
        polling.write(model, broken, config)
        wait_until(lambda line=line: line in polling.server.log)  # type: ignore[misc]
        assert answer_of(polling.server, model) == 1
        assert ready(polling.server) == 200
    (polling.root / model / "config.pbtxt").unlink()
    polling.write(model, versioned(33))
    wait_until(answers(polling.server, model, 33))


def test_a_new_model_that_is_broken_leaves_the_server_ready_and_is_loaded_once_repaired(
    polling: ExplicitServer,
) -> None:
    polling.write("new_broken", BROKEN)
    wait_until(lambda: state(polling, "new_broken") == "UNAVAILABLE")
    assert "broken on purpose" in polling.index("new_broken")[0]["reason"]
    assert ready(polling.server) == 200
    polling.write("new_broken", versioned(6))
    wait_until(answers(polling.server, "new_broken", 6))


def test_a_touch_of_the_configuration_is_no_change(polling: ExplicitServer, model: str) -> None:
    polling.write(model, versioned(1), 'parameters { key: "k" value { string_value: "one" } }')
    config = f"/v2/models/{model}/config"
    wait_until(lambda: polling.server.get(config).json()["parameters"] == {"k": {"string_value": "one"}})
    loads = polling.server.log.count(f"loading: {model} ")
    os.utime(polling.root / model / "config.pbtxt", (1, 1))
    # What comes later is loaded, and so the touch was seen before.
    polling.write("after_the_touch", versioned(1))
    wait_until(answers(polling.server, "after_the_touch", 1))
    assert polling.server.log.count(f"loading: {model} ") == loads
    shutil.rmtree(polling.root / "after_the_touch")


def test_an_ensemble_and_its_steps_in_any_order(polling: ExplicitServer) -> None:
    steps = [("poll_step", {"x": "X"}, {"y": "Y"})]
    write_ensemble(polling.root, ensemble("poll_ens", steps, ONE_INT, {"Y": INT}, "max_batch_size: 4"))
    wait_until(lambda: state(polling, "poll_ens") == "UNAVAILABLE")
    body = {"inputs": [json_tensor("X", "INT32", [1, 1], [4])]}
    polling.write("poll_step", add(1))
    wait_until(lambda: polling.server.infer("poll_ens", body).status_code == 200)
    polling.write("poll_step", add(20))
    wait_until(lambda: polling.server.infer("poll_ens", body).json()["outputs"][0]["data"] == [24])
    shutil.rmtree(polling.root / "poll_step")
    wait_until(lambda: polling.server.infer("poll_ens", body).status_code == 404)
    shutil.rmtree(polling.root / "poll_ens")
    wait_until(lambda: state(polling, "poll_ens") == "UNAVAILABLE")
    assert ready(polling.server) == 200


def test_a_directory_that_is_being_copied_waits(polling: ExplicitServer) -> None:
    """Half of a file is there, then the rest: only the whole is loaded."""
    text = versioned(8)
    path = polling.root / "copied" / "1" / "model.py"
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        for letter in text[:-20]:
            file.write(letter)
            file.flush()
        wait_until(lambda: "model 'copied' has changed in the model repository" in polling.server.log)
        file.write(text[-20:])
    wait_until(answers(polling.server, "copied", 8))
    assert polling.server.log.count("loading: copied ") == 1
    assert "failed to load: copied" not in polling.server.log


def test_a_repository_that_cannot_be_read_unloads_nothing(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("repository") / "models"
    (root / "kept" / "1").mkdir(parents=True)
    (root / "kept" / "1" / "model.py").write_text(versioned(1))
    server = start(
        f"--model-repository={root}", POLL, "--repository-poll-secs=1", "--repository-settle-secs=0"
    )
    assert answer_of(server, "kept") == 1
    elsewhere = root.rename(root.with_name("elsewhere"))
    wait_until(lambda: "cannot read the model repository, all models stay as they are" in server.log)
    assert answer_of(server, "kept") == 1
    assert ready(server) == 200
    elsewhere.rename(root)
    wait_until(lambda: "the model repository can be read again" in server.log)
    (root / "kept" / "1" / "model.py").write_text(versioned(7))
    wait_until(answers(server, "kept", 7))
    assert server.stop() == 0


def test_what_is_broken_at_the_start_is_tried_again_when_it_was_repaired(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "needed" / "1").mkdir(parents=True)
    (tmp_path / "needed" / "1" / "model.py").write_text(BROKEN)
    server = start(POLL, "--repository-poll-secs=1", "--repository-settle-secs=0")
    assert ready(server) == 400
    (tmp_path / "needed" / "1" / "model.py").write_text(versioned(2))
    wait_until(answers(server, "needed", 2))
    assert ready(server) == 200
    # One of the start that is taken away is needed no longer.
    shutil.rmtree(tmp_path / "needed")
    wait_until(lambda: server.infer("needed", ASK).status_code == 404)
    assert ready(server) == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
