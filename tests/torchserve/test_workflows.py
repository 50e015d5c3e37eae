"""Workflows: what a specification means, and what each node is asked. What is right is what TorchServe 0.12 did."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.archiving.workflow_archive import archive_workflow
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.torchserve.rows import Answer, Failure, Field, Row
from kserve_v2.torchserve.workflows.read import read_workflow
from kserve_v2.torchserve.workflows.run import predict
from kserve_v2.torchserve.workflows.workflow import Node, Workflow, workflow_of
from kserve_v2.unpacking import unpack

DIAMOND: Mapping[str, Any] = {
    "models": {
        "min-workers": 2,
        "max-workers": 3,
        "batch-size": 4,
        "timeout-ms": 300000,
        "words": {"url": "words.mar", "batch-size": 8, "retry-attempts": 5},
    },
    "dag": {"pre": ["words", "upper", None, ""], "words": ["join"], "upper": ["join"]},
}


def test_the_nodes_of_a_specification() -> None:
    workflow = workflow_of("flow", DIAMOND, "steps.py")
    assert workflow.nodes == (
        Node("pre", "flow__pre", (), function="steps.py:pre", timeout_ms=300000),
        Node("words", "flow__words", ("pre",), "words.mar", "", 2, 3, 8, 50, 5, 300000),
        Node("upper", "flow__upper", ("pre",), function="steps.py:upper", timeout_ms=300000),
        Node("join", "flow__join", ("words", "upper"), function="steps.py:join", timeout_ms=300000),
    )
    assert workflow.leaves == ("join",)
    assert workflow.dag_text == "{pre=[words, upper], words=[join], upper=[join]}"
    assert (workflow.min_workers, workflow.max_workers, workflow.batch_size, workflow.max_batch_delay) == (
        2,
        3,
        4,
        50,
    )


@pytest.mark.parametrize(
    ("models", "dag", "said"),
    [
        ({}, {}, "dag: expected at least one node"),
        ({}, {"a": ["b"], "b": ["c"], "c": ["a"]}, "dag: there is a circle in it"),
        ({}, {"a": ["a"]}, "dag: there is a circle in it"),
        ({}, {"a": "b"}, "dag.a: expected a list of the nodes behind it, got 'b'"),
        ({}, ["a"], r"dag: expected keys and values, got \['a'\]"),
        ({}, {"a/b": []}, "'a/b' is no name of a node"),
        ({}, {"a-b": []}, "'a-b' is not under models, and a function cannot be called so"),
        ({"a": {}}, {"a": []}, "models.a.url: expected the name of an archive, got None"),
        ({"a": 1}, {"a": []}, "models.a: expected keys and values, got 1"),
        ({"batch-size": 0}, {"a": []}, "models.batch-size: expected a whole number from 1, got 0"),
        (
            {"a": {"url": "a.mar", "timeout-ms": "9"}},
            {"a": []},
            "models.a.timeout-ms: expected a whole number from 1",
        ),
    ],
)
def test_what_is_wrong_with_a_specification_is_said(models: Any, dag: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        workflow_of("flow", {"models": models, "dag": dag}, "steps.py")


def test_functions_need_a_handler() -> None:
    with pytest.raises(InvalidArgumentError, match="'pre' is not under models, and there is no handler"):
        workflow_of("flow", DIAMOND, "")


def test_an_archive_is_read(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(json.dumps(DIAMOND))
    (tmp_path / "steps.py").write_text("")
    war = archive_workflow(
        "flow", spec_file=tmp_path / "flow.yaml", handler=tmp_path / "steps.py", export_path=tmp_path
    )
    unpack(war, tmp_path / "unpacked", war.name)
    assert read_workflow(tmp_path / "unpacked") == workflow_of("flow", DIAMOND, "steps.py")
    assert read_workflow(tmp_path / "unpacked", "other").nodes[0].model == "other__pre"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (None, "Missing Workflow entry in manifest file."),
        ({}, "Workflow name is not defined."),
        ({"workflowName": "w"}, "names no specFile"),
        ({"workflowName": "w", "specFile": "../flow.yaml"}, "leads out of the archive"),
        ({"workflowName": "w", "specFile": "flow.yaml"}, "names flow.yaml, which is not in the archive"),
        ({"workflowName": 1}, "expected a text, got 1"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, entries: Any, said: str) -> None:
    (tmp_path / "WAR-INF").mkdir()
    (tmp_path / "WAR-INF/MANIFEST.json").write_text(json.dumps({"workflow": entries}))
    with pytest.raises(InvalidArgumentError, match=said):
        read_workflow(tmp_path)


# --- running ----------------------------------------------------------------------------------------------------


class Models:
    """Models that answer at once with what was said they would, and note what they were asked."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, list[Field]]] = []

    async def __call__(self, model: str, row: Row) -> Answer | Failure:
        self.asked.append((model, list(row.fields)))
        answer = self.answers[model]
        if answer is None:
            await asyncio.Future()
        if isinstance(answer, list):
            answer = answer.pop(0)
        return Answer(answer) if isinstance(answer, bytes) else Failure(*answer)


