"""The management API over real sockets. What is expected was observed on TorchServe 0.12, where a comment says nothing
else.
"""

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from kserve_v2._generated import torchserve_inference_pb2 as pb
from tests.integration.support import wait_until
from tests.torchserve_api.conftest import ANSWERED, Server
from tests.torchserve_api.support import mar
from tests.torchserve_api.test_inference import NO_WORKER, error

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _unregister(server: Server) -> Iterator[None]:
    """Each test leaves what it has found."""
    yield
    for _ in range(5):
        listed = server.management.get("/models").json()["models"]
        names = [each["modelName"] for each in listed if each["modelName"] not in ("echo", "lab", "parts")]
        for name in names:
            for version in server.management.get(f"/models/{name}/all").json():
                server.management.delete(f"/models/{name}/{version['modelVersion']}")
        if not names:
            return


def status(server: Server, method: str, path: str, **parameters: Any) -> tuple[int, Any]:
    answer = server.management.request(method, path, params=parameters)
    document = answer.json()
    return answer.status_code, document.get("status", document) if isinstance(document, dict) else document


def test_lists_in_pages(server: Server) -> None:
    assert server.management.get("/models").text == (
        '{\n  "models": [\n    {\n      "modelName": "echo",\n      "modelUrl": "echo.mar"\n    },\n'
        '    {\n      "modelName": "lab",\n      "modelUrl": "lab.mar"\n    },\n'
        '    {\n      "modelName": "parts",\n      "modelUrl": "parts.mar"\n    }\n  ]\n}\n'
    )
    page = server.management.get("/models?limit=2").json()
    assert (page["nextPageToken"], [each["modelName"] for each in page["models"]]) == ("2", ["echo", "lab"])
    page = server.management.get("/models?limit=2&next_page_token=2").json()
    assert page == {"models": [{"modelName": "parts", "modelUrl": "parts.mar"}]}
    # Also where the page ends exactly at the end.
    assert server.management.get("/models?limit=3").json()["nextPageToken"] == "3"
    assert server.management.get("/models?limit=3&next_page_token=3").json() == {"models": []}


def test_describes(server: Server) -> None:
    [found] = server.management.get("/models/echo").json()
    [worker] = found.pop("workers")
    assert (worker["id"], worker["status"], worker["gpu"], worker["gpuUsage"]) == (
        "9000",
        "READY",
        False,
        "N/A",
    )
    assert worker["pid"] > 0
    assert worker["memoryUsage"] > 0
    assert worker["startTime"].endswith("Z")
    assert found == {
        "modelName": "echo", "modelVersion": "1.0", "modelUrl": "echo.mar", "runtime": "python", "minWorkers": 1,
        "maxWorkers": 2, "batchSize": 1, "maxBatchDelay": 100, "responseTimeout": 120, "startupTimeout": 120,
        "maxRetryTimeoutInSec": 300, "clientTimeoutInMills": 0, "parallelType": "", "parallelLevel": 0,
        "deviceType": "cpu", "continuousBatching": False, "useJobTicket": False, "useVenv": False, "stateful": False,
        "sequenceMaxIdleMSec": 0, "sequenceTimeoutMSec": 0, "maxNumSequence": 0, "maxSequenceJobQueueSize": 0,
        "loadedAtStartup": True, "jobQueueStatus": {"remainingCapacity": 100, "pendingRequests": 0},
    }  # fmt: skip
    assert server.management.get("/models/nosuch").json() == error(
        404, "ModelNotFoundException", "Model not found: nosuch"
    )
    assert server.management.get("/models/echo/9.0").json() == error(
        404, "ModelVersionNotFoundException", "Model version: 9.0 does not exist for model: echo"
    )


def test_describes_with_what_the_handler_says(server: Server) -> None:
    [found] = server.management.get("/models/lab?customized=true").json()
    assert found["customizedMetadata"] == {"kind": "lab", "inner": {"a": [1]}}
    assert "customizedMetadata" not in server.management.get("/models/lab?customized=false").json()[0]


