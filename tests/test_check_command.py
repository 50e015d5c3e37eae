"""`kserve-v2 check` says of a repository what a server would say, without one."""

import subprocess
import sys
from pathlib import Path

import pytest

from kserve_v2.cli import main
from tests.conftest import StartServer, WriteModel

pytestmark = pytest.mark.slow

DOUBLE = """
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
    max_batch_size = 4
    def __call__(self, inputs):
        return {"y": inputs["x"] * 2}
"""


def ensemble(model: str, own: str = "x") -> str:
    return f"""
        platform: "ensemble" max_batch_size: 4
        input {{ name: "x" data_type: TYPE_FP32 dims: [1] }} output {{ name: "y" data_type: TYPE_FP32 dims: [1] }}
        ensemble_scheduling {{ step {{ model_name: "{model}" model_version: -1
          input_map {{ key: "{own}" value: "x" }} output_map {{ key: "y" value: "y" }} }} }}
    """


WRONG = {
    "levels": "dynamic_batching { priority_levels: 2 default_priority_level: 3 preserve_ordering: true }",
    "sequences": """sequence_batching { control_input { name: "S" control [
        { kind: CONTROL_SEQUENCE_START }, { kind: CONTROL_SEQUENCE_END int32_false_true: [0] } ] } }""",
    "states": """sequence_batching { state { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [1]
        initial_state { name: "i" data_type: TYPE_FP32 dims: [1] data_file: "nosuch" } } }""",
    "ragged": 'batch_output { target_name: "y" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "q" }',
    "cached": "response_cache { enable: true } sequence_batching { }",
    "labels": 'output { name: "y" data_type: TYPE_FP32 dims: [1] label_filename: "nosuch.txt" }',
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("checked")
    write_model(root, "double", DOUBLE)
    for name, text in WRONG.items():
        write_model(root, name, DOUBLE, text)
    write_model(root, "broken", "raise RuntimeError('on purpose')")
    for name, step, own in (
        ("whole", "double", "x"),
        ("around", "whole", "x"),
        ("crooked", "double", "q"),
        ("partly", "broken", "x"),
        ("astray", "nosuch", "x"),
        ("left", "right", "x"),
        ("right", "left", "x"),
    ):
        (root / name / "1").mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(ensemble(step, own))
    return root


def said_of(printed: str) -> dict[str, str]:
    """What is said of each version, "" of those that are right."""
    found: dict[str, str] = {}
    name = ""
    for line in printed.splitlines()[:-1]:
        if not line.startswith("       "):
            name = line.split()[1]
            found[name] = ""
        else:
            found[name] += line.removeprefix("       ") + "\n"
    return found


def test_a_check_says_what_the_server_says(
    repository: Path, start_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--model-repository", str(repository)], {}) == 1
    said = said_of(capsys.readouterr().out)
    server = start_server(repository)
    index = {entry["name"]: entry for entry in server.post("/v2/repository/index").json()}
    assert said.keys() == index.keys()
    circle = {"left", "right"}
    for name, entry in index.items():
        assert (said[name] == "") == (entry["state"] == "READY"), name
        # The index has the kind of the error in front, here and in what is said of the models of steps.
        reason = entry.get("reason", "").partition(": ")[2].strip()
        reason = reason.replace("version 1 is at UNAVAILABLE state: Internal: ", "")
        if name not in circle:
            assert said[name].strip() == reason
    assert {name for name, text in said.items() if not text} == {"double", "whole", "around"}
    assert "circular dependency between ensembles" in said["right"] + said["left"]


def test_nothing_wrong_is_status_0(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "--model-repository", str(repository)]
    arguments += ["--model-control-mode", "explicit", "--load-model", "around"]
    assert main(arguments, {}) == 0
    assert capsys.readouterr().out == "ok     around version 1\n1 looked at, 0 wrong\n"


def test_the_examples_are_right() -> None:
    models = Path(__file__).parent.parent / "model_repository"
    command = [sys.executable, "-m", "kserve_v2", "check", "--model-repository", str(models)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "9 looked at, 0 wrong")
    assert "WARNING" not in ended.stderr
