"""What docs/guides/lifecycle.md shows works as it stands there."""

import json
import re
import shlex
from pathlib import Path

import pytest
import requests

from kserve_v2.cli import main
from kserve_v2.settings.settings import OPTIONS
from tests.conftest import RunningServer, StartServer

GUIDE = (Path(__file__).parent.parent / "docs/guides/lifecycle.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)

HANDLER = """
import numpy as np
class Model:
    inputs = {"pixels": ("FP32", [64])}
    outputs = {"version": ("INT64", [1])}
    max_batch_size = 8
    def __call__(self, inputs):
        return {"version": np.full((len(inputs["pixels"]), 1), VERSION)}
"""


def block(text: str) -> str:
    """The one of the guide that contains `text`."""
    (found,) = [contents for _, contents in BLOCKS if text in contents]
    return found


def commands(text: str) -> list[list[str]]:
    """What a block has people type."""
    return [shlex.split(line, comments=True) for line in block(text).splitlines()]


def answered(server: RunningServer, path: str = "", **headers: str) -> int:
    """The version that answers."""
    body = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}]}
    url = f"{server.rest}/v2/models/digits{path}/infer"
    answer = requests.post(url, json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    version: int = answer.json()["outputs"][0]["data"][0]
    return version


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The model of the guide, with three versions, two of them served by its policy, and its warm-up."""
    root = tmp_path / "my_models"
    for version in (1, 2, 3):
        folder = root / "digits" / str(version)
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(HANDLER.replace("VERSION", str(version)))
    (policy,) = [line.partition("#")[0] for line in block("num_versions").splitlines()]
    (root / "digits" / "config.pbtxt").write_text(policy + "\n" + block("model_warmup"))
    return root


@pytest.mark.slow
def test_releases(start_server: StartServer, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = start_server(repository, "--model-control-mode", "explicit", "--load-model", "digits")
    assert answered(server) == 3

    label, split, shadow = commands("kserve-v2 release")
    assert main([*label[1:], "--url", server.rest]) == 0
    assert answered(server, "/versions/PROD") == 3

    assert main([*split[1:], "--url", server.rest]) == 0
    users = {f"user-{number}": answered(server, **{"x-user-id": f"user-{number}"}) for number in range(60)}
    assert set(users.values()) == {2, 3}
    for user, version in users.items():
        assert answered(server, **{"x-user-id": user}) == version

    assert main([*shadow[1:], "--url", server.rest]) == 0
    assert "shadow: version 3" in capsys.readouterr().out

    document = json.loads(block('"labels"'))
    url = f"{server.rest}/v2/repository/models/digits/release"
    assert requests.post(url, json=document, timeout=60).status_code == 200
    shown = requests.get(url, timeout=60).json()
    assert shown["labels"] == document["labels"]
    assert shown["split"] == document["split"]
    assert answered(server, "/versions/PROD") == 2


@pytest.mark.slow
def test_looking_first(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.parent)
    for command in commands("kserve-v2 check"):
        assert main(command[1:]) == 0


def test_every_flag_is_one() -> None:
    of_commands = {
        "--label", "--version", "--split", "--sticky-header", "--shadow", "--shadow-label", "--shadow-tolerance", "--format", "--strict", "--cpus", "--gpus",
        "--thorough",
    }  # fmt: skip
    named = set(re.findall(r"--[a-z][a-z-]+", GUIDE))
    assert named - of_commands <= {flag for option in OPTIONS for flag in (option.flag, *option.aliases)}