@pytest.mark.parametrize("form", ["folder", "tar", "model"])
def test_archives_of_other_forms(server: Server, store: Path, form: str) -> None:
    archive = mar(store, "formed")
    try:
        url = other_form(archive, form)
        answer = server.register(url, initial_workers=1, synchronous="true", handler="handler.py:again")
        assert answer.json()["status"] == 'Model "formed" Version: 1.0 registered with 1 initial workers'
        assert server.inference.post("/predictions/formed", content=b"x").text == "again"
    finally:
        archive.unlink(missing_ok=True)
        shutil.rmtree(store / "formed", ignore_errors=True)
        for name in ("formed.tar.gz", "formed.model"):
            (store / name).unlink(missing_ok=True)


def other_form(archive: Path, form: str) -> str:
    """The same archive as a folder, as a tar whose members lie in a folder, or under TorchServe's older ending."""
    store = archive.parent
    if form == "model":
        archive.rename(store / "formed.model")
        return "formed.model"
    with zipfile.ZipFile(archive) as members:
        members.extractall(store / "formed")  # noqa: S202 - our own
    archive.unlink()
    if form == "folder":
        return "formed"
    with tarfile.open(store / "formed.tar.gz", "w:gz") as tar:
        tar.add(store / "formed", "formed")
    shutil.rmtree(store / "formed")
    return "formed.tar.gz"


def test_a_worker_that_dies_is_started_again(server: Server) -> None:
    answer = server.inference.post("/predictions/lab", content=b"die")
    assert answer.json() == error(500, "InternalServerException", "Worker died.")
    assert server.inference.get("/ping").status_code == 200
    while server.inference.post("/predictions/lab", content=b"x").status_code != 200:
        pass


def test_registers_without_workers_and_scales(server: Server) -> None:
    answer = server.register("echo.mar", model_name="other")
    assert (answer.status_code, answer.json()["status"]) == (
        200,
        'Model "other" Version: 1.0 registered with 0 initial workers. Use scale workers API to add workers for the '
        "model.",
    )
    refused = server.inference.post("/predictions/other", content=b"x")
    assert refused.json() == error(503, "ServiceUnavailableException", f'Model "other" {NO_WORKER}')
    assert server.inference.get("/ping").status_code == 200
    assert status(server, "PUT", "/models/other", min_worker=1, synchronous="true") == (
        200, "Workers scaled to 1 for model: other",
    )  # fmt: skip
    assert server.inference.post("/predictions/other", content=b"x").json() == {"body": "x"}
    assert status(server, "PUT", "/models/other/1.0", min_worker=0, synchronous="true") == (
        200, "Workers scaled to 0 for model: other, version: 1.0",
    )  # fmt: skip
    assert server.inference.post("/predictions/other", content=b"x").status_code == 503
    assert status(server, "DELETE", "/models/other") == (200, 'Model "other" unregistered')
    assert server.inference.post("/predictions/other", content=b"x").status_code == 404


def test_scales_up_while_requests_are_answered(server: Server) -> None:
    assert status(server, "PUT", "/models/echo", min_worker=2, max_worker=3, synchronous="true")[0] == 200
    [found] = server.management.get("/models/echo").json()
    assert (found["minWorkers"], found["maxWorkers"], len(found["workers"])) == (2, 3, 2)
    assert len({worker["pid"] for worker in found["workers"]}) == 2
    assert server.inference.post("/predictions/echo", content=b"x").json() == {"body": "x"}
    assert status(server, "PUT", "/models/echo", min_worker=1, max_worker=2) == (
        202,
        "Processing worker updates...",
    )
    assert status(server, "PUT", "/models/echo", min_worker=2, max_worker=1) == (
        400, error(400, "BadRequestException", "max_worker cannot be less than min_worker."),
    )  # fmt: skip
    assert status(server, "PUT", "/models/nosuch", min_worker=2)[0] == 404


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"min_worker": -1}, "min_worker cannot be less than 0."),
        ({"min_worker": -1, "max_worker": 2, "synchronous": "true"}, "min_worker cannot be less than 0."),
        ({"min_worker": -3, "max_worker": -2}, "min_worker cannot be less than 0."),
        ({"min_worker": 0, "max_worker": -1}, "max_worker cannot be less than min_worker."),
        ({"max_worker": -1}, "max_worker cannot be less than min_worker."),
        ({"max_worker": 0}, "max_worker cannot be less than min_worker."),
    ],
)
def test_there_are_no_fewer_workers_than_none(server: Server, asked: dict[str, Any], told: str) -> None:
    assert status(server, "PUT", "/models/parts", **asked) == (400, error(400, "BadRequestException", told))
    [found] = server.management.get("/models/parts").json()
    assert (found["minWorkers"], found["maxWorkers"], len(found["workers"])) == (1, 1, 1)


