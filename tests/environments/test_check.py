"""`kserve-v2 check` tells of environments, and makes none."""

from pathlib import Path

import pytest

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.cli import main
from kserve_v2.environments.models import ModelEnvironments
from tests.conftest import WriteModel
from tests.environments.wheels import offline

pytestmark = pytest.mark.slow

HANDLER = """
import colour
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
    def __call__(self, inputs):
        return {"y": inputs["x"]}
"""
TENSORS = (
    'input { name: "x" data_type: TYPE_FP32 dims: [1] } output { name: "y" data_type: TYPE_FP32 dims: [1] }'
)


def ensemble(model: str) -> str:
    return f"""platform: "ensemble" {TENSORS} ensemble_scheduling {{ step {{ model_name: "{model}" model_version: -1
        input_map {{ key: "x" value: "x" }} output_map {{ key: "y" value: "y" }} }} }}"""


NOT_MADE = (
    "the environment of requirements.txt is not made yet, so that the model's files were not looked at: "
    "a server does both"
)


def test_what_is_not_made_is_said_and_not_made(
    tmp_path: Path, write_model: WriteModel, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "models"
    for name, config in (
        ("bare", ""),
        ("crooked", "max_batch_size: -1"),
        ("written", TENSORS),
        ("alone", 'parameters { key: "isolation" value { string_value: "none" } }'),
    ):
        write_model(root, name, HANDLER, config)
        (root / name / "requirements.txt").write_text("colour==1.0")
    for name, step in (("over_bare", "bare"), ("over_written", "written")):
        (root / name / "1").mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(ensemble(step))
    kept = tmp_path / "kept"
    arguments = ["check", "--model-repository", str(root), "--model-environments", str(kept)]
    assert main(arguments, {}) == 1
    printed = capsys.readouterr().out.splitlines()
    said = [line.removeprefix(f"{root}/") for line in printed]
    for model, note in (
        ("bare", NOT_MADE),
        ("written", NOT_MADE),
        ("over_bare", f"model 'bare': {NOT_MADE}"),
    ):
        assert f"{model}/1: note: {note}" in said
    errors = [line.split("/")[0] for line in said if ": error: " in line]
    assert errors == ["alone", "crooked"]
    assert not any("over_written" in line for line in printed)
    assert printed[-1] == "6 models checked: 2 errors, 0 warnings, 3 notes"
    assert not kept.exists()


def test_one_that_is_there_is_used(
    tmp_path: Path, write_model: WriteModel, capsys: pytest.CaptureFixture[str], kept: Path, wheels: Path
) -> None:
    directory = write_model(tmp_path / "models", "red", HANDLER)
    (directory / "requirements.txt").write_text("colour==1.0")
    source = ModelSource(name="red", version=1, model_path=directory, version_path=directory / "1")
    assert ModelEnvironments(kept, offline(wheels)).interpreter_for(source, ModelConfig(backend="python"))
    arguments = ["check", "--model-repository", str(tmp_path / "models"), "--model-environments", str(kept)]
    assert main(arguments, {}) == 0
    assert capsys.readouterr().out == "1 model checked: 0 errors, 0 warnings\n"
