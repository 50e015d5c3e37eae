"""`kserve-v2 serve X…`: whatever a person names is served, where it lies."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kserve_v2.cli import main
from tests.conftest import RunningServer, launch
from tests.integration.support import json_tensor, wait_until

pytestmark = pytest.mark.slow

HELPED = """
from pathlib import Path
import helper

class Scaler:
    inputs = {"x": ("FP32", [2])}
    outputs = {"y": ("FP32", [2])}

    def load(self, context):
        # Both ways in which people find what lies beside their code.
        assert (context.path / "offset.txt").read_text() == (Path(__file__).parent / "offset.txt").read_text()
        self.offset = float((context.path / "offset.txt").read_text())

    def __call__(self, inputs):
        return {"y": inputs["x"] * helper.FACTOR + self.offset}
"""

FUNCTION = """
from __future__ import annotations
import kserve_v2

@kserve_v2.model(inputs={"x": ("FP32", [2])}, outputs={"total": ("FP32", [1]), "most": ("FP32", [1])}, max_batch_size=4)
def summed(x):
    return x.sum(axis=1, keepdims=True), x.max(axis=1, keepdims=True)

@kserve_v2.model
def shout(text: kserve_v2.Text) -> kserve_v2.Text:
    return text.upper()
"""

PACKAGED = """
from . import tools

class Adder:
    inputs = {"x": ("FP32", [2])}
    outputs = {"y": ("FP32", [2])}

    def __call__(self, inputs):
        return {"y": tools.add(inputs["x"])}
"""

LISTED = """
class Model:
    inputs = {"x": ("FP32", [2])}
    outputs = {"y": ("FP32", [2])}

    def __call__(self, inputs):
        return {"y": inputs["x"] + 1}
"""

TRITON = """
import numpy as np
import os
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "x", "data_type": "TYPE_FP32", "dims": [2]})
        config.add_output({"name": "y", "data_type": "TYPE_FP32", "dims": [2]})
        config.set_max_batch_size(0)
        return config

    def initialize(self, args):
        path = os.path.join(args["model_repository"], args["model_version"], "offset.txt")
        self.offset = np.float32(open(path).read())

    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", x + self.offset)]))
        return answers