def test_versions(server: Server) -> None:
    first = server.register("echo.mar", model_name="v", initial_workers=1, synchronous="true")
    assert first.json()["status"] == 'Model "v" Version: 1.0 registered with 1 initial workers'
    second = server.register("echo2.mar", model_name="v", initial_workers=1, synchronous="true", batch_size=4)
    assert second.json()["status"] == 'Model "v" Version: 2.0 registered with 1 initial workers'
    again = server.register("echo2.mar", model_name="v")
    assert again.json() == error(
        409, "ConflictStatusException", "Model version 2.0 is already registered for model v"
    )
    assert [each["modelVersion"] for each in server.management.get("/models/v/all").json()] == ["1.0", "2.0"]
    assert server.management.get("/models/v").json()[0]["modelVersion"] == "1.0"
    assert server.management.get("/models/v/2.0").json()[0]["batchSize"] == 4
    for version in ("", "/1.0", "/2.0"):
        assert server.inference.post(f"/predictions/v{version}", content=b"x").json() == {"body": "x"}
    # Each is a model of the v2 protocol.
    for name in ("v", "v@2.0"):
        assert server.running.get(f"/v2/models/{name}/ready").status_code == 200
    assert status(server, "PUT", "/models/v/3.0/set-default") == (
        404, error(404, "ModelVersionNotFoundException", "Model version 3.0 does not exist for model v"),
    )  # fmt: skip
    assert status(server, "DELETE", "/models/v/1.0") == (
        403, error(403, "InvalidModelVersionException", "Cannot remove default version for model v"),
    )  # fmt: skip
    assert status(server, "PUT", "/models/v/2.0/set-default") == (
        200, 'Default version successfully updated for model "v" to "2.0"',
    )  # fmt: skip
    assert server.management.get("/models/v").json()[0]["modelVersion"] == "2.0"
    assert status(server, "DELETE", "/models/v/1.0") == (200, 'Model "v" unregistered')
    assert status(server, "DELETE", "/models/v") == (200, 'Model "v" unregistered')
    assert status(server, "GET", "/models/v")[0] == 404


def test_that_changes_end_with_the_server_is_said_once(server: Server) -> None:
    for name in ("one", "two"):
        assert server.register("echo.mar", model_name=name).status_code == 200
    assert status(server, "PUT", "/models/one/1.0/set-default")[0] == 200
    assert server.running.log.count("no snapshots are written (logs/config)") == 1


