"""The end of a server whose models have processes of their own: none is left, however it ends."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import RunningServer, WriteModel, launch
from tests.integration.support import wait_until
from tests.isolation.conftest import ALL, children, exists
from tests.isolation.dying import HANDLER, commands

pytestmark = pytest.mark.slow

Start = Callable[..., RunningServer]


@pytest.fixture
def start(tmp_path: Path, write_model: WriteModel) -> Iterator[Start]:
    """Starts a server with the model that dies as it is told, in a process of its own."""
    servers: list[RunningServer] = []
    root = tmp_path / "models"
    write_model(root, "dying", HANDLER)

    def start(*flags: str, **options: Any) -> RunningServer:
        servers.append(launch(tmp_path, root, ALL, *flags, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop(signal.SIGKILL)


def quietly(server: RunningServer, *rows: str) -> None:
    """A request whose answer does not matter."""
    try:
        httpx.post(f"{server.rest}/v2/models/dying/infer", json=commands(*rows), timeout=60)
    except httpx.HTTPError:
        return


Later = Callable[..., "Future[Any]"]


@pytest.mark.parametrize("doing", ["fine", "hang", "hang_gil"])
def test_a_server_that_is_killed_leaves_no_process_behind(
    start: Start, later: Later, doing: str, tmp_path: Path
) -> None:
    server = start()
    (pid,) = children(server.process.pid)
    if doing != "fine":
        later(quietly, server, f"{doing} {tmp_path / 'begun'}")
        wait_until((tmp_path / "begun").exists)
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not exists(pid))


def test_what_a_model_has_started_does_not_outlive_a_server_that_is_killed(
    start: Start, tmp_path: Path
) -> None:
    server = start()
    quietly(server, f"start {tmp_path / 'pid'}")
    child = int((tmp_path / "pid").read_text())
    assert exists(child)
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not exists(child))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_its_models_well(start: Start, number: int) -> None:
    server = start()
    (pid,) = children(server.process.pid)
    if number == signal.SIGINT:
        # A terminal sends it to everybody.
        os.kill(pid, number)
    quietly(server, "fine")
    assert server.stop(number) == 0
    assert not exists(pid)
    assert "unloaded: dying version 1" in server.log
    assert "ERROR" not in server.log


@pytest.mark.parametrize("doing", ["hang", "hang_gil"])
def test_the_exit_time_out_holds_for_a_model_that_hangs(
    start: Start, later: Later, doing: str, tmp_path: Path
) -> None:
    server = start("--exit-timeout-secs=1")
    (pid,) = children(server.process.pid)
    later(quietly, server, f"{doing} {tmp_path / 'begun'}")
    wait_until((tmp_path / "begun").exists)
    assert server.stop(signal.SIGTERM) == 1
    wait_until(lambda: not exists(pid))


def test_a_request_under_way_is_finished_before_the_server_ends(
    start: Start, later: Later, tmp_path: Path
) -> None:
    server = start()
    gate = tmp_path / "gate"
    url, body = f"{server.rest}/v2/models/dying/infer", commands(f"wait {gate}")
    answer = later(httpx.post, url, json=body, timeout=60)
    wait_until(Path(f"{gate}.begun").exists)
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in server.log)
    gate.touch()
    assert answer.result().status_code == 200
    assert server.process.wait() == 0


def test_a_server_that_starts_in_vain_leaves_no_process_behind(
    start: Start, tmp_path: Path, write_model: WriteModel
) -> None:
    write_model(tmp_path / "models", "broken", "import nothing_like_this\n")
    with pytest.raises(AssertionError, match="failed to load broken"):
        start("--exit-on-error=true")
    wait_until(lambda: not _processes_of(tmp_path))


def _processes_of(tmp_path: Path) -> list[int]:
    """Processes that have a file of this test open as their error output."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            try:
                if str(tmp_path) in str((process / "fd/2").readlink()):
                    found.append(int(process.name))
            except OSError:
                continue
    return found
