"""`kserve-v2 init`: every template, and every kind of file, as somebody would use them."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.cli import main
from kserve_v2.commands.init import _TEMPLATES, COMMAND
from kserve_v2.commands.making.config_text import config_text
from kserve_v2.commands.making.sample import sample_request
from kserve_v2.commands.making.templates import TEMPLATES, rendered
from tests.conftest import StartServer

EXAMPLES = Path(__file__).resolve().parent.parent / "model_repository"
TENSORS = ["--input", "image:FP32[N,1,8,8]", "--output", "probabilities:FP32[N,10]"]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- templates --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `init` was called for every template, with a repository at the place of the default."""
    folder = tmp_path_factory.mktemp("init")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for template in TEMPLATES:
            assert main(["init", f"my-{template}", "--template", template]) == 0
        # The form that it has where skl2onnx is not installed.
        patch.setattr(
            "kserve_v2.commands.making.templates.find_spec",
            lambda module: None if module == "skl2onnx" else find_spec(module),
        )
        assert main(["init", "my-estimator", "--template", "sklearn"]) == 0
    return folder


def test_the_help_names_every_template() -> None:
    assert tuple(TEMPLATES) == _TEMPLATES


@pytest.mark.slow
def test_templates_give_whole_folders(made: Path) -> None:
    models = made / "models"
    names = {f"my-{template}" for template in TEMPLATES}
    names |= {"my-ensemble_parse", "my-ensemble_classify", "my-estimator"}
    assert {path.name for path in models.iterdir()} == names
    assert files(models / "my-handler") == [
        "1/model.py", "1/weights.json", "config.pbtxt", "labels.txt", "sample_request.json", "test_my_handler.py",
    ]  # fmt: skip
    assert "1/model.pt2" in files(models / "my-torch")
    assert "1/model.onnx" in files(models / "my-sklearn")
    assert "1/weights.json" in files(models / "my-estimator")
    assert (models / "my-ensemble" / "1").is_dir()
    for path in models.rglob("*"):
        if path.suffix in {".py", ".pbtxt", ".json"}:
            text = path.read_text()
            assert "@" not in text.replace("@pytest", "").replace(" @ ", ""), path
            assert max(map(len, text.splitlines())) <= 120 or path.suffix == ".json", path


@pytest.mark.slow
def test_templates_pass_the_check_strictly(made: Path) -> None:
    said = run(sys.executable, "-m", "kserve_v2", "check", "models", "--strict", cwd=made)
    assert said.endswith("10 models checked: 0 errors, 0 warnings\n")


@pytest.mark.slow
def test_templates_are_served_and_answer_their_samples(made: Path, start_server: StartServer) -> None:
    server = start_server(made / "models")
    assert server.get("/v2/health/ready").status_code == 200
    for sample in sorted((made / "models").glob("*/sample_request.json")):
        answer = server.post(f"/v2/models/{sample.parent.name}/infer", content=sample.read_bytes())
        assert answer.status_code == 200, answer.text


@pytest.mark.slow
def test_the_tests_of_templates_pass(made: Path) -> None:
    said = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "models", cwd=made)
    assert " failed" not in said
    # One that has nothing to do fails as well.
    assert int(said.splitlines()[-1].split(" passed")[0]) >= 2 * len(TEMPLATES)


def test_the_script_of_the_onnx_template_makes_its_model() -> None:
    onnx = pytest.importorskip("onnx")
    contents = rendered(TEMPLATES["onnx"], "m")["m"]
    names: dict[str, Any] = {"__file__": str(Path(__file__)), "__name__": "script"}
    exec(contents["make_model.py"], names)  # noqa: S102 - what it is for
    names["VERSION"] = Path(__file__).resolve().parent.parent / "kserve_v2" / "templates" / "onnx" / "1"
    assert names["make_model"]() == onnx.load_from_string(contents["1/model.onnx"])


# --- what there is ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that was made of files."""
    folder = tmp_path_factory.mktemp("from")
    for name, source, *more in (
        ("exported", EXAMPLES / "digits_export" / "1" / "model.pt2", "--link"),
        ("network", EXAMPLES / "digits_onnx" / "1" / "model.onnx"),
        ("script", EXAMPLES / "digits_torchscript" / "1" / "model.pt", *TENSORS),
        ("prepare", EXAMPLES / "digits_prepare" / "1" / "model.py"),
        ("whole", EXAMPLES / "digits_onnx"),
        ("flat", EXAMPLES / "digits_prepare" / "1"),
    ):
        assert main(["init", name, "--from", str(source), "--model-repository", str(folder), *more]) == 0
    return folder