def v2_answers(server: Server, name: str, version: str = "") -> set[str]:
    """What clients of the v2 protocol are answered, over REST and gRPC."""
    path = f"/v2/models/{name}{f'/versions/{version}' if version else ''}/infer"
    tensor = {"name": "body", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}
    answer = server.running.post(path, json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    with grpcclient.InferenceServerClient(server.running.grpc) as client:
        body = grpcclient.InferInput("body", [1, 1], "BYTES")
        body.set_data_from_numpy(np.array([[b"x"]], object))
        over_grpc = client.infer(name, [body], version).as_numpy("prediction").item().decode()
    return {answer.json()["outputs"][0]["data"][0], over_grpc}


def predictions(server: Server, name: str, version: str) -> set[str]:
    """What TorchServe's clients are answered: over HTTP with a body and with a form, and over gRPC."""
    path = f"/predictions/{name}{f'/{version}' if version else ''}"
    answers = [server.inference.post(path, content=b"x"), server.inference.post(path, files={"body": b"x"})]
    assert [each.status_code for each in answers] == [200, 200]
    with grpc.insecure_channel(server.running.urls["TorchServe gRPC inference"]) as channel:
        predict = channel.unary_unary(
            "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions",
            pb.PredictionsRequest.SerializeToString,
            pb.PredictionResponse.FromString,
        )
        over_grpc = predict(
            pb.PredictionsRequest(model_name=name, model_version=version, input={"body": b"x"})
        )
    return {*(each.text for each in answers), over_grpc.prediction.decode()}


def test_each_version_answers_those_that_name_it_whichever_is_the_default(server: Server) -> None:
    first, second = {'{\n  "body": "x"\n}'}, {"again"}
    workers = {"initial_workers": 1, "synchronous": "true"}
    assert server.register("echo.mar", model_name="e", **workers).status_code == 200
    assert server.register("echo2.mar", model_name="e", handler="handler:again", **workers).status_code == 200
    for default, answers in (("1.0", first), ("2.0", second), ("1.0", first), ("2.0", second)):
        assert status(server, "PUT", f"/models/e/{default}/set-default")[0] == 200
        assert predictions(server, "e", "") == answers
        assert (predictions(server, "e", "1.0"), predictions(server, "e", "2.0")) == (first, second)
    # Nor does the default version answer for one that has no workers.
    assert status(server, "PUT", "/models/e/1.0", min_worker=0, synchronous="true")[0] == 200
    assert server.inference.post("/predictions/e/1.0", content=b"x").status_code == 503
    assert predictions(server, "e", "2.0") == second
    assert server.running.get("/v2/models/e@2.0/stats").json()["model_stats"][0]["inference_count"] > 0


def test_the_default_version_answers_v2_clients_that_name_none(server: Server) -> None:
    first, second = {'{\n  "body": "x"\n}'}, {"again"}
    workers = {"initial_workers": 1, "synchronous": "true"}
    assert server.register("echo.mar", model_name="d", **workers).status_code == 200
    assert server.register("echo2.mar", model_name="d", handler="handler:again", **workers).status_code == 200
    assert (v2_answers(server, "d"), v2_answers(server, "d@2.0")) == (first, second)
    assert status(server, "PUT", "/models/d/2.0/set-default")[0] == 200
    assert (v2_answers(server, "d"), v2_answers(server, "d", "1")) == (second, first)
    assert status(server, "PUT", "/models/d/1.0/set-default")[0] == 200
    assert v2_answers(server, "d") == first
    assert status(server, "PUT", "/models/d/2.0/set-default")[0] == 200
    # One that has no workers is not replaced by another one that has.
    assert status(server, "PUT", "/models/d/2.0", min_worker=0, synchronous="true")[0] == 200
    assert server.running.get("/v2/models/d/ready").status_code == 400
    assert v2_answers(server, "d", "1") == first
    assert status(server, "PUT", "/models/d/2.0", min_worker=1, synchronous="true")[0] == 200
    assert v2_answers(server, "d") == second
    # The one with the model's own name goes.
    assert status(server, "DELETE", "/models/d/1.0")[0] == 200
    assert v2_answers(server, "d") == second
    assert server.running.get("/v2/models/d").status_code == 200
    (statistics,) = server.running.get("/v2/models/d/stats").json()["model_stats"]
    assert statistics["name"] == "d@2.0"
    assert statistics["inference_count"] > 0
    assert status(server, "DELETE", "/models/d")[0] == 200
    assert server.running.get("/v2/models/d").status_code == 404
    # And nothing is left of what it was.
    assert server.register("echo.mar", model_name="d", **workers).status_code == 200
    assert v2_answers(server, "d") == first


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, error(400, "BadRequestException", "Parameter url is required.")),
        ({"url": "nosuch.mar"}, error(404, "ModelNotFoundException", "Model not found at: nosuch.mar")),
        (
            {"url": "../store/echo.mar"},
            error(404, "ModelNotFoundException", "Relative path is not allowed in url: ../store/echo.mar"),
        ),
        (
            {"url": "echo.mar", "runtime": "perl"},
            error(400, "BadRequestException", "Invalid RuntimeType value: perl"),
        ),
        (
            {"url": "echo.mar"},
            error(409, "ConflictStatusException", "Model version 1.0 is already registered for model echo"),
        ),
        (
            {"url": "broken.mar", "initial_workers": 1, "synchronous": "true"},
            error(500, "InternalServerException", "Failed to start workers for model broken version: 1.0"),
        ),
    ],
)
def test_what_cannot_be_registered(
    server: Server, parameters: dict[str, Any], expected: dict[str, Any]
) -> None:
    answer = server.management.post("/models", params=parameters)
    assert (answer.status_code, answer.json()) == (expected["code"], expected)
    assert len(server.management.get("/models").json()["models"]) == 3


def test_what_is_no_archive_is_told(server: Server) -> None:
    answer = server.register("junk.mar")
    assert (answer.status_code, answer.json()["type"]) == (400, "InvalidModelException")
    assert "/" not in answer.json()["message"]


