"""Workflows over the APIs. What is right was answered by TorchServe 0.12 to the same archives."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import kserve_v2
from kserve_v2.torchserve_api.workflow_registry import WorkflowRegistry
from tests.conftest import launch
from tests.torchserve_api.conftest import Server
from tests.torchserve_api.support import PROPERTIES, mar

pytestmark = pytest.mark.slow

STEPS = """
import json

def pre(data, context):
    return None if data is None else [row.get("data") or row.get("body") for row in data]

def upper(data, context):
    return None if data is None else [bytes(row.get("body")).decode().upper() for row in data]

def join(data, context):
    if data is None:
        return None
    if "boom" in bytes(data[0]["words"]).decode():
        raise ValueError("boom")
    return [
        {"words": json.loads(row["words"]), "upper": bytes(row["upper"]).decode(), "keys": sorted(row)} for row in data
    ]
"""
WORDS = """
def handle(data, context):
    return None if data is None else [bytes(row["body"]).decode().split() for row in data]
"""
FLOW: dict[str, Any] = {
    "models": {"min-workers": 1, "max-workers": 1, "words": {"url": "words.mar"}},
    "dag": {"pre": ["words", "upper"], "words": ["join"], "upper": ["join"]},
}


def war(store: Path, name: str, spec: dict[str, Any]) -> None:
    (store.parent / "spec.yaml").write_text(json.dumps(spec))
    (store.parent / "steps.py").write_text(STEPS)
    kserve_v2.archive_workflow(
        name, spec_file=store.parent / "spec.yaml", handler=store.parent / "steps.py", export_path=store
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that has loaded the workflow `flow` at its start, as all that is in its store."""
    folder = tmp_path_factory.mktemp("workflows")
    store, later = folder / "store", folder / "later"
    mar(store, "words", WORDS)
    war(store, "flow", FLOW)
    (folder / "config.properties").write_text(
        f"{PROPERTIES}enable_model_api=true\ndefault_workers_per_model=1\nworkflow_store=/nowhere\n"
    )
    war(later, "again", FLOW)
    war(later, "flow2", {**FLOW, "models": {"nope": {"url": "nope.mar"}}, "dag": {"pre": ["nope"]}})
    war(later, "circle", {"dag": {"pre": ["join"], "join": ["pre"]}})
    # The command line goes first.
    flags = ["--torchserve", "--model-store", str(store), "--workflow-store", str(store), "--models", "all"]
    running = launch(folder, None, *flags, "--ts-config", str(folder / "config.properties"))
    for path in later.iterdir():
        path.rename(store / path.name)
    server = Server.of(running)
    yield server
    assert server.close() == 0


def test_a_store_that_is_not_there_keeps_nothing_from_being_served(tmp_path: Path) -> None:
    workflows = WorkflowRegistry(tmp_path / "nowhere", NotImplemented, NotImplemented)
    [problem] = asyncio.run(workflows.enter_startup())
    assert problem.endswith("cannot be read: No such file or directory")


def error(answer: httpx.Response) -> tuple[int, str, str]:
    document = answer.json()
    assert document["code"] == answer.status_code
    return answer.status_code, document["type"], document["message"]


def predicted(server: Server, name: str, text: str) -> httpx.Response:
    return server.inference.post(f"/wfpredict/{name}", content=text, headers={"Content-Type": "text/plain"})


def test_a_request_goes_through_models_and_functions(server: Server) -> None:
    answer = predicted(server, "flow", "make a timer")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "words": ["make", "a", "timer"],
        "upper": "MAKE A TIMER",
        "keys": ["upper", "words"],
    }
    form = server.inference.post("/wfpredict/flow", files={"data": ("x.txt", b"a form")})
    assert form.json()["words"] == ["a", "form"]
    large = server.inference.post("/wfpredict/flow", files={"data": ("x.txt", b"large " * 100_000)})
    assert large.json()["words"] == ["large"] * 100_000


def test_a_node_that_fails_is_named(server: Server) -> None:
    assert error(predicted(server, "flow", "boom")) == (
        500,
        "InternalServerException",
        "Error executing join",
    )
    assert "ValueError: boom" in server.running.log_path.read_text()


def test_workflows_are_listed_and_described(server: Server) -> None:
    assert server.management.get("/workflows").json() == {
        "workflows": [{"workflowName": "flow", "workflowUrl": "flow.war"}]
    }
    assert server.management.get("/workflows/flow").json() == [
        {
            "workflowName": "flow",
            "workflowUrl": "flow.war",
            "minWorkers": 1,
            "maxWorkers": 1,
            "batchSize": 1,
            "maxBatchDelay": 50,
            "workflowDag": "{pre=[words, upper], words=[join], upper=[join]}",
        }
    ]
    # Functions are models, too, which are not listed.
    listed = server.management.get("/models").json()["models"]
    assert [each["modelName"] for each in listed] == ["flow__words", "words"]
    assert server.management.get("/models/flow__pre").json()[0]["modelName"] == "flow__pre"


def test_a_workflow_comes_and_goes(server: Server) -> None:
    for parameters, name in (
        ({"url": "again.war"}, "again"),
        ({"url": "again.war", "workflow_name": "other"}, "other"),
    ):
        done = server.management.post("/workflows", params=parameters)
        assert done.json() == {"status": f"Workflow {name} has been registered and scaled successfully."}, (
            done.text
        )
        assert predicted(server, name, "a b").json()["words"] == ["a", "b"]
    assert error(server.management.post("/workflows", params={"url": "again.war"})) == (
        409, "ConflictStatusException", "Workflow again is already registered.",
    )  # fmt: skip
    for name in ("again", "other"):
        gone = server.management.delete(f"/workflows/{name}")
        assert gone.json() == {"status": f'Workflow "{name}" unregistered'}
    assert error(predicted(server, "again", "a")) == (
        404,
        "WorkflowNotFoundException",
        "Workflow not found: again",
    )
    assert server.management.get("/models/again__pre").status_code == 404
    assert server.management.post("/workflows", params={"url": "again.war"}).status_code == 200
    assert server.management.delete("/workflows/again").status_code == 200


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, (400, "BadRequestException", "Parameter url is required.")),
        (
            {"url": "nothing.war"},
            (404, "WorkflowNotFoundException", "Workflow not found in workflow store: nothing.war"),
        ),
        (
            {"url": "../x.war"},
            (404, "WorkflowNotFoundException", "Relative path is not allowed in url: ../x.war"),
        ),
        (
            {"url": "flow2.war"},
            (
                500,
                "WorkflowException",
                "Workflow flow2 has failed to register. Failures: [Workflow Node flow2__nope failed to register. "
                "Details: Model not found at: nope.mar]",
            ),
        ),
        (
            {"url": "circle.war"},
            (
                400,
                "InvalidWorkflowException",
                "workflow 'circle': dag: there is a circle in it: nodes wait for each other",
            ),
        ),
    ],
)
def test_what_cannot_be_registered_leaves_nothing(
    server: Server, parameters: dict[str, str], expected: tuple[int, str, str]
) -> None:
    assert error(server.management.post("/workflows", params=parameters)) == expected
    assert len(server.management.get("/workflows").json()["workflows"]) == 1
    assert server.management.get("/models/flow2__pre").status_code == 404


def test_what_there_is_not(server: Server) -> None:
    unknown = (404, "WorkflowNotFoundException", "Workflow not found: zz")
    assert error(server.management.get("/workflows/zz")) == unknown
    assert error(server.management.delete("/workflows/zz")) == unknown
    assert error(server.management.put("/workflows/flow"))[:2] == (405, "MethodNotAllowedException")