def ask(workflow: Workflow, models: Models, *fields: Field) -> Answer | Failure:
    return asyncio.run(predict(workflow, Row(fields, headers=[("X-User", "me")], id="7"), models))


def test_a_node_gets_what_its_parents_have_answered() -> None:
    models = Models(
        {"flow__pre": b"ab", "flow__words": b"[1]", "flow__upper": b"AB", "flow__join": b'{"n": 1}'}
    )
    answer = ask(workflow_of("flow", DIAMOND, "steps.py"), models, Field("body", b"x", "text/plain"))
    assert answer == Answer(b'{"n": 1}', "application/json")
    assert models.asked == [
        ("flow__pre", [Field("body", b"x", "text/plain")]),
        ("flow__words", [Field("body", b"ab")]),
        ("flow__upper", [Field("body", b"ab")]),
        ("flow__join", [Field("words", b"[1]"), Field("upper", b"AB")]),
    ]


def test_several_last_nodes_are_one_object() -> None:
    workflow = workflow_of("leaves", {"dag": {"pre": ["a", "b"]}}, "leaves.py")
    models = Models(
        {
            "leaves__pre": b"hi",
            "leaves__a": b'{\n  "a": "hi"\n}',
            "leaves__b": b'{\n  "b": 1.5,\n  "\\u00e9": [\n    null,\n    true\n  ]\n}',
        }
    )
    answer = ask(workflow, models, Field("body", b"hi"))
    # The bytes of TorchServe 0.12 for the same workflow.
    expected = (
        '{\n  "a": {\n    "a": "hi"\n  },\n  "b": {\n    "b": 1.5,\n    "é": [\n      null,\n      true\n    ]\n'
        "  }\n}\n"
    )
    assert answer == Answer(expected.encode(), "application/json")
    failed = ask(workflow, Models({**models.answers, "leaves__b": b"no JSON"}), Field("body", b""))
    assert isinstance(failed, Failure)
    assert (failed.code, failed.type) == (500, "InternalServerException")


def test_what_fails_is_tried_again_and_then_ends_the_request() -> None:
    workflow = workflow_of("flow", {"dag": {"pre": ["words"]}}, "steps.py")
    fails = (503, "InternalServerException", "Prediction failed")
    models = Models({"flow__pre": [fails, b"x"], "flow__words": [fails, fails, b"never"]})
    assert ask(workflow, models, Field("body", b"")) == Failure(
        500, "InternalServerException", "Error executing words"
    )
    assert [model for model, _ in models.asked] == ["flow__pre"] * 2 + ["flow__words"] * 2


def test_a_node_that_does_not_answer_and_one_that_is_given_up() -> None:
    """Nothing is left running: otherwise `asyncio.run` would find tasks to cancel, and the future be left behind."""
    workflow = workflow_of("flow", {"dag": {"one": [], "two": []}}, "steps.py")
    slow, forever = (replace(node, retry_attempts=0) for node in workflow.nodes)
    workflow = replace(workflow, nodes=(replace(slow, timeout_ms=0), forever))
    models = Models({"flow__one": None, "flow__two": None})

    async def all_tasks_after() -> tuple[Answer | Failure, int]:
        answer = await predict(workflow, Row([Field("body", b"")]), models)
        return answer, len(asyncio.all_tasks())

    answer, tasks = asyncio.run(all_tasks_after())
    assert answer == Failure(500, "InternalServerException", "Error executing one")
    assert tasks == 1
