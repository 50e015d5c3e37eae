"""The examples in the `--help` of commands do what they say; those of bench, analyze, init and archive are run elsewhere."""

import io
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kserve_v2.cli import main
from kserve_v2.commands import check, config, infer, models, release, serve, stats
from kserve_v2.commands.command import Command
from tests.conftest import RunningServer, StartServer, WriteModel, launch
from tests.integration import handlers

ROOT = Path(__file__).resolve().parent.parent
# Those that unload models at the end.
COMMANDS = (infer.COMMAND, models.MODELS, models.LOAD, stats.COMMAND, release.COMMAND, models.UNLOAD)

INTENT = """
import numpy as np

class Model:
    inputs = {"text": ("BYTES", [1])}
    outputs = {"intent": ("BYTES", [1])}
    max_batch_size = 8

    def __call__(self, inputs):
        return {"intent": inputs["text"]}
"""


def examples(command: Command) -> list[str]:
    """Command lines, without what other programs do with their output."""
    text = command.examples.replace("\\\n", " ")
    lines = [line.strip().partition(" | ")[0].partition(" > ")[0] for line in text.splitlines()]
    return [line for line in lines if line.startswith("kserve-v2 ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    """Where the examples are typed: with a repository, and the files that they name."""
    folder = tmp_path_factory.mktemp("examples")
    repository = folder / "models"
    for name in ("add_sub", "digits_onnx", "digits_prepare", "digits_scan"):
        shutil.copytree(ROOT / "model_repository" / name, repository / name)
    write_model(repository, "intent", INTENT)
    for number in (1, 2, 3):
        write_model(repository, "digits", handlers.versioned(number), "version_policy { all { } }", number)
    (folder / "ones.json").write_text(str([1] * 16))
    np.save(folder / "image.npy", np.zeros((1, 8, 8), np.float32))
    Image.new("L", (20, 20), 255).save(folder / "digit.png")
    for name in ("config.pbtxt", "faster.pbtxt"):
        shutil.copy(repository / "digits_onnx" / "config.pbtxt", folder / name)
    shutil.copy(repository / "digits_onnx" / "labels.txt", folder / "labels.txt")
    (folder / "new").mkdir()
    shutil.copy(repository / "digits_onnx" / "1" / "model.onnx", folder / "new" / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def server(start_server: StartServer, folder: Path) -> RunningServer:
    flags = ("--model-control-mode=explicit", "--load-model=*", "--allow-file-override")
    return start_server(folder / "models", *flags)


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    yield


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_examples(
    server: RunningServer, here: None, capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    lines = examples(command)
    assert lines
    environ: Mapping[str, Any] = {"KSERVE_V2_URL": server.rest}
    for line in lines:
        # One without an end would not return.
        limit = " --count 1" if "--watch" in line and "--count" not in line else ""
        typed = (line + limit).replace("grpc://127.0.0.1:8001", f"grpc://{server.grpc}")
        assert main(shlex.split(typed)[1:], environ) == 0, f"{line}: {capsys.readouterr().err}"
        said = capsys.readouterr()
        assert (bool(said.out), said.err) == (True, ""), line


@pytest.mark.slow
@pytest.mark.parametrize("command", [check.COMMAND, config.COMMAND], ids=lambda command: command.name)
def test_examples_of_those_that_look(
    folder: Path, here: None, capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    (folder / "handler.py").write_text(INTENT)
    shutil.copy(folder / "new" / "model.onnx", folder / "model.onnx")
    for line in examples(command):
        # Warnings are of this machine, and --strict has them fail a check.
        allowed = (0, 1) if "--strict" in line else (0,)
        assert main(shlex.split(line)[1:], {}) in allowed, f"{line}: {capsys.readouterr().err}"
        assert capsys.readouterr().out, line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "served"), [(0, {"model", "cats"}), (2, {"recommender"}), (3, {"digits_onnx", "intent"})]
)
def test_examples_of_serve(folder: Path, tmp_path: Path, number: int, served: set[str]) -> None:
    for name in ("handlers/cats.py", "shop/models.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(INTENT.replace("Model", "Recommender" if "shop" in name else "Model"))
    shutil.copy(folder / "new" / "model.onnx", folder / "model.onnx")
    running = launch(tmp_path, None, *shlex.split(examples(serve.COMMAND)[number])[2:], cwd=folder)
    names = {
        each["name"].lower()
        for each in running.post("/v2/repository/index").json()
        if each["state"] == "READY"
    }
    assert running.stop() == 0
    assert served <= names
