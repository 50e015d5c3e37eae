"""One request to a workflow: each node is asked as soon as its parents have answered."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from kserve_v2.torchserve.rows import Answer, Failure, Field, Row
from kserve_v2.torchserve.workflows.workflow import Node, Workflow

logger = logging.getLogger(__name__)

Ask = Callable[[str, Row], Awaitable[Answer | Failure]]
"""Asks a model, by its name, as a client of TorchServe's would."""

_INTERNAL = "InternalServerException"


class _NodeFailedError(Exception):
    """The request cannot be answered; the text is for the client."""


async def predict(workflow: Workflow, row: Row, ask: Ask) -> Answer | Failure:
    """The answer of the last node, or of several of them in one object. If a node has failed for good, those that are
    under way are given up. Cancelling it gives up all of them.
    """
    tasks: dict[str, asyncio.Task[bytes]] = {}
    try:
        async with asyncio.TaskGroup() as group:
            for node in workflow.nodes:
                tasks[node.name] = group.create_task(_answer(node, row, ask, tasks))
        body = _body(workflow, {name: tasks[name].result() for name in workflow.leaves})
    except* _NodeFailedError as group_:
        failed = str(group_.exceptions[0])
    else:
        return Answer(body, "application/json")
    return Failure(500, _INTERNAL, failed)


async def _answer(node: Node, row: Row, ask: Ask, tasks: Mapping[str, "asyncio.Task[bytes]"]) -> bytes:
    """What a node answers to what its parents have answered; the first ones are asked what the client asks."""
    answers = {parent: await tasks[parent] for parent in node.parents}
    if len(answers) == 1:
        row = replace(row, fields=[Field("body", *answers.values())])
    elif answers:
        row = replace(row, fields=[Field(parent, answer) for parent, answer in answers.items()])
    for attempt in range(node.retry_attempts + 1):
        try:
            async with asyncio.timeout(node.timeout_ms / 1000):
                answer = await ask(node.model, row)
        except TimeoutError:
            answer = Failure(500, _INTERNAL, f"no answer within {node.timeout_ms} ms")
        if isinstance(answer, Answer):
            return answer.body
        logger.warning(
            "workflow node '%s', attempt %d: %s (id=%s)", node.model, attempt + 1, answer.message, row.id
        )
    raise _NodeFailedError(f"Error executing {node.name}")


def _body(workflow: Workflow, answers: Mapping[str, bytes]) -> bytes:
    """Raises _NodeFailedError where several answers cannot be put together."""
    if len(answers) == 1:
        return next(iter(answers.values()))
    whole = {}
    for name, answer in answers.items():
        try:
            whole[name] = json.loads(answer)
        except (ValueError, RecursionError):
            raise _NodeFailedError(
                f"{workflow.name}: {name} is one of several last nodes, and its answer is not JSON"
            ) from None
    return (json.dumps(whole, indent=2, ensure_ascii=False) + "\n").encode()
