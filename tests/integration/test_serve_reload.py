"""`serve --reload`, for people who work on models."""

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningServer
from tests.integration.conftest import Start
from tests.integration.handlers import versioned
from tests.integration.lifecycle_requests import ASK, BROKEN, answer_of
from tests.integration.support import error_of, wait_until

pytestmark = pytest.mark.slow

WITH_HELPER = """
import helper
from more.deep import OFFSET

class Model:
    inputs = {"IN": ("INT32", [1])}
    outputs = {"VERSION": ("INT32", [1])}

    def __call__(self, inputs):
        return {"VERSION": [helper.NUMBER + OFFSET]}
"""


def answers(server: RunningServer, model: str, number: int) -> Callable[[], bool]:
    def ask() -> bool:
        response = server.infer(model, ASK)
        return response.status_code == 200 and response.json()["outputs"][0]["data"] == [number]

    return ask


def said(server: RunningServer, text: str) -> Callable[[], bool]:
    return lambda: any(text in line for line in server.output)


def test_what_is_saved_is_served_and_what_is_broken_is_said(
    start: Start, tmp_path: Path, write_model: Any
) -> None:
    folder = write_model(tmp_path, "mine", WITH_HELPER) / "1"
    (folder / "helper.py").write_text("NUMBER = 1\n")
    (folder / "more").mkdir()
    (folder / "more" / "deep.py").write_text("OFFSET = 10\n")
    server = start("--reload")
    assert answer_of(server, "mine") == 11
    # The handler's own modules count, at any depth.
    (folder / "helper.py").write_text("NUMBER = 22\n")
    wait_until(answers(server, "mine", 32))
    (folder / "more" / "deep.py").write_text("OFFSET = 100\n")
    wait_until(answers(server, "mine", 122))
    wait_until(said(server, "reloaded  mine in "))
    (folder / "helper.py").write_text("NUMBER = = 3\n")
    wait_until(said(server, "broken    mine: version 1 is at UNAVAILABLE state: "))
    wait_until(
        said(server, "          what was loaded before goes on answering; save a file of it to try again")
    )
    assert any("SyntaxError" in line for line in server.output)
    assert answer_of(server, "mine") == 122
    assert server.get("/v2/health/ready").status_code == 200
    # No colours where nobody sees them.
    assert not any("\x1b" in line for line in server.output)
    (folder / "helper.py").write_text("NUMBER = 3\n")
    wait_until(answers(server, "mine", 103))
    write_model(tmp_path, "another", versioned(5))
    wait_until(answers(server, "another", 5))
    shutil.rmtree(tmp_path / "another")
    wait_until(said(server, "removed   another"))
    assert server.infer("another", ASK).status_code == 404
    refused = server.post("/v2/repository/models/mine/load")
    assert (refused.status_code, error_of(refused)[:43]) == (
        503,
        "explicit model load / unload is not allowed",
    )
    assert server.stop() == 0


def test_with_explicit_control_only_what_is_loaded_is_loaded_again(
    start: Start, tmp_path: Path, write_model: Any
) -> None:
    write_model(tmp_path, "mine", versioned(1))
    write_model(tmp_path, "other", versioned(1))
    server = start("--reload", "--model-control-mode=explicit", "--load-model=mine")
    write_model(tmp_path, "other", versioned(22))
    write_model(tmp_path, "mine", versioned(22))
    wait_until(answers(server, "mine", 22))
    assert server.infer("other", ASK).status_code == 404
    assert server.post("/v2/repository/models/other/load").status_code == 200
    assert answer_of(server, "other") == 22
    write_model(tmp_path, "other", BROKEN)
    wait_until(said(server, "broken    other: "))
    assert answer_of(server, "other") == 22
    write_model(tmp_path, "other", versioned(333))
    wait_until(answers(server, "other", 333))
    assert server.stop() == 0


def test_on_a_terminal_the_lines_are_coloured(tmp_path: Path, write_model: Any) -> None:
    write_model(tmp_path, "mine", versioned(1))
    ours, its = pty.openpty()
    command = [
        sys.executable, "-m", "kserve_v2", "serve", "--model-repository", str(tmp_path), "--reload", "--http-port=0",
        "--grpc-port=0", "--metrics-port=0",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=its, stderr=subprocess.DEVNULL) as process:
        os.close(its)
        shown = b""
        try:
            while b"API docs" not in shown:
                shown += os.read(ours, 65536)
            write_model(tmp_path, "mine", BROKEN)
            while b"save a file of it to try again\x1b[0m" not in shown:
                shown += os.read(ours, 65536)
            assert b"\x1b[31mbroken    mine: " in shown
            write_model(tmp_path, "mine", versioned(2))
            while b"\x1b[32mreloaded  mine in " not in shown:
                shown += os.read(ours, 65536)
        finally:
            process.kill()
            os.close(ours)
