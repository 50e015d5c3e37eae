"""Processes that die: who is told what, and what comes after."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest

from kserve_v2.isolation import death
from kserve_v2.isolation.death import cause_of_death
from tests.integration.conftest import ExplicitServer
from tests.integration.support import error_of, metric, wait_until
from tests.isolation.conftest import children, exists
from tests.isolation.dying import HANDLER, commands, parameters


def infer(server: ExplicitServer, *rows: str, model: str = "dying", **more: object) -> httpx.Response:
    return server.server.infer(model, commands(*rows, **more))


def pid_of(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    return int(answer.json()["outputs"][0]["data"][0])


def await_answer(server: ExplicitServer, model: str = "dying") -> int:
    """The process that answers, once it does again."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers.append(infer(server, "fine", model=model))
        assert answers[-1].status_code in (200, 503), answers[-1].text
        return answers[-1].status_code == 200

    wait_until(answered)
    return pid_of(answers[-1])


@pytest.fixture
def dying(isolated: ExplicitServer) -> ExplicitServer:
    return loaded(isolated)


def loaded(isolated: ExplicitServer, config: str = "", **texts: str) -> ExplicitServer:
    path = isolated.write("dying", HANDLER, config + parameters(**texts) or "# nothing")
    (path / ".load").unlink(missing_ok=True)
    answer = isolated.load("dying")
    assert answer.status_code == 200, answer.text
    return isolated


CAUSES = {
    "exit 3": "exited with status 3",
    "exit 0": "exited with status 0",
    "signal 9": "was killed by signal 9 (SIGKILL)",
    "signal 15": "was killed by signal 15 (SIGTERM)",
    "segfault": "was killed by signal 11 (SIGSEGV, segmentation fault)",
    "abort": "was killed by signal 6 (SIGABRT, abort)",
    "close_fds": "has closed its connection to the server",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", CAUSES)
def test_the_request_that_kills_its_process_is_told_of_what_and_the_next_one_is_answered(
    dying: ExplicitServer, command: str
) -> None:
    first = pid_of(infer(dying, "fine"))
    answer = infer(dying, command)
    assert answer.status_code == 503
    assert error_of(answer) == f"the process of model 'dying' {CAUSES[command]}"
    # It had begun: nobody is asked to have it executed again.
    assert "retry-after" not in answer.headers
    second = await_answer(dying)
    assert second != first
    assert not exists(first)
    assert metric(dying.server, "kserve_v2_model_processes", model="dying") == 1
    assert metric(dying.server, "kserve_v2_model_process_deaths", model="dying") == 1


def test_a_kill_is_the_kernels_only_where_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(death, "oom_kills", lambda: 3)
    assert cause_of_death(-9, 3) == "was killed by signal 9 (SIGKILL)"
    assert cause_of_death(-9, 2) == (
        "was killed by signal 9 (SIGKILL); the kernel has killed a process of this control group for lack of memory "
        "meanwhile: see its log, and oom_kill in memory.events"
    )
    assert cause_of_death(-15, 2) == "was killed by signal 15 (SIGTERM)"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["hang", "hang_gil", "hang_elsewhere"])
def test_an_execution_that_does_not_end_is_ended(isolated: ExplicitServer, command: str) -> None:
    loaded(isolated, execution_timeout="0.2")
    answer = infer(isolated, command)
    assert answer.status_code == 503
    assert error_of(answer) == (
        "the process of model 'dying' did not finish within execution_timeout of 0.2 s and was killed"
    )
    await_answer(isolated)


@pytest.mark.slow
def test_what_is_no_death_leaves_the_process_as_it_is(dying: ExplicitServer) -> None:
    pid = pid_of(infer(dying, "fine"))
    answer = infer(dying, "sys_exit")
    assert answer.status_code == 500
    assert "SystemExit: 3" in error_of(answer)
    for command in ("chdir", "fork", "threads", "print 3"):
        assert pid_of(infer(dying, command)) == pid
    assert pid_of(infer(dying, "fine")) == pid


@pytest.mark.slow
def test_what_a_model_has_started_ends_with_it(dying: ExplicitServer, tmp_path: Path) -> None:
    infer(dying, f"start {tmp_path / 'pid'}")
    child = int((tmp_path / "pid").read_text())
    assert exists(child)
    assert infer(dying, "exit 1").status_code == 503
    wait_until(lambda: not exists(child))
    await_answer(dying)
    infer(dying, f"start {tmp_path / 'pid'}")
    child = int((tmp_path / "pid").read_text())
    assert dying.unload("dying").status_code == 200
    wait_until(lambda: not exists(child))


def kill_idle(server: ExplicitServer) -> int:
    (pid,) = children(server.server.process.pid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not exists(pid))
    return pid


@pytest.mark.slow
def test_while_no_process_lives_the_model_is_not_ready_and_says_why(dying: ExplicitServer) -> None:
    server = dying.server
    path = dying.root / "dying" / ".load"
    path.write_text("7")
    kill_idle(dying)
    wait_until(lambda: server.get("/v2/models/dying/ready").status_code != 200)
    wait_until(lambda: "exited with status 7" in dying.index("dying")[0]["reason"])
    (entry,) = dying.index("dying")
    assert (entry["state"], entry["version"]) == ("UNAVAILABLE", "1")
    assert entry["reason"] == ("the process of model 'dying' exited with status 7; it is being started again")
    for url in ("/v2/models/dying/ready", "/v2/models/dying/versions/1/ready", "/v2/health/ready"):
        assert server.get(url).status_code in (400, 503), url
    answer = infer(dying, "fine")
    assert answer.status_code == 503
    assert error_of(answer) == f"Request for unknown model: 'dying' is not at ready state: {entry['reason']}"
    # What is known of it stays known.
    assert metric(server, "kserve_v2_model_processes", model="dying") == 0
    assert metric(server, "kserve_v2_model_process_deaths", model="dying") >= 1
    path.unlink()
    await_answer(dying)
    assert dying.index("dying") == [{"name": "dying", "version": "1", "state": "READY"}]
    assert server.get("/v2/health/ready").status_code == 200


