"""A process that has died is not started from other files than those that its model was loaded from."""

import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.isolation.keeper import Keeper
from tests.integration.conftest import ExplicitServer
from tests.integration.handlers import versioned
from tests.integration.lifecycle_requests import ASK, answer_of
from tests.integration.support import error_of, metric, wait_until
from tests.isolation.conftest import children, exists

CHANGED = "its files have changed since it was loaded: load it again"
DIED = "the process of model 'm' was killed by signal 9 (SIGKILL)"


# --- who keeps a process --------------------------------------------------------------------------------------------


class Process:
    """Does as a `ModelProcess` would."""

    model = "m"
    cause = "was killed"

    def __init__(self) -> None:
        self.alive = True
        self.on_death: Callable[[], None] = lambda: None
        self.killed = ""

    def watch(self, on_death: Callable[[], None]) -> None:
        self.on_death = on_death

    def kill(self, why: str) -> None:
        self.killed = why
        self.alive = False

    def die(self) -> None:
        self.alive = False
        self.on_death()


class NoDelays:
    def after(self, lived_s: float) -> float:
        return 0.0


class Scene:
    """A keeper whose process dies, and what its owner is told. `checks`: what is found at each look at the files, the
    last of them from then on, when `leave` ends the attempts.
    """

    def __init__(self, *checks: str) -> None:
        self.started: list[Process] = []
        self.told: list[str] = []
        self._checks = list(checks)
        first = Process()
        self.keeper = Keeper(self._start, self._tell, None, self._check, NoDelays())  # type: ignore[arg-type]
        self.keeper.begin(first)  # type: ignore[arg-type]
        first.die()

    def _start(self) -> Any:
        self.started.append(Process())
        return self.started[-1]

    def _tell(self) -> None:
        self.told.append(self.keeper.reason)

    def _check(self) -> str:
        found = self._checks.pop(0)
        if not self._checks:
            self.keeper.leave()
        return found


def test_files_that_are_the_same_are_started_again() -> None:
    scene = Scene("", "", "never")
    (process,) = scene.started
    assert scene.keeper.process is process  # type: ignore[comparison-overlap]
    assert scene.told == ["the process of model 'm' was killed; it is being started again", ""]
    assert (scene.keeper.failed, process.killed) == (False, "")


def test_files_that_have_changed_are_not_started_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, "kserve_v2"):
        scene = Scene("changed", "changed", "changed", "changed")
    assert scene.started == []
    assert scene.keeper.failed
    died = "the process of model 'm' was killed"
    assert scene.told == [f"{died}; it is being started again", *[f"{died}; changed"] * 3]
    assert [record.getMessage() for record in caplog.records] == [
        f"{died}; it is started again in 0 s", f"{died}; changed",
    ]  # fmt: skip


def test_files_that_are_put_back_are_started() -> None:
    scene = Scene("changed", "", "", "never")
    assert len(scene.started) == 1
    assert not scene.keeper.failed
    assert scene.told[-2:] == ["the process of model 'm' was killed; changed", ""]


def test_files_that_change_while_they_are_read_are_not_answered_from() -> None:
    scene = Scene("", "changed", "changed")
    (process,) = scene.started
    assert process.killed
    assert scene.keeper.process is not process  # type: ignore[comparison-overlap]
    assert scene.keeper.failed
    assert scene.told[-1] == "the process of model 'm' was killed; changed"


def test_a_check_that_fails_starts_nothing() -> None:
    def check() -> str:
        keeper.leave()
        raise OSError(5, "Input/output error")

    started: list[Process] = []
    first = Process()
    keeper = Keeper(lambda: started.append(first), lambda: None, None, check)  # type: ignore[arg-type,func-returns-value,return-value]
    keeper.begin(first)  # type: ignore[arg-type]
    first.die()
    assert started == []
    assert keeper.failed
    assert "Input/output error" in keeper.reason


# --- models ---------------------------------------------------------------------------------------------------------


def kill(server: ExplicitServer, *pids: int) -> None:
    for pid in pids or children(server.server.process.pid):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not exists(pid))


def reason(server: ExplicitServer) -> str:
    (entry,) = server.index("m")
    return entry.get("reason", "")


def edit_handler(directory: Path) -> None:
    (directory / "1" / "model.py").write_text(versioned(222))


