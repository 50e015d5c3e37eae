"""What a person sees when a test fails: the summary last, whatever the test had open."""

import subprocess
import sys
from pathlib import Path

import pytest

_FAILS_WITH_AN_OPEN_SOCKET = """
import socket

def test_fails():
    server = socket.create_server(("127.0.0.1", 0))
    assert server is None
"""


@pytest.mark.slow
def test_a_failed_test_does_not_bury_the_summary(tmp_path: Path) -> None:
    (tmp_path / "test_open.py").write_text(_FAILS_WITH_AN_OPEN_SOCKET)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-W", "error", str(tmp_path)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == ""
    assert "1 failed" in done.stdout.splitlines()[-1]