@pytest.mark.slow
def test_files_are_copied_or_linked(taken: Path) -> None:
    assert (taken / "exported" / "1" / "model.pt2").is_symlink()
    assert not (taken / "network" / "1" / "model.onnx").is_symlink()
    original = EXAMPLES / "digits_onnx" / "1" / "model.onnx"
    assert (taken / "network" / "1" / "model.onnx").read_bytes() == original.read_bytes()
    # A configuration that is there stays as it is.
    assert (taken / "whole" / "config.pbtxt").read_text() == (
        EXAMPLES / "digits_onnx" / "config.pbtxt"
    ).read_text()
    assert "1/model.py" in files(taken / "flat")
    assert [path for path in taken.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_what_the_file_says_stands_in_the_configuration(taken: Path) -> None:
    text = (taken / "network" / "config.pbtxt").read_text()
    assert '# input [ { name: "image"  data_type: TYPE_FP32  dims: [ 1, 8, 8 ] } ]' in text
    # That the first dimension is a batch is a guess, which the server tries; written down it would be taken as said.
    assert "\n# max_batch_size: 32\n" in text
    said = (taken / "script" / "config.pbtxt").read_text()
    assert '\noutput [ { name: "probabilities"  data_type: TYPE_FP32  dims: [ 10 ] } ]\n' in said
    assert "\nmax_batch_size: 64\n" in said


@pytest.mark.slow
def test_models_made_of_files_answer_their_samples(taken: Path, start_server: StartServer) -> None:
    server = start_server(taken)
    assert server.get("/v2/health/ready").status_code == 200, server.log
    for sample in taken.glob("*/sample_request.json"):
        answer = server.post(f"/v2/models/{sample.parent.name}/infer", content=sample.read_bytes())
        assert answer.status_code == 200, answer.text
        compile((sample.parent / f"test_{sample.parent.name}.py").read_text(), "test", "exec")
    assert len(list(taken.glob("*/sample_request.json"))) == 6


def test_what_is_said_at_the_end_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "flowers", "--template", "handler", "--model-repository", "my models"]) == 0
    _, _, commands = capsys.readouterr().out.partition("next:\n")
    check, serve, ask, test = (shlex.split(line, comments=True) for line in commands.splitlines())
    assert check == ["kserve-v2", "check", "my models", "flowers"]
    assert main(check[1:]) == 0
    assert serve == ["kserve-v2", "serve", "--model-repository", "my models"]
    assert ask[:2] == ["kserve-v2", "infer"]
    assert Path(ask[-1]).is_file()
    assert test == ["python", "-m", "pytest", "my models/flowers"]


TWICE = """
from helpers.numbers import FACTOR

class Twice:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
    max_batch_size = 4

    def __call__(self, inputs):
        return {"y": inputs["x"] * FACTOR}
"""


@pytest.mark.slow
def test_a_python_file_comes_with_what_it_imports_and_with_the_class_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code" / "helpers").mkdir(parents=True)
    (tmp_path / "code" / "twice.py").write_text(TWICE)
    (tmp_path / "code" / "helpers" / "__init__.py").write_text("")
    (tmp_path / "code" / "helpers" / "numbers.py").write_text("import numpy\nFACTOR = numpy.float32(2)")
    (tmp_path / "code" / "other.py").write_text("")
    # What lies in the current directory is not taken for a part of the model.
    monkeypatch.chdir(tmp_path / "code")
    repository = tmp_path / "models"
    assert main(["init", "m", "--from", "twice.py:Twice", "--model-repository", str(repository)]) == 0
    assert files(repository / "m") == [
        "1/helpers/__init__.py", "1/helpers/numbers.py", "1/model.py", "config.pbtxt", "sample_request.json", "test_m.py",
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "models", cwd=tmp_path)


@pytest.mark.slow
def test_the_examples_of_the_help_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_repository").symlink_to(EXAMPLES)
    lines = COMMAND.examples.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines if line.strip().startswith("kserve-v2 ")]
    assert len(commands) == 4
    for command in commands:
        assert main(command[1:]) == 0


