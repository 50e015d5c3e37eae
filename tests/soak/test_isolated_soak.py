"""A short soak of models in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
def test_a_short_soak_of_isolated_models() -> None:
    command = [sys.executable, "-m", "tests.soak.isolated", "--requests", "600", "--kill-every", "0.05"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "no problem found" in ended.stdout