def test_registers_by_a_body_and_the_archive_says_how_it_is_served(server: Server) -> None:
    body = {"url": "asks.mar", "model_name": "a", "batch_size": 5, "response_timeout": 9, "synchronous": True}
    answer = server.management.post("/models", json=body)
    # Its file starts a worker, though none was asked for.
    assert answer.json()["status"] == 'Model "a" Version: 1.0 registered with 1 initial workers'
    [found] = server.management.get("/models/a").json()
    assert (found["minWorkers"], found["maxWorkers"], found["batchSize"]) == (1, 2, 5)
    # And any such file makes the call's time ineffective.
    assert (found["responseTimeout"], found["maxBatchDelay"]) == (50, 100)


def test_does_not_wait_where_it_is_told_not_to(server: Server) -> None:
    answer = server.register("echo.mar", model_name="later", initial_workers=1, synchronous="false")
    assert (answer.status_code, answer.json()["status"]) == (202, "Processing worker updates...")
    assert status(server, "PUT", "/models/later", min_worker=1, synchronous="true")[0] == 200
    assert server.inference.post("/predictions/later", content=b"x").json() == {"body": "x"}


def test_what_is_registered_anew_is_not_ended_by_what_was(server: Server) -> None:
    """The workers of a model start, and it goes before they have: what has come of them then is nobody's any more."""
    for _ in range(3):
        server.register("echo.mar", model_name="again", initial_workers=1, synchronous="false")
        assert status(server, "DELETE", "/models/again")[0] == 200
    assert server.register("echo.mar", model_name="again", initial_workers=1).status_code == 200
    assert server.inference.post("/predictions/again", content=b"x").json() == {"body": "x"}


def test_a_caller_that_leaves_does_not_end_what_it_has_asked_for(server: Server) -> None:
    with pytest.raises(httpx.ReadTimeout):
        server.management.post(
            "/models?url=echo.mar&model_name=left&initial_workers=1", timeout=httpx.Timeout(30, read=0.05)
        )
    while server.management.get("/models/left").status_code != 200:
        pass
    assert status(server, "PUT", "/models/left", min_worker=1, synchronous="true")[0] == 200
    assert server.inference.post("/predictions/left", content=b"x").json() == {"body": "x"}


def test_readiness_in_kserves_first_protocol(server: Server) -> None:
    assert server.management.get("/v1/models/echo").json() == {"name": "echo", "ready": True}
    assert server.management.get("/v1/models/nosuch").status_code == 404


def test_a_name_that_cannot_be_served_is_refused(server: Server) -> None:
    """TorchServe accepts it, and nobody can reach it."""
    for name in ("we ird/x", "..", ".hidden"):
        assert server.register("echo.mar", model_name=name).status_code == 400, name
    assert len(server.management.get("/models").json()["models"]) == 3


def test_fetches_from_an_url_that_is_allowed(
    server: Server, web: tuple[str, Path, list[str]], store: Path
) -> None:
    url, _, asked = web
    answer = server.register(f"{url}/fetched.mar", initial_workers=1, synchronous="true")
    assert answer.json()["status"] == 'Model "fetched" Version: 1.0 registered with 1 initial workers'
    assert server.inference.post("/predictions/fetched", content=b"x").json() == {"body": "x"}
    assert asked[-1] == "/fetched.mar"
    # It is nowhere from where it could be registered again without its URL.
    assert not (store / "fetched.mar").exists()
    status(server, "DELETE", "/models/fetched")
    assert server.register("fetched.mar").json() == error(
        404, "ModelNotFoundException", "Model not found at: fetched.mar"
    )
    assert server.register(f"{url}/missing.mar").json() == error(
        400, "DownloadArchiveException", f"Failed to download archive from: {url}/missing.mar"
    )
    assert server.register(f"{url}/echo.mar").json() == error(
        500, "InternalServerException", "Model file already exists echo.mar"
    )
    answer = server.register(f"file://{store}/echo.mar", model_name="by-file")
    assert answer.status_code == 200


WAITS = """
import os, time

def handle(data, context):
    while data is not None and not os.path.exists({path!r}):
        time.sleep(0.01)
    return ["done"] * len(data or ())
"""


