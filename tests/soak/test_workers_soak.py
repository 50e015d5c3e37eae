"""A short soak of a server of two processes, one of which is killed now and then."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
def test_a_short_soak_of_workers_that_are_killed() -> None:
    # However busy the machine is: what a worker has to tell each second it tells late there.
    options = ["--requests", "3000", "--kill-every", "1.5", "--lost-secs", "60"]
    command = [sys.executable, "-m", "tests.soak.workers", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "no problem found" in ended.stdout