EDITS: dict[str, Callable[[Path], object]] = {
    "the handler": edit_handler,
    "a further file of the version": lambda directory: (directory / "1" / "helper.py").write_text(""),
    "a file beside the versions": lambda directory: (directory / "labels.txt").write_text("a"),
    "the version is gone": lambda directory: (directory / "1").rename(directory.parent / ".1"),
    "the model is gone": lambda directory: directory.rename(directory.parent / ".m"),
}


@pytest.mark.slow
@pytest.mark.parametrize("edit", EDITS)
def test_a_model_whose_files_have_changed_stays_away_until_it_is_loaded(
    isolated: ExplicitServer, edit: str
) -> None:
    directory = isolated.write("m", versioned(1), "# nothing")
    assert isolated.load("m").status_code == 200
    try:
        EDITS[edit](directory)
        kill(isolated)
        wait_until(lambda: "its files " in reason(isolated))
        (entry,) = isolated.index("m")
        gone = "its files are not as they were when it was loaded: model directory cannot be read: "
        why = CHANGED if edit != "the model is gone" else f"{gone}No such file or directory"
        assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", f"{DIED}; {why}")
        answer = isolated.server.infer("m", ASK)
        assert answer.status_code == 503
        assert error_of(answer) == f"Request for unknown model: 'm' is not at ready state: {DIED}; {why}"
        assert isolated.server.get("/v2/models/m/ready").status_code != 200
        wait_until(lambda: children(isolated.server.process.pid) == [])
    finally:
        for moved, place in ((".1", directory / "1"), (".m", directory)):
            if (directory.parent / moved).exists():
                (directory.parent / moved).rename(place)
    isolated.write("m", versioned(33), "# nothing")
    assert isolated.load("m").status_code == 200
    assert answer_of(isolated.server, "m") == 33
    # What is loaded now is what comes back from now on.
    kill(isolated)
    wait_until(lambda: isolated.server.infer("m", ASK).status_code == 200)
    assert answer_of(isolated.server, "m") == 33
    for added in ("1/helper.py", "labels.txt"):
        (directory / added).unlink(missing_ok=True)


@pytest.mark.slow
def test_a_load_of_files_that_were_put_back_does_not_wait_for_the_next_attempt(
    isolated: ExplicitServer,
) -> None:
    directory = isolated.write("m", versioned(1), "# nothing")
    assert isolated.load("m").status_code == 200
    handler = directory / "1" / "model.py"
    handler.rename(directory / "1" / ".model.py")
    kill(isolated)
    wait_until(lambda: CHANGED in reason(isolated))
    (directory / "1" / ".model.py").rename(handler)
    assert isolated.load("m").status_code == 200
    assert answer_of(isolated.server, "m") == 1


@pytest.mark.slow
def test_what_no_process_is_made_of_may_change(isolated: ExplicitServer) -> None:
    """The configuration is what it was when the model was loaded, and other versions have files of their own."""
    directory = isolated.write("m", versioned(1), "# nothing")
    assert isolated.load("m").status_code == 200
    isolated.write("m", versioned(2), "# something else", version=2)
    (directory / "release.json").write_text("{}")
    (directory / "1" / "__pycache__").mkdir(exist_ok=True)
    (directory / "1" / "__pycache__" / "model.pyc").write_bytes(b"")
    try:
        kill(isolated)
        wait_until(lambda: isolated.server.infer("m", ASK).status_code == 200)
        assert answer_of(isolated.server, "m") == 1
    finally:
        (directory / "release.json").unlink()
        (directory / "2").rename(directory / ".2")


@pytest.mark.slow
def test_of_two_processes_the_other_one_goes_on_with_what_was_loaded(isolated: ExplicitServer) -> None:
    directory = isolated.write("m", versioned(1), "instance_group { count: 2 kind: KIND_CPU }")
    assert isolated.load("m").status_code == 200
    edit_handler(directory)
    before = len(isolated.server.log)
    victim, survivor = children(isolated.server.process.pid)
    kill(isolated, victim)
    wait_until(lambda: f"{DIED}; {CHANGED}" in isolated.server.log[before:])
    with ThreadPoolExecutor(4) as pool:
        asked: list[Future[int]] = [pool.submit(answer_of, isolated.server, "m") for _ in range(20)]
        assert {each.result() for each in asked} == {1}
    wait_until(lambda: children(isolated.server.process.pid) == [survivor])
    assert isolated.index("m")[0]["state"] == "READY"
    assert metric(isolated.server, "kserve_v2_model_processes", model="m") == 1
    assert isolated.load("m").status_code == 200
    assert answer_of(isolated.server, "m") == 222
    wait_until(lambda: len(children(isolated.server.process.pid)) == 2)
