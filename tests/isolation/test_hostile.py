"""What handlers do to their processes and on their channels: what the client gets, what the next good request gets, that
other models answer meanwhile, and that a model like that is unloaded in time.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import ExplicitServer
from tests.integration.support import error_of, json_tensor, metric, wait_until
from tests.isolation.conftest import children, exists
from tests.isolation.hostile import HANDLER

pytestmark = pytest.mark.slow

OTHER = """
class Model:
    inputs = outputs = {"x": ("INT64", [1])}

    def __call__(self, inputs):
        return inputs
"""


def ask(server: ExplicitServer, command: str, n: int = 1) -> httpx.Response:
    inputs = [json_tensor("command", "BYTES", [1], [command]), json_tensor("n", "INT64", [1], [n])]
    return server.server.infer("hostile", {"inputs": inputs})


def outputs(answer: httpx.Response) -> tuple[int, int]:
    """Twice what was asked for, and the process that has answered."""
    assert answer.status_code == 200, answer.text
    m, pid = [each["data"][0] for each in answer.json()["outputs"]]
    return m, pid


def await_answer(server: ExplicitServer) -> int:
    """The process that answers, once one does."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers.append(ask(server, "fine", len(answers)))
        if answers[-1].status_code == 200:
            return True
        assert answers[-1].status_code == 503, answers[-1].text
        return False

    wait_until(answered)
    m, pid = outputs(answers[-1])
    assert m == 2 * (len(answers) - 1)
    return pid


@pytest.fixture
def hostile(isolated: ExplicitServer) -> Iterator[ExplicitServer]:
    isolated.write("other", OTHER)
    path = isolated.write("hostile", HANDLER, "# nothing")
    for mark in (".hang_in_load", ".hangs"):
        (path / mark).unlink(missing_ok=True)
    for name in ("other", "hostile"):
        answer = isolated.load(name)
        assert answer.status_code == 200, answer.text
    yield isolated
    # Nothing that was done to that process is noticed by another model.
    answer = isolated.server.infer("other", {"inputs": [json_tensor("x", "INT64", [1], [5])]})
    assert answer.json()["outputs"][0]["data"] == [5]


# What the client gets of the command: None for an answer; and whether the process lives on.
CASES: dict[str, tuple[str | None, bool]] = {
    "answer_before": (None, True),
    "answer_ahead": ("has answered what it was not asked, and was killed", False),
    "garbage": ("has closed its connection to the server", False),
    "side_garbage": ("has closed its connection to the server", False),
    "fork": (None, True),
    "fork_and_go_on": (None, True),
    "print": (None, True),
    "chdir": (None, True),
    "sys_exit": ("SystemExit: 3", True),
    "thread_sys_exit": (None, True),
    "exit": ("exited with status 4", False),
    "close_fds": ("has closed its connection to the server", False),
    "close_std": (None, True),
    "threads": (None, True),
    "del": (None, True),
    "segfault": ("was killed by signal 11", False),
    "eat": ("MemoryError", True),
    "ignore_signals": (None, True),
    "signal_handlers": ("SystemExit: 1", True),
    "stdin": (None, True),
    "umask_and_limits": (None, True),
    "trace": (None, True),
    "excepthooks": (None, True),
    "stdout": (None, True),
    "modules": (None, True),
    "tracing": (None, True),
}


@pytest.mark.parametrize("command", CASES)
def test_what_the_client_gets_and_what_comes_after(hostile: ExplicitServer, command: str) -> None:
    text, lives = CASES[command]
    _, pid = outputs(ask(hostile, "fine"))
    answer = ask(hostile, command, 7)
    if text is None:
        assert outputs(answer) == (14, pid)
    else:
        assert answer.status_code == (500 if lives else 503), answer.text
        assert text in error_of(answer)
    if lives:
        assert [outputs(ask(hostile, "fine", n)) for n in range(20)] == [(2 * n, pid) for n in range(20)]
    else:
        assert await_answer(hostile) != pid
        wait_until(lambda: not exists(pid))
    assert hostile.unload("hostile").status_code == 200
    wait_until(lambda: len(children(hostile.server.process.pid)) == 1)


def test_a_second_answer_to_one_request_is_nobody_else_s(hostile: ExplicitServer) -> None:
    pid = await_answer(hostile)
    assert outputs(ask(hostile, "answer_twice", 7)) == (666, 0)
    assert [outputs(ask(hostile, "fine", n)) for n in range(20)] == [(2 * n, pid) for n in range(20)]


@pytest.mark.parametrize("command", ["garbage_later", "hang_up_later"])
def test_a_channel_that_ends_while_nothing_is_asked_for_is_noticed(
    hostile: ExplicitServer, command: str
) -> None:
    _, pid = outputs(ask(hostile, command))
    wait_until(lambda: metric(hostile.server, "kserve_v2_model_process_deaths", model="hostile") == 1)
    assert await_answer(hostile) != pid


def test_an_unload_does_not_wait_for_a_process_that_hangs_where_it_is_loaded_again(
    hostile: ExplicitServer,
) -> None:
    pid = await_answer(hostile)
    path = hostile.root / "hostile"
    (path / ".hang_in_load").touch()
    os.kill(pid, 9)
    wait_until(lambda: (path / ".hangs").exists() and (path / ".hangs").read_text() != "")
    hangs = int((path / ".hangs").read_text())
    assert exists(hangs)
    assert hostile.unload("hostile").status_code == 200
    wait_until(lambda: not exists(hangs))


def test_a_process_of_its_own_session_ends_with_the_model(hostile: ExplicitServer, tmp_path: Path) -> None:
    outputs(ask(hostile, f"start {tmp_path / 'pid'}"))
    child = int((tmp_path / "pid").read_text())
    try:
        assert exists(child)
        assert hostile.unload("hostile").status_code == 200
        wait_until(lambda: len(children(hostile.server.process.pid)) == 1)
    finally:
        os.kill(child, 9)


LARGE = """
import numpy as np

class Model:
    inputs = {"x": ("INT64", [1])}
    outputs = {"y": ("INT64", [-1])}

    def __call__(self, inputs):
        return {"y": np.zeros(int(inputs["x"][0]), np.int64)}
"""


def test_a_call_is_told_of_an_answer_that_its_process_cannot_take(hostile: ExplicitServer) -> None:
    hostile.write("large", LARGE)
    assert hostile.load("large").status_code == 200
    pid = await_answer(hostile)
    answer = ask(hostile, "call_without_descriptors")
    assert answer.status_code == 500
    assert "tensor 'y' is in shared memory that could not be mapped; too many open files?" in error_of(answer)
    assert await_answer(hostile) == pid