def test_a_full_queue(server: Server, store: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    archive = mar(
        store, "waits", WAITS.format(path=str(go)), yaml="minWorkers: 1\nmaxWorkers: 1\njobQueueSize: 1\n"
    )
    try:
        assert server.register("waits.mar").status_code == 200
        with ThreadPoolExecutor(6) as threads:
            asked = [
                threads.submit(server.inference.post, "/predictions/waits", content=b"x") for _ in range(6)
            ]
            first = next(as_completed(asked)).result()
            go.touch()
            answers = [each.result() for each in asked]
    finally:
        archive.unlink()
    assert first.json() == error(503, "ServiceUnavailableException", f'Model "waits" {NO_WORKER}')
    assert {answer.status_code for answer in answers} == {200, 503}


def test_an_answer_that_takes_too_long(server: Server, store: Path, tmp_path: Path) -> None:
    archive = mar(store, "late", WAITS.format(path=str(tmp_path / "never")))
    try:
        parameters = {"initial_workers": 1, "response_timeout": 1}
        assert server.register("late.mar", **parameters).status_code == 200
        answer = server.inference.post("/predictions/late", content=b"x")
    finally:
        archive.unlink()
    assert answer.json() == error(500, "InternalServerException", "Worker died.")


def test_slow_fetches_keep_nothing_else_from_being_done(
    server: Server, web: tuple[str, Path, list[str]]
) -> None:
    """As many as the server has threads for everything, and more."""
    url, _, asked = web
    many = 40
    with ThreadPoolExecutor(many) as threads:
        try:
            waiting = [threads.submit(server.register, f"{url}/slow{number}.mar") for number in range(many)]
            wait_until(lambda: sum(path.startswith("/slow") for path in asked) >= 8)
            assert server.management.get("/models/echo").json()[0]["modelName"] == "echo"
            assert server.register("echo2.mar", model_name="local").status_code == 200
        finally:
            ANSWERED.set()
        for each in waiting:
            assert each.result().json()["type"] == "DownloadArchiveException"


def test_what_is_said_of_a_model_whose_default_version_is_another_one(server: Server) -> None:
    workers = {"initial_workers": 1, "synchronous": "true"}
    for archive in ("echo.mar", "echo2.mar"):
        assert server.register(archive, model_name="s", **workers).status_code == 200
    assert status(server, "PUT", "/models/s/2.0/set-default")[0] == 200
    get = server.running.get
    tensor = {"name": "body", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}

    def index() -> dict[str, Any]:
        return {each["name"]: each for each in server.running.post("/v2/repository/index").json()}

    for own_is_there in (True, False):
        # Whatever is said of the name is said of the model that answers to it.
        answered = server.running.post("/v2/models/s/infer", json={"inputs": [tensor]}).json()["model_name"]
        metadata, (statistics,) = get("/v2/models/s").json(), get("/v2/models/s/stats").json()["model_stats"]
        config, v1 = get("/v2/models/s/config").json(), get("/v1/models/s/metadata").json()["model_spec"]
        assert {answered, metadata["name"], statistics["name"], config["name"], v1["name"]} == {"s@2.0"}
        assert (metadata["versions"], statistics["inference_count"]) == (["1"], 2 - own_is_there)
        with grpcclient.InferenceServerClient(server.running.grpc) as client:
            assert client.get_model_metadata("s").name == "s@2.0"
            assert client.get_model_config("s").config.name == "s@2.0"
            assert client.get_inference_statistics("s").model_stats[0].name == "s@2.0"
        told = get("/v1/models/s").json()
        assert (told["ready"], [each["state"] for each in told["model_version_status"]]) == (
            True,
            ["AVAILABLE"],
        )
        assert {"s", "s@2.0"} <= set(get("/v1/models").json()["models"])
        assert index()["s@2.0"]["state"] == "READY"
        if own_is_there:
            assert index()["s"] == {"name": "s", "version": "1", "state": "READY"}
            assert get("/v2/models/s/versions/1").json()["name"] == "s"
            assert get("/v2/models/s/versions/1/stats").json()["model_stats"][0]["name"] == "s"
            assert status(server, "DELETE", "/models/s/1.0")[0] == 200
            # Its process ends after the call is answered.
            wait_until(lambda: index()["s"]["state"] == "UNAVAILABLE")
        else:
            assert index()["s"]["reason"] == "unloaded; requests that name no version are answered by 's@2.0'"
            assert get("/v2/models/s/versions/1").status_code == 503
    assert status(server, "DELETE", "/models/s")[0] == 200
    # Nobody answers in its place any more, and its own version is known to be unloaded.
    assert get("/v1/models/s").status_code == 503
    assert "s" not in get("/v1/models").json()["models"]
