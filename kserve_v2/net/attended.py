"""The tasks that answer requests. They are cancelled when their client leaves, or the server's time to exit is up."""

import asyncio
from typing import Self

from starlette.types import Scope

WAITING_TASKS = "kserve_v2.waiting_tasks"
"""Scope key of the connection's set of tasks to cancel when the client leaves. A task that is cancelled is then taken
out of it.
"""


class Attended:
    """The time in which the client of a request waits for the task that runs now."""

    __slots__ = ("_task", "_waiting")

    def __init__(self, scope: Scope) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an ASGI application runs in a task
        self._task = task
        self._waiting: set[asyncio.Task[None]] = scope.get(WAITING_TASKS, set())

    def __enter__(self) -> Self:
        self._waiting.add(self._task)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.discard(self._task)

    def take_back(self) -> bool:
        """Take back that the task was cancelled. Returns whether its client has left: then nobody needs an answer."""
        self._task.uncancel()
        return self._task not in self._waiting