"""

EXAMPLES = Path(__file__).parent.parent.parent / "model_repository"


def make_files(top: Path) -> None:
    """One of each kind."""
    (top / "code").mkdir()
    (top / "code" / "scaler.py").write_text(HELPED)
    (top / "code" / "helper.py").write_text("FACTOR = 10\n")
    (top / "code" / "offset.txt").write_text("1")
    (top / "code" / "unrelated.py").write_text("raise RuntimeError('is not imported')\n")
    (top / "functions.py").write_text(FUNCTION)
    (top / "shop").mkdir()
    (top / "shop" / "__init__.py").write_text("")
    (top / "shop" / "tools.py").write_text("def add(x):\n    return x + 100\n")
    (top / "shop" / "models.py").write_text(PACKAGED)
    (top / "from_triton").mkdir()
    (top / "from_triton" / "model.py").write_text(TRITON)
    (top / "from_triton" / "offset.txt").write_text("7")
    shutil.copytree(EXAMPLES / "digits_onnx", top / "digits_folder")
    shutil.copy(EXAMPLES / "digits_onnx" / "1" / "model.onnx", top / "digits file.onnx")
    (top / "flat").mkdir()
    shutil.copy(EXAMPLES / "digits_onnx" / "1" / "model.onnx", top / "flat" / "model.onnx")
    shutil.copy(EXAMPLES / "digits_export" / "1" / "model.pt2", top / "exported.pt2")
    (top / "repository" / "listed" / "1").mkdir(parents=True)
    (top / "repository" / "listed" / "1" / "model.py").write_text(LISTED)


def make_torchscript(path: Path) -> None:
    import torch  # noqa: PLC0415 - large

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 3

    torch.jit.script(Net()).save(str(path))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    top = tmp_path_factory.mktemp("everything")
    make_files(top)
    before = {path: path.stat().st_mtime_ns for path in sorted(top.rglob("*"))}
    server = launch(
        tmp_path_factory.mktemp("server"),
        None,
        "code/scaler.py",
        "functions.py:summed",
        "loud=functions.py:shout",
        "shop.models:Adder",
        "triton=from_triton/model.py",
        "digits_folder",
        "digits file.onnx",
        "flat",
        "exported.pt2",
        "repository",
        cwd=top,
    )
    yield server
    assert server.stop() == 0
    # Nothing was written beside what a person has.
    assert {path: path.stat().st_mtime_ns for path in sorted(top.rglob("*"))} == before


def answer(server: RunningServer, model: str, name: str = "x", data: Any = (1.0, 2.0)) -> Any:
    response = server.infer(model, {"inputs": [json_tensor(name, "FP32", [2], list(data))]})
    assert response.status_code == 200, response.text
    return response.json()["outputs"][0]["data"]


def test_each_is_served_under_its_name(everything: RunningServer) -> None:
    index = everything.post("/v2/repository/index").json()
    assert {entry["name"]: entry["state"] for entry in index} == dict.fromkeys(
        [
            "scaler", "functions", "loud", "Adder", "triton", "digits_folder", "digits_file", "flat", "exported",
            "listed",
        ],
        "READY",
    )  # fmt: skip


def test_a_handler_finds_what_lies_beside_it(everything: RunningServer) -> None:
    assert answer(everything, "scaler") == [11, 21]


def test_functions_and_classes_of_packages(everything: RunningServer) -> None:
    body = {"inputs": [json_tensor("x", "FP32", [2, 2], [1.0, 2.0, 5.0, 4.0])]}
    outputs = everything.infer("functions", body).json()["outputs"]
    assert {each["name"]: each["data"] for each in outputs} == {"total": [3, 9], "most": [2, 5]}
    body = {"inputs": [json_tensor("text", "BYTES", [1], ["hello"])]}
    assert everything.infer("loud", body).json()["outputs"][0]["data"] == ["HELLO"]
    assert answer(everything, "Adder") == [101, 102]
    assert answer(everything, "listed") == [2, 3]


def test_triton_s_model_finds_its_files_by_its_arguments(everything: RunningServer) -> None:
    assert answer(everything, "triton") == [8, 9]


def test_files_and_folders_with_a_network_answer_alike(everything: RunningServer) -> None:
    image = np.random.default_rng(3).random(64).round(3).tolist()
    body = {"inputs": [json_tensor("image", "FP32", [1, 1, 8, 8], image)]}
    answers = [
        everything.infer(model, body).json()["outputs"][0]["data"]
        for model in ("digits_folder", "digits_file", "flat", "exported")
    ]
    for each in answers[1:]:
        np.testing.assert_allclose(each, answers[0], atol=1e-5)


def test_what_is_imported_from_beside_a_file_is_watched(tmp_path: Path) -> None:
    make_files(tmp_path)
    flags = ("--reload", "--model-control-mode=none")
    server = launch(tmp_path, None, "code/scaler.py", "shop.models:Adder", *flags, cwd=tmp_path)
    try:
        assert (answer(server, "scaler"), answer(server, "Adder")) == ([11, 21], [101, 102])
        (tmp_path / "code" / "helper.py").write_text("FACTOR = 20\n")
        (tmp_path / "shop" / "tools.py").write_text("def add(x):\n    return x - 1\n")
        wait_until(lambda: answer(server, "scaler") == [21, 41])
        wait_until(lambda: answer(server, "Adder") == [0, 1])
        # An editor that replaces the file, and a mistake in it.
        (tmp_path / "code" / "new").write_text("class Nothing: pass\n")
        (tmp_path / "code" / "new").replace(tmp_path / "code" / "scaler.py")
        wait_until(lambda: any("broken    scaler" in line for line in server.output))
        assert answer(server, "scaler") == [21, 41]
        # Now it imports another module, which is watched from then on.
        (tmp_path / "code" / "more.py").write_text("FACTOR = 3\n")
        (tmp_path / "code" / "scaler.py").write_text(HELPED.replace("helper", "more"))
        wait_until(lambda: answer(server, "scaler") == [4, 7])
        (tmp_path / "code" / "more.py").write_text("FACTOR = 40\n")
        wait_until(lambda: answer(server, "scaler") == [41, 81])
        assert not any("unrelated" in line for line in server.output)
    finally:
        assert server.stop() == 0


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_what_torchscript_does_not_say_stands_on_the_command_line(tmp_path: Path) -> None:
    make_torchscript(tmp_path / "net.pt")
    tensors = ("--input", "x:FP32[N,2]", "--output", "y:float32[N,2]")
    server = launch(tmp_path, None, str(tmp_path / "net.pt"), *tensors)
    try:
        body = {"inputs": [json_tensor("x", "FP32", [3, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]}
        assert server.infer("net", body).json()["outputs"][0]["data"] == [3, 6, 9, 12, 15, 18]
        assert server.get("/v2/models/net/config").json()["max_batch_size"] == 64
    finally:
        assert server.stop() == 0


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], "--input 'x:FP32[N,4]' --output 'OUTPUT__0:FP32[N,4]'"),
        (["--input", "x:FP32[N,2]"], "--output 'OUTPUT__0:FP32[N,4]'"),
    ],
    ids=["nothing", "inputs"],
)
def test_of_a_torchscript_file_by_itself_the_options_that_are_missing_are_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    missing: str,
) -> None:
    make_torchscript(tmp_path / "net.pt")
    monkeypatch.chdir(tmp_path)
    assert main(["check", "net.pt", *given], {}) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"net.pt: error: no TorchScript file says what its tensors are: give {missing}, or whatever they are, with N "
        "for the rows of a batch",
        "1 model checked: 1 error, 0 warnings",
    ]


def test_no_client_has_another_file_loaded_and_links_go_with_a_server_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_files(tmp_path)
    (tmp_path / "code" / "secret.py").write_text(HELPED)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    flags = ("--model-control-mode=explicit", "--load-model=*")
    server = launch(tmp_path, None, "code/scaler.py", *flags, cwd=tmp_path)
    for config in (
        '{"backend": "python", "default_model_filename": "secret.py"}',
        '{"backend": "python", "default_model_filename": "scaler.py", '
        '"parameters": {"handler": {"string_value": "secret:Scaler"}}}',
    ):
        response = server.post("/v2/repository/models/scaler/load", json={"parameters": {"config": config}})
        assert response.status_code == 400, response.text
    assert answer(server, "scaler") == [11, 21]
    (left,) = (tmp_path / "tmp").glob("kserve-v2-models-*")
    server.process.kill()
    server.process.wait()
    server.stop()
    assert left.exists()
    server = launch(tmp_path, None, "code/scaler.py", cwd=tmp_path)
    assert not left.exists()
    assert server.stop() == 0
    assert not list((tmp_path / "tmp").glob("kserve-v2-models-*"))


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["serve", "nosuch.onnx"], "error: nosuch.onnx does not exist; expected a repository"),
        (["serve", "code/scaler.py", "scaler=flat"], "would both be the model 'scaler': give one of them a name"),
        (["serve", "code/scaler.py", "--input", "x:FP32[2]"], "--input and --output say what the tensors of a model's"),
        (["serve", "flat", "exported.pt2", "--input", "x:FP32[2]"], "work with one model that is given as a file, got"),
        (["serve", "exported.pt2", "--input", "x:FLOAT99[2]"], "--input: expected NAME:DATATYPE[DIM,…], such as image"),
        (["serve", "exported.pt2", "--input", "x:FP32[N,2]", "--output", "y:FP32[2]"], "all of them have it, or none"),
        (["serve", "no.such:Model"], "no.such:Model: there is no module no.such, neither in the current directory nor"),
        (["serve", "--model", "repository"], "--model repository is a repository of models: give --model-repository"),
        (["serve"], "error: nothing to serve: name a model or a repository, as in kserve-v2 serve model.onnx"),
        (["config", "flat", "exported.pt2"], "error: expected one model"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    argv: list[str],
    text: str,
) -> None:
    make_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(argv, {}) in (1, 2)
    assert text in capfd.readouterr().err


def test_what_torch_save_makes_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch  # noqa: PLC0415 - large

    monkeypatch.chdir(tmp_path)
    torch.save(torch.nn.Linear(2, 2).state_dict(), "weights.pt")
    torch.save(torch.nn.Linear(2, 2), "module.pth")
    assert main(["check", "weights.pt", "module.pth"], {}) == 1
    printed = capsys.readouterr().out
    assert "weights.pt is what torch.save makes, such as a state_dict, and holds no model" in printed
    assert "export the model with torch.export.save" in printed
    assert "module.pth is a whole module that torch.save has pickled" in printed


def test_check_and_config_take_what_serve_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "code/scaler.py", "shop.models:Adder", "flat", "exported.pt2"], {}) == 0
    assert capsys.readouterr().out == "4 models checked: 0 errors, 0 warnings\n"
    assert main(["config", "shop.models:Adder", "--format", "json"], {}) == 0
    printed = capsys.readouterr().out
    assert '"default_model_filename": "shop/models.py"' in printed
    # There is no config.pbtxt that somebody could look for.
    assert '"where": "--model"' in printed
    assert "config.pbtxt" not in printed
    # A repository goes with the names of models in it, as before.
    assert main(["check", "repository", "listed"], {}) == 0
    (tmp_path / "code" / "scaler.py").write_text("class Nothing: pass\n")
    assert main(["check", "code/scaler.py"], {"KSERVE_V2_MODEL_REPOSITORY": "/no/such"}) == 1
    assert (
        "code/scaler.py: error: expected a class named Model, or one with __call__, or a function that"
        in capsys.readouterr().out
    )
