"""Every request that docs/guides/requests.md shows is answered as it says."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningServer, StartServer

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs/guides/requests.md").read_text()
LINES = re.findall(r"^```sh\n(.*?)\n```", GUIDE, re.DOTALL | re.MULTILINE)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="apt-get install curl"),
]


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> RunningServer:
    names = ("digits_photo", "digits_onnx", "intent", "add_sub")
    flags = (f"--load-model={name}" for name in names)
    return start_server(ROOT / "model_repository", "--model-control-mode=explicit", *flags)


def answer(server: RunningServer, line: str) -> Any:
    """What a line prints when it is pasted into a shell at the root of a checkout."""
    command = line.replace("http://127.0.0.1:8000", server.rest)
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_the_requests(server: RunningServer) -> None:
    picture, classes, form, text, lists = (answer(server, line) for line in LINES)
    assert (picture["digit"], len(picture["probabilities"])) == (7, 10)
    (best,) = classes["probabilities"]
    shown = json.loads(re.findall(r"`(\[\{\"index\".*?\])`", GUIDE)[0])[0]
    assert {**best, "value": round(best["value"], 2)} == shown
    assert (form["digit"], form["id"]) == (7, "42")
    assert text["intent"] == "alarm"
    assert lists["OUTPUT0"] == [list(range(2, 18))]