# --- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["m"], 2, "expected one of --from PATH and --template handler|"),
        (["m", "--template", "handler", "--from", "x.onnx"], 2, "expected one of --from"),
        (["--template", "handler"], 2, "expected one NAME, got 0"),
        (["m", "n", "--template", "handler"], 2, "expected one NAME, got 2"),
        (["m", "--template", "handler", "--link"], 2, "--link, --input and --output belong to --from"),
        (["1", "--template", "handler"], 2, "NAME: '1' is taken for something else"),
        (["../m", "--template", "handler"], 2, "NAME: expected letters, digits"),
        (["a b", "--template", "handler"], 2, "NAME: expected letters, digits"),
        ([".m", "--template", "handler"], 2, "NAME: expected letters, digits"),
        (["m", "--from", "nothing.onnx"], 1, "--from nothing.onnx: does not exist"),
        (["m", "--from", "forest.pkl"], 1, "is a pickled Python object: export the model to ONNX (skl2onnx"),
        (["m", "--from", "notes.md"], 1, "expected .onnx, .pt2, .pt (TorchScript), .py or a model's folder"),
        (["m", "--from", "net.pt"], 1, "does not say what its tensors are: give --input and --output"),
        (["m", "--from", "net.pt", "--input", "x"], 2, "argument --input: expected NAME:DATATYPE[DIM,…]"),
        (["m", "--from", "net.pt", "--input", "x:FP32[N,4]", "--output", "y:FP32[4]"], 1, "either all tensors have"),
        (["m", "--from", "net.onnx", *TENSORS], 1, "--input and --output: net.onnx says itself"),
        (["m", "--from", "empty"], 1, "--from empty: there is no model in it"),
        (["m", "--from", "broken.py"], 1, "broken on purpose"),
        (["m", "--from", "net.onnx"], 1, "m/1/model.onnx: error: "),
        (["taken", "--template", "handler"], 1, "models/taken exists already: nothing is overwritten"),
        (["m", "--template", "handler", "--model-repository", "models/taken"], 1, "is the folder of a model"),
        (["m", "--template", "handler", "--model-repository", "net.pt/x"], 1, "net.pt"),
    ],
)  # fmt: skip
def test_mistakes_are_said_and_leave_nothing(
    arguments: list[str], status: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("forest.pkl", "notes.md", "net.pt", "net.onnx"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.py").write_text("raise RuntimeError('broken on purpose')")
    (tmp_path / "models" / "taken" / "1").mkdir(parents=True)
    (tmp_path / "models" / "taken" / "1" / "model.py").write_text("class Model: pass")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert main(["init", *arguments]) == status
    lines = capsys.readouterr().err
    assert lines.startswith("error: ")
    assert said in lines
    assert ".init-" not in lines
    assert sorted(tmp_path.rglob("*")) == before


def test_a_script_that_fails_leaves_neither_model_nor_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # In the place of torch, for the script alone.
    (tmp_path / "torch.py").write_text("raise RuntimeError('no such luck')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert main(["init", "m", "--template", "torch", "--model-repository", "a/b"]) == 1
    assert "no such luck" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["torch.py"]


# Tells who it is, in the place of torch, and goes on for a long time.
_ENDLESS = """
import os, time
with open(os.environ["TOLD"], "w") as told:
    told.write(str(os.getpid()))
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_is_ended_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """After SIGKILL, until the next one."""
    (tmp_path / "torch.py").write_text(_ENDLESS)
    os.mkfifo(tmp_path / "told")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "TOLD": str(tmp_path / "told")}
    command = [sys.executable, "-m", "kserve_v2", "init"]
    ended = subprocess.Popen([*command, "m", "--template", "torch"], cwd=tmp_path, env=environ)
    script = int((tmp_path / "told").read_text())
    ended.send_signal(number)
    if number == signal.SIGTERM:
        assert ended.wait(60) == 143
        assert not (tmp_path / "models").exists()
        return
    assert ended.wait(60) == -signal.SIGKILL
    os.kill(script, signal.SIGKILL)
    assert [path.name[:6] for path in (tmp_path / "models").iterdir()] == [".init-"]
    subprocess.run(
        [*command, "other", "--template", "handler"], cwd=tmp_path, check=True, capture_output=True
    )
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["other"]


def test_a_template_that_cannot_be_made_here_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kserve_v2.commands.making.templates.find_spec", lambda name: None)
    assert main(["init", "m", "--template", "torch"]) == 1
    assert (
        capsys.readouterr().err
        == "error: --template torch: needs torch, not installed here: pip install torch\n"
    )
    assert list(tmp_path.iterdir()) == []


# --- samples and configurations ---------------------------------------------------------------------------------


def config(*inputs: dict[str, Any], rows: int = 0, **more: Any) -> dict[str, Any]:
    return {"input": list(inputs), "max_batch_size": rows, "parameters": {}, **more}


@pytest.mark.parametrize(
    ("datatype", "dims", "rows", "shape"),
    [
        ("TYPE_FP32", [3], 0, [3]),
        ("TYPE_FP32", [3], 8, [1, 3]),
        ("TYPE_INT64", [-1], 8, [1, 1]),
        ("TYPE_FP32", [3, -1, -1], 8, [1, 3, 224, 224]),
        ("TYPE_FP32", [-1, -1, 3], 0, [224, 224, 3]),
        ("TYPE_UINT8", [-1, -1], 8, [1, 224, 224]),
        ("TYPE_FP32", [1, -1, 5], 0, [1, 1, 5]),
        ("TYPE_STRING", [1], 8, [1, 1]),
        ("TYPE_BOOL", [], 0, []),
    ],
)
def test_a_sample_has_the_right_shape(datatype: str, dims: list[int], rows: int, shape: list[int]) -> None:
    text = sample_request(config({"name": "x", "data_type": datatype, "dims": dims}, rows=rows))
    assert text is not None
    [tensor] = json.loads(text)["inputs"]
    assert tensor["shape"] == shape
    assert tensor["datatype"] == datatype.removeprefix("TYPE_").replace("STRING", "BYTES")
    count = 1
    for size in shape:
        count *= size
    assert len(tensor["data"]) == count


@pytest.mark.parametrize("datatype", ["TYPE_FP16", "TYPE_BF16"])
def test_half_precision_has_no_sample(datatype: str) -> None:
    assert sample_request(config({"name": "x", "data_type": datatype, "dims": [1]})) is None


def test_nobody_is_given_a_file_of_many_megabytes() -> None:
    assert sample_request(config({"name": "x", "data_type": "TYPE_FP32", "dims": [2000, 2000]})) is None


def test_what_may_be_left_out_is_left_out() -> None:
    tensors = [
        {"name": name, "data_type": "TYPE_FP32", "dims": [1], "optional": name == "b"} for name in "ab"
    ]
    text = sample_request(config(*tensors))
    assert text is not None
    assert [tensor["name"] for tensor in json.loads(text)["inputs"]] == ["a"]


def test_a_sample_of_a_model_with_sequences_is_a_whole_one() -> None:
    tensor = {"name": "x", "data_type": "TYPE_INT32", "dims": [1]}
    text = sample_request(config(tensor, sequence_batching={}))
    assert text is not None
    assert json.loads(text)["parameters"] == {"sequence_id": 1, "sequence_start": True, "sequence_end": True}


def test_a_name_in_a_configuration_is_escaped() -> None:
    tensor = {"name": 'a "b"', "data_type": "TYPE_FP32", "dims": [1]}
    text = config_text(
        "m",
        {
            "config": {
                "default_model_filename": "model.onnx", "backend": "onnxruntime", "max_batch_size": 0,
                "input": [tensor], "output": [tensor], "parameters": {},
            },
            "origins": {},
        },
    )  # fmt: skip
    assert r'input [ { name: "a \"b\""  data_type: TYPE_FP32  dims: [ 1 ] } ]' in text


def test_hidden_files_and_caches_of_a_folder_are_not_taken(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(EXAMPLES / "add_sub", source)
    (source / ".git").mkdir()
    (source / "1" / "__pycache__").mkdir()
    (source / "1" / "__pycache__" / "x.pyc").write_text("")
    repository = tmp_path / "models"
    assert main(["init", "m", "--from", str(source), "--model-repository", str(repository)]) == 0
    assert files(repository / "m") == ["1/model.onnx", "config.pbtxt", "sample_request.json", "test_m.py"]
    text = (source / "config.pbtxt").read_text()
    assert 'name: "add_sub"' in text
    assert (repository / "m" / "config.pbtxt").read_text() == text.replace('name: "add_sub"', 'name: "m"')
