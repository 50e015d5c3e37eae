"""From a model's files and configuration to its interpreter: real environments, made without a network."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.environments.interpreter import Interpreter
from kserve_v2.environments.models import EnvironmentNotMadeError, ModelEnvironments
from kserve_v2.errors import InvalidArgumentError
from tests.environments.wheels import offline

WriteModel = Callable[..., ModelSource]


@pytest.fixture
def model(tmp_path: Path) -> WriteModel:
    """Writes a model's directory."""

    def write(name: str = "m", **files: str) -> ModelSource:
        path = tmp_path / name
        (path / "1").mkdir(parents=True)
        for file, text in files.items():
            (path / file.replace("_txt", ".txt")).write_text(text)
        return ModelSource(name=name, version=1, model_path=path, version_path=path / "1")

    return write


def config(backend: str = "python", **parameters: str) -> ModelConfig:
    made = ModelConfig(backend=backend)
    for name, text in parameters.items():
        made.parameters[name].string_value = text
    return made


def run(interpreter: Interpreter, code: str) -> object:
    """What code prints as JSON, in a process as a model's."""
    ran = subprocess.run(
        [str(interpreter.python), "-c", f"import json; print(json.dumps({code}))"],
        env=dict(interpreter.environ),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(ran.stdout)


@pytest.fixture
def red(model: WriteModel, kept: Path, wheels: Path) -> Interpreter:
    """That of an environment with the first version of `colour`."""
    found = ModelEnvironments(kept, offline(wheels)).interpreter_for(
        model("red", requirements_txt="colour==1.0"), config()
    )
    assert found is not None
    return found


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


# --- requirements.txt ------------------------------------------------------------------------------------------


def test_a_model_without_an_environment_has_no_interpreter(model: WriteModel, tmp_path: Path) -> None:
    environments = ModelEnvironments(tmp_path / "envs")
    assert environments.interpreter_for(model(), config()) is None
    assert environments.interpreter_for(model("empty"), config(EXECUTION_ENV_PATH="")) is None
    assert not (tmp_path / "envs").exists()


@pytest.mark.slow
def test_what_requirements_name_wins_and_the_rest_is_the_server_s(red: Interpreter, kept: Path) -> None:
    import numpy  # noqa: PLC0415

    import kserve_v2  # noqa: PLC0415

    modules = [numpy.__file__, kserve_v2.__file__]
    code = "[__import__('colour').NAME, __import__('numpy').__file__, __import__('kserve_v2').__file__]"
    assert run(red, code) == ["red", *modules]
    assert run(red, "__import__('google.protobuf') and __import__('kserve_v2_child') and 1") == 1
    backends = "sorted(e.name for e in __import__('importlib.metadata').metadata.entry_points(group='kserve_v2.backends'))"
    assert set(run(red, backends)) >= {"python", "onnxruntime"}  # type: ignore[call-overload]
    assert (red.python_version, red.same_version) == (tuple(sys.version_info[:3]), True)
    red.require_server("a handler")
    assert red.python.parent.parent.parent == kept
    # Its own packages are in front of the server's.
    path = run(red, "__import__('sys').path")
    assert isinstance(path, list)
    own, server = (next(i for i, each in enumerate(path) if each == str(place)) for place in (
        next((red.python.parent.parent / "lib").glob("*/site-packages")), Path(numpy.__file__).parent.parent))  # fmt: skip
    assert own < server


@pytest.mark.slow
def test_scripts_of_packages_run(red: Interpreter) -> None:
    ran = subprocess.run(
        ["colour"], env=dict(red.environ), capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == "red\n"


@pytest.mark.slow
def test_one_that_is_there_is_used_by_all_without_an_installer(
    red: Interpreter, model: WriteModel, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    # There are no wheels for it, and no pip that would find them.
    other = ModelEnvironments(kept, {"PIP_NO_INDEX": "1", "PATH": "/nowhere"}, make=False)
    found = other.interpreter_for(model("other", requirements_txt="colour==1.0"), config())
    assert found is not None
    assert found.python == red.python
    assert messages(caplog) == []


@pytest.mark.slow
def test_models_that_want_one_at_the_same_time_make_one(
    model: WriteModel, tmp_path: Path, wheels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sources = [model(name, requirements_txt="colour==2.0  # shared\n") for name in ("one", "two", "three")]
    with ThreadPoolExecutor(3) as threads:
        found = [
            *threads.map(
                lambda source: ModelEnvironments(tmp_path / "e", offline(wheels)).interpreter_for(
                    source, config()
                ),
                sources,
            )
        ]
    assert len({each.python for each in found if each}) == 1
    assert run(found[0], "__import__('colour').NAME") == "blue"  # type: ignore[arg-type]
    making = [
        text for _, text in messages(caplog) if text.endswith("making its environment of requirements.txt")
    ]
    assert len(making) == 1
    # What the installer does can be followed.
    assert any("pip: Successfully installed colour-2.0" in text for _, text in messages(caplog))
    assert sum("environment made in" in text for _, text in messages(caplog)) == 1


@pytest.mark.slow
def test_what_cannot_be_installed_is_an_error_in_pip_s_words(
    model: WriteModel, tmp_path: Path, wheels: Path
) -> None:
    source = model(requirements_txt="colour==3.0")
    with pytest.raises(InvalidArgumentError) as raised:
        ModelEnvironments(tmp_path / "e", offline(wheels)).interpreter_for(source, config())
    assert raised.value.message == (
        "model 'm': pip has failed: ERROR: Could not find a version that satisfies the requirement colour==3.0 "
        "(from versions: 1.0, 2.0)\nERROR: No matching distribution found for colour==3.0"
    )
    assert [path.name[-5:] for path in (tmp_path / "e").iterdir()] == [".lock"]


def test_where_none_are_made_it_is_said(model: WriteModel, tmp_path: Path) -> None:
    environments = ModelEnvironments(tmp_path / "e", make=False)
    with pytest.raises(
        EnvironmentNotMadeError, match=r"^the environment of requirements.txt is not made yet"
    ):
        environments.interpreter_for(model(requirements_txt="colour"), config())
    assert not (tmp_path / "e").exists()


def test_without_the_flag_the_log_names_it_once(model: WriteModel, caplog: pytest.LogCaptureFixture) -> None:
    environments, source = ModelEnvironments(), model(requirements_txt="colour")
    for _ in range(2):
        assert environments.interpreter_for(source, config()) is None
    assert messages(caplog) == [
        ("WARNING", "model 'm': its requirements.txt is not used, and the model runs with the server's packages: "
         "--model-environments DIR makes an environment of it"),
    ]  # fmt: skip


@pytest.mark.parametrize("backend", ["onnxruntime", "pytorch"])
def test_beside_a_model_without_code_it_is_passed_over(
    model: WriteModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, backend: str
) -> None:
    caplog.set_level(logging.INFO)
    environments, source = ModelEnvironments(tmp_path / "e", make=False), model(requirements_txt="colour")
    assert environments.interpreter_for(source, config(backend)) is None
    assert messages(caplog) == [
        (
            "INFO",
            f"model 'm': its requirements.txt is not used: the backend '{backend}' runs no code of the model's",
        )
    ]
    # Unless somebody asks for a process of its own.
    with pytest.raises(EnvironmentNotMadeError):
        environments.interpreter_for(source, config(backend, isolation="process"))
    with pytest.raises(EnvironmentNotMadeError):
        environments.interpreter_for(source, config("somebody-s"))


# --- both ------------------------------------------------------------------------------------------------------


def test_in_the_server_s_process_there_is_no_other_environment(model: WriteModel, tmp_path: Path) -> None:
    environments = ModelEnvironments(tmp_path / "e")
    for source, given, what in (
        (model("a", requirements_txt="colour"), {}, "requirements.txt beside the model"),
        (model("b"), {"EXECUTION_ENV_PATH": "env"}, "parameters['EXECUTION_ENV_PATH']"),
    ):
        with pytest.raises(InvalidArgumentError) as raised:
            environments.interpreter_for(source, config(isolation="none", **given))
        assert raised.value.message == (
            f"{what}: a model has an environment of its own only in a process of its own, and "
            "parameters['isolation'] is 'none': remove one of the two"
        )


@pytest.mark.slow
def test_of_two_environments_the_configuration_s_is_the_one(
    red: Interpreter, model: WriteModel, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # It is on the disk of whoever has it as any other virtual environment; but the server's packages are not in it.
    prefix = str(red.python.parent.parent)
    with pytest.raises(
        InvalidArgumentError, match="has no numpy that works, which every model needs: install it there"
    ):
        ModelEnvironments(kept).interpreter_for(
            model(requirements_txt="colour==2.0"), config(EXECUTION_ENV_PATH=prefix)
        )
    assert messages(caplog) == [
        ("WARNING", "model 'm': its requirements.txt is not used: the environment is that of "
         "parameters['EXECUTION_ENV_PATH']")
    ]  # fmt: skip
