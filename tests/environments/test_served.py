"""Models with environments of their own, served over sockets: two versions of one package at the same time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.environments.wheels import offline

pytestmark = pytest.mark.slow

# Says what it finds in the process that it runs in.
HANDLER = """
import json, os, sys
import numpy as np
import {package}

class Model:
    inputs = {{"x": ("FP32", [1])}}
    outputs = {{"found": ("BYTES", [1])}}
    max_batch_size = 0

    def __call__(self, inputs):
        found = [colour.NAME, os.getpid(), os.getcwd(), np.__file__, bool(os.environ.get("VIRTUAL_ENV"))]
        return {{"found": np.array([json.dumps(found)], dtype=object)}}
"""
ASK = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]}]}


def parameter(name: str, value: str) -> str:
    return f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}\n'


def started_offline(start_server: StartServer, wheels: Path, root: Path, *flags: str) -> RunningServer:
    """A server whose installers find those wheels and nothing else."""
    before = dict(os.environ)
    os.environ.update(offline(wheels))
    try:
        return start_server(root, *flags)
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    start_server: StartServer,
    write_model: WriteModel,
    kept: Path,
    wheels: Path,
) -> RunningServer:
    root = tmp_path_factory.mktemp("models")
    handler = HANDLER.format(package="colour")
    for name, requirements in (("red", "colour==1.0"), ("blue", "colour==2.0"), ("green", "colour==3.0")):
        write_model(root, name, handler)
        (root / name / "1" / "requirements.txt").write_text(requirements)
    write_model(root, "none", handler, parameter("isolation", "none"))
    (root / "none" / "requirements.txt").write_text("colour==1.0")
    write_model(root, "foreign", handler, parameter("EXECUTION_ENV_PATH", "env"))
    env = root / "foreign" / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(env)], check=True)
    packages = next((env / "lib").glob("*/site-packages"))
    for name in ("numpy", "numpy.libs"):
        (packages / name).symlink_to(Path(numpy.__file__).parent.parent / name)
    return started_offline(start_server, wheels, root, "--model-environments", str(kept))


def test_two_models_have_two_versions_of_a_package(server: RunningServer) -> None:
    found = {}
    for name in ("red", "blue", "red"):
        answer = server.infer(name, ASK)
        assert answer.status_code == 200, answer.text
        found[name] = json.loads(answer.json()["outputs"][0]["data"][0])
    (red, red_pid, directory, red_numpy, red_active), (blue, blue_pid, _, blue_numpy, _) = (
        found["red"],
        found["blue"],
    )
    assert (red, blue) == ("red", "blue")
    assert len({red_pid, blue_pid, server.process.pid}) == 3
    # What they do not name is the server's.
    assert {red_numpy, blue_numpy} == {numpy.__file__}
    assert (directory, red_active) == (os.getcwd(), True)  # noqa: PTH109 - as the child says it


def test_the_log_tells_of_it(server: RunningServer) -> None:
    assert "model 'blue': making its environment of requirements.txt" in server.log
    assert "model 'blue': pip: Successfully installed colour-2.0" in server.log


def test_what_is_wrong_is_in_the_index(server: RunningServer) -> None:
    reasons = {entry["name"]: entry.get("reason", "") for entry in server.post("/v2/repository/index").json()}
    assert reasons["red"] == reasons["blue"] == ""
    assert (
        "pip has failed: ERROR: Could not find a version that satisfies the requirement colour==3.0"
        in reasons["green"]
    )
    assert (
        "requirements.txt beside the model: a model has an environment of its own only in a process"
        in reasons["none"]
    )
    assert (
        "backend 'python' runs with the package kserve-v2, which EXECUTION_ENV_PATH env does not have"
        in reasons["foreign"]
    )


@pytest.fixture(scope="module")
def explicit(
    tmp_path_factory: pytest.TempPathFactory,
    start_server: StartServer,
    write_model: WriteModel,
    kept: Path,
    wheels: Path,
) -> RunningServer:
    root = tmp_path_factory.mktemp("explicit")
    for name, named in (("named", str(root / "outside")), ("bare", "")):
        write_model(
            root, name, HANDLER.format(package="os"), parameter("EXECUTION_ENV_PATH", named) if named else ""
        )
    (root / "bare" / "link").symlink_to(root / "outside")
    (root / "bare" / "sub").mkdir()
    (root / "bare" / "sub" / "circle").symlink_to("circle")
    write_model(root, "changing", HANDLER.format(package="colour"))
    flags = ("--model-control-mode", "explicit", "--model-environments", str(kept))
    return started_offline(start_server, wheels, root, *flags)


@pytest.mark.parametrize(
    ("model", "named", "error"),
    [
        (
            "bare",
            "{root}/outside",
            "parameters['EXECUTION_ENV_PATH']: a configuration that is sent with a load may name",
        ),
        (
            "bare",
            "../outside",
            "parameters['EXECUTION_ENV_PATH']: a configuration that is sent with a load may name",
        ),
        (
            "bare",
            "$$TRITON_MODEL_DIRECTORY/../outside",
            "parameters['EXECUTION_ENV_PATH']: a configuration that is sent",
        ),
        (
            "bare",
            "link",
            "parameters['EXECUTION_ENV_PATH']: a configuration that is sent with a load may name",
        ),
        (
            "named",
            "{root}/named/../../usr",
            "parameters['EXECUTION_ENV_PATH']: a configuration that is sent with a load",
        ),
        (
            "bare",
            "sub/circle",
            "parameters['EXECUTION_ENV_PATH']: a configuration that is sent with a load may name",
        ),
        (
            "bare",
            "x\0",
            "parameters['EXECUTION_ENV_PATH']: a configuration that is sent with a load may name",
        ),
        # These are asked for as the operator might: but nothing is there.
        ("bare", "inside", "Failed to get the canonical path for inside."),
        ("named", "{root}/outside", "Failed to get the canonical path for {root}/outside."),
    ],
)
def test_a_client_s_configuration_runs_no_interpreter_from_elsewhere(
    explicit: RunningServer, model: str, named: str, error: str
) -> None:
    root = str(explicit.process.args[5])  # type: ignore[index]
    config = {"parameters": {"EXECUTION_ENV_PATH": {"string_value": named.replace("{root}", root)}}}
    answer = explicit.post(
        f"/v2/repository/models/{model}/load", json={"parameters": {"config": json.dumps(config)}}
    )
    assert answer.status_code == 400
    assert error.replace("{root}", root) in answer.json()["error"]


def test_other_requirements_are_another_environment_at_the_next_load(explicit: RunningServer) -> None:
    requirements = Path(explicit.process.args[5], "changing", "requirements.txt")  # type: ignore[index]
    for version, colour in (("1.0", "red"), ("2.0", "blue"), ("1.0", "red")):
        requirements.write_text(f"colour=={version}")
        assert explicit.post("/v2/repository/models/changing/load").status_code == 200
        answer = explicit.infer("changing", ASK).json()
        assert json.loads(answer["outputs"][0]["data"][0])[0] == colour


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_a_module_that_would_be_there_if_the_requirements_were_used(
    start_server: StartServer, write_model: WriteModel, tmp_path: Path, isolation: str
) -> None:
    write_model(tmp_path, "bare", HANDLER.format(package="colour"), parameter("isolation", isolation))
    write_model(tmp_path, "unhelped", HANDLER.format(package="colour"), parameter("isolation", isolation))
    (tmp_path / "bare" / "requirements.txt").write_text("colour==1.0")
    server = start_server(tmp_path)
    reasons = {entry["name"]: entry["reason"] for entry in server.post("/v2/repository/index").json()}
    said, _, advice = reasons["unhelped"].partition("; ")
    assert said.endswith("ModuleNotFoundError: No module named 'colour'")
    assert advice == (
        "a package has to be installed where the server is, or named in a requirements.txt beside the model, with "
        "--model-environments DIR; a module of your own lies beside model.py"
    )
    assert reasons["bare"] == (
        f"{said}; its requirements.txt is not used: --model-environments DIR makes an environment of it"
    )