@pytest.mark.slow
def test_a_model_whose_process_does_not_come_back_is_unloaded_and_loaded_again(dying: ExplicitServer) -> None:
    path = dying.root / "dying" / ".load"
    path.write_text("7")
    kill_idle(dying)
    wait_until(lambda: "exited with status 7" in dying.index("dying")[0].get("reason", ""))
    assert dying.unload("dying").status_code == 200
    wait_until(lambda: dying.index("dying")[0].get("reason") == "unloaded")
    wait_until(lambda: children(dying.server.process.pid) == [])
    path.unlink()
    assert dying.load("dying").status_code == 200
    pid_of(infer(dying, "fine"))


Later = Callable[..., "Future[Any]"]


@pytest.mark.slow
def test_siblings_go_on(isolated: ExplicitServer, later: Later, tmp_path: Path) -> None:
    loaded(isolated, "instance_group { count: 2 kind: KIND_CPU }")
    gate = tmp_path / "gate"
    held = later(infer, isolated, f"wait {gate}")
    wait_until(Path(f"{gate}.begun").exists)
    # The next process dies, too, however soon it is there.
    (isolated.root / "dying" / ".load").write_text("7")
    assert infer(isolated, "exit 1").status_code == 503
    assert not held.done()
    gate.touch()
    survivor = pid_of(held.result())
    # With the other one dead, this one answers all.
    wait_until(lambda: children(isolated.server.process.pid) == [survivor])
    assert isolated.index("dying")[0]["state"] == "READY"
    assert {pid_of(infer(isolated, "fine")) for _ in range(5)} == {survivor}


@pytest.mark.slow
def test_requests_that_wait_are_answered_by_the_next_process(
    dying: ExplicitServer, later: Later, tmp_path: Path
) -> None:
    first = pid_of(infer(dying, "fine"))
    gate = tmp_path / "gate"
    held = later(infer, dying, f"wait {gate}")
    wait_until(Path(f"{gate}.begun").exists)
    waiting = later(infer, dying, "fine")
    wait_until(lambda: metric(dying.server, "nv_inference_pending_request_count", model="dying") == 1)
    os.kill(first, signal.SIGKILL)
    assert held.result().status_code == 503
    assert pid_of(waiting.result()) != first


@pytest.mark.slow
def test_requests_that_wait_fail_if_the_next_process_fails(
    dying: ExplicitServer, later: Later, tmp_path: Path
) -> None:
    first = pid_of(infer(dying, "fine"))
    gate = tmp_path / "gate"
    held = later(infer, dying, f"wait {gate}")
    wait_until(Path(f"{gate}.begun").exists)
    waiting = later(infer, dying, "fine")
    wait_until(lambda: metric(dying.server, "nv_inference_pending_request_count", model="dying") == 1)
    (dying.root / "dying" / ".load").write_text("9")
    os.kill(first, signal.SIGKILL)
    assert error_of(held.result()) == "the process of model 'dying' was killed by signal 9 (SIGKILL)"
    assert waiting.result().status_code == 503
    assert "exited with status 9; it is being started again" in error_of(waiting.result())


_BATCHING = "dynamic_batching { preferred_batch_size: [ 3 ] max_queue_delay_microseconds: 60000000 }"


@pytest.mark.slow
def test_of_a_batch_only_the_request_fails_that_has_killed_its_process(
    isolated: ExplicitServer, later: Later
) -> None:
    loaded(isolated, _BATCHING)
    answers = [later(infer, isolated, command) for command in ("fine", "exit 4", "fine")]
    statuses = [answer.result().status_code for answer in answers]
    assert statuses == [200, 503, 200]
    # Once in the batch, and once alone.
    wait_until(lambda: metric(isolated.server, "kserve_v2_model_process_deaths", model="dying") == 2)


@pytest.mark.slow
def test_a_batch_kills_no_more_than_three_processes(isolated: ExplicitServer, later: Later) -> None:
    loaded(isolated, _BATCHING.replace("3", "6"))
    answers = [later(infer, isolated, "exit 4") for _ in range(6)]
    assert {answer.result().status_code for answer in answers} == {503}
    wait_until(lambda: metric(isolated.server, "kserve_v2_model_process_deaths", model="dying") == 3)


@pytest.mark.slow
def test_a_request_that_has_killed_three_processes_is_not_executed_a_fourth_time(
    dying: ExplicitServer,
) -> None:
    for _ in range(3):
        assert infer(dying, "exit 1", id="poison").status_code == 503
        await_answer(dying)
    pid = await_answer(dying)
    answer = infer(dying, "exit 1", id="poison")
    assert answer.status_code == 500
    assert error_of(answer) == (
        "request 'poison' is not executed again: the process of model 'dying' has died of it 3 times"
    )
    assert pid_of(infer(dying, "fine")) == pid
    assert infer(dying, "exit 1", id="other").status_code == 503
    await_answer(dying)
