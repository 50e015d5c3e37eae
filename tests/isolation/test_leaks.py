"""A server whose models die again and again keeps nothing of them."""

from pathlib import Path

import pytest

from tests.integration.conftest import ExplicitServer
from tests.integration.support import wait_until
from tests.isolation.dying import HANDLER, commands

pytestmark = pytest.mark.slow


def held(pid: int) -> tuple[int, int]:
    """How many descriptors and threads a process has."""
    process = Path(f"/proc/{pid}")
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


def test_neither_descriptors_nor_threads_are_left_of_processes_that_have_died(
    isolated: ExplicitServer,
) -> None:
    isolated.write("dying", HANDLER, "# nothing")
    server = isolated.server

    def answered() -> bool:
        return server.infer("dying", commands("fine")).status_code == 200

    def die() -> None:
        assert server.infer("dying", commands("exit 1")).status_code == 503
        wait_until(answered)

    def live() -> None:
        assert isolated.load("dying").status_code == 200
        for _ in range(3):
            die()
        assert isolated.unload("dying").status_code == 200
        wait_until(lambda: isolated.index("dying")[0].get("reason") == "unloaded")

    live()
    before = held(server.process.pid)
    live()
    # Threads of what has ended may be about to end.
    wait_until(lambda: all(now <= then for now, then in zip(held(server.process.pid), before, strict=True)))
