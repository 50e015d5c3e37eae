"""A short soak of models that are updated while they are asked."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--", "--processes=2"]], ids=["one process", "two processes"])
def test_a_short_soak_of_updates(flags: list[str]) -> None:
    counts = ["--reloads", "20", "--upgrades", "5", "--broken", "5", "--rest", "1.5"]
    command = [sys.executable, "-m", "tests.soak.updates", *counts, *flags]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "no problem found" in ended.stdout
