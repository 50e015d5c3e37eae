"""EXECUTION_ENV_PATH: directories, and archives that are unpacked once."""

import logging
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import numpy
import pytest

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.environments.interpreter import Interpreter
from kserve_v2.environments.models import EnvironmentNotMadeError, ModelEnvironments
from kserve_v2.errors import InvalidArgumentError

SERVER = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "VIRTUAL_ENV": "/server"}


@pytest.fixture
def model(tmp_path: Path) -> ModelSource:
    path = tmp_path / "m"
    (path / "1").mkdir(parents=True)
    return ModelSource(name="m", version=1, model_path=path, version_path=path / "1")


def interpreter(source: ModelSource, named: str, environments: ModelEnvironments) -> Interpreter:
    config = ModelConfig(backend="python")
    config.parameters["EXECUTION_ENV_PATH"].string_value = named
    found = environments.interpreter_for(source, config)
    assert found is not None
    return found


def failure(source: ModelSource, named: str, environments: ModelEnvironments | None = None) -> str:
    with pytest.raises(InvalidArgumentError) as raised:
        interpreter(source, named, environments or ModelEnvironments(None, SERVER))
    return raised.value.message


def write_conda(prefix: Path, python: str = "", unpack: str | None = None) -> Path:
    """What an unpacked environment of conda-pack looks like; its interpreter is the one of the tests."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / "lib").mkdir()
    (prefix / "bin" / "activate").write_text("echo this is not run; exit 1\n")
    script = prefix / "bin" / "python"
    script.write_text(python or f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    if unpack is not None:
        (prefix / "bin" / "conda-unpack").write_text(unpack)
    return prefix


def pack(prefix: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(prefix.iterdir()):
            tar.add(path, path.name)
    return archive


@pytest.mark.slow
@pytest.mark.parametrize("named", ["env", "./env", "$$TRITON_MODEL_DIRECTORY/env", "absolute"])
def test_a_virtual_environment_is_used_as_it_is(model: ModelSource, named: str) -> None:
    prefix = model.model_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True)
    packages = next((prefix / "lib").glob("*/site-packages"))
    ours = Path(numpy.__file__).parent
    for name in ("numpy", "numpy.libs"):
        (packages / name).symlink_to(ours.parent / name)
    found = interpreter(model, str(prefix) if named == "absolute" else named, ModelEnvironments(None, SERVER))
    assert found.python == prefix / "bin" / "python"
    # Nothing of the server's is found there.
    assert (found.python_version, found.same_version, found.server) == (
        tuple(sys.version_info[:3]),
        False,
        "",
    )
    assert found.environ == {
        "PATH": f"{prefix}/bin:/usr/bin:/bin",
        "HOME": "/nowhere",
        "VIRTUAL_ENV": str(prefix),
        "PYTHONNOUSERSITE": "1",
    }
    with pytest.raises(InvalidArgumentError) as raised:
        found.require_server("backend 'onnxruntime'")
    shown = named.replace("$$TRITON_MODEL_DIRECTORY", "m").replace("absolute", str(prefix))
    assert raised.value.message == (
        f"backend 'onnxruntime' runs with the package kserve-v2, which EXECUTION_ENV_PATH {shown} does not have: "
        f"install version {version('kserve-v2')} there, from the wheel or the clone that this server comes from, with what the backend needs"
    )


@pytest.mark.slow
def test_an_archive_is_unpacked_once_for_its_content(
    model: ModelSource, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    unpack = (
        "import pathlib, sys\npath = pathlib.Path('unpacked'); path.write_text(sys.argv[0]); print('fixed')\n"
    )
    env = write_conda(tmp_path / "env", unpack=unpack)
    scripts = env / "etc" / "conda" / "activate.d"
    scripts.mkdir(parents=True)
    (scripts / "proj.sh").write_text("echo this is not run; exit 1\n")
    archive = pack(env, model.model_path / "env.tar.gz")
    kept = tmp_path / "kept"
    environments = ModelEnvironments(kept, {**SERVER, "PYTHONPATH": "/server/packages"})
    found = interpreter(model, "$$TRITON_MODEL_DIRECTORY/env.tar.gz", environments)
    prefix = found.python.parent.parent
    assert prefix.parent == kept
    assert (prefix / "unpacked").read_text() == str(prefix / "bin" / "conda-unpack")
    assert found.environ == {
        "PATH": f"{prefix}/bin:/usr/bin:/bin",
        "HOME": "/nowhere",
        "CONDA_PREFIX": str(prefix),
        "LD_LIBRARY_PATH": f"{prefix}/lib",
        "PYTHONNOUSERSITE": "1",
    }
    assert (found.same_version, found.server) == (False, version("kserve-v2"))
    messages = [record.getMessage() for record in caplog.records]
    assert messages[:2] == [
        "model 'm': unpacking its environment, m/env.tar.gz",
        "model 'm': conda-unpack: fixed",
    ]
    assert messages[3:] == [
        "model 'm': scripts for a shell are not run: etc/conda/activate.d/ has proj.sh; what they set has to be set for "
        "the server",
        "model 'm': its environment does not get the server's PYTHONPATH",
    ]
    # By another name, for another model, with another server: the content is the same.
    caplog.clear()
    copy = tmp_path / "copy.tgz"
    copy.write_bytes(archive.read_bytes())
    again = ModelEnvironments(kept, SERVER, make=False)
    assert interpreter(model, str(copy), again).python == found.python
    assert interpreter(model, str(copy), again).python == found.python
    assert [record.getMessage() for record in caplog.records] == messages[3:4]
    # Another content is another environment.
    (env / "lib" / "new").touch()
    pack(env, archive)
    with pytest.raises(EnvironmentNotMadeError, match=r"^EXECUTION_ENV_PATH env.tar.gz is not unpacked yet"):
        interpreter(model, "env.tar.gz", again)
    assert interpreter(model, "env.tar.gz", environments).python != found.python


@pytest.mark.slow
def test_without_the_flag_archives_are_unpacked_into_the_user_s_cache(
    model: ModelSource, tmp_path: Path
) -> None:
    pack(write_conda(tmp_path / "env"), model.model_path / "env.tar")
    for environ, place in (
        ({"HOME": str(tmp_path / "home")}, tmp_path / "home" / ".cache"),
        ({"XDG_CACHE_HOME": str(tmp_path / "xdg"), "HOME": "/nowhere"}, tmp_path / "xdg"),
    ):
        found = interpreter(model, "env.tar", ModelEnvironments(None, environ))
        assert found.python.parents[2] == place / "kserve-v2" / "environments"
    assert failure(model, "env.tar", ModelEnvironments(None, {})) == (
        "EXECUTION_ENV_PATH names an archive: say with --model-environments DIR where to unpack it"
    )


@pytest.mark.parametrize(
    ("named", "error"),
    [
        (
            "nosuch.tar.gz",
            "Failed to get the canonical path for nosuch.tar.gz. EXECUTION_ENV_PATH has to name an environment's archive "
            "or directory; relative paths are in the model's directory",
        ),
        ("s3://b/env.tar.gz", "EXECUTION_ENV_PATH s3://b/env.tar.gz: environments are not fetched; name a local file or directory"),
        ("text", "EXECUTION_ENV_PATH text is neither a directory nor a tar archive (.tar, .tar.gz, .tar.bz2, .tar.xz)"),
        (
            "$$TRITON_MODEL_DIRECTORY/empty",
            "Path m/empty/bin/activate does not exist. The Python environment should contain an 'activate' script.",
        ),
        ("x" * 5000, "Failed to get the canonical path for xxx"),
        ("x\0y", "Failed to get the canonical path for x\0y."),
        ("circle", "Failed to get the canonical path for circle."),
        (
            "deep.tar.gz",
            "Path deep.tar.gz/bin/activate does not exist. The Python environment should contain an 'activate' script. There "
            "is one in env/: that is the environment's directory",
        ),
        (
            "empty.tar.gz",
            "Path empty.tar.gz/bin/activate does not exist. The Python environment should contain an 'activate' script.",
        ),
        (
            "conda",
            "Path conda/bin/python is no file that can be run: the environment is not whole, or of another machine",
        ),
        (
            "venv",
            "Path venv/bin/python is a link to /nowhere/python3.9, which is not there: the environment is not whole, or of "
            "another machine",
        ),
        ("hostile.tar.gz", "EXECUTION_ENV_PATH hostile.tar.gz is not unpacked: '../x' would be extracted to"),
        ("old", "EXECUTION_ENV_PATH old has Python 3.8.1; models run with 3.9 to 3.13"),
        ("unpacks.tar.gz", "model 'm': conda-unpack has failed: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_name(
    model: ModelSource, tmp_path: Path, named: str, error: str
) -> None:
    path = model.model_path
    (path / "text").write_text("not an archive")
    (path / "empty" / "lib").mkdir(parents=True)
    pack(path / "empty", path / "empty.tar.gz")
    (path / "circle").symlink_to("circle")
    write_conda(tmp_path / "deep" / "env")
    pack(tmp_path / "deep", path / "deep.tar.gz")
    write_conda(path / "conda")
    (path / "conda" / "bin" / "python").unlink()
    (path / "venv" / "bin").mkdir(parents=True)
    (path / "venv" / "pyvenv.cfg").touch()
    (path / "venv" / "bin" / "python").symlink_to("/nowhere/python3.9")
    with tarfile.open(path / "hostile.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../x"))
    write_conda(path / "old", '#!/bin/sh\necho \'{"version": [3, 8, 1], "server": ""}\'\n')
    pack(write_conda(tmp_path / "bad", unpack="import sys; sys.exit('broken')"), path / "unpacks.tar.gz")
    kept = tmp_path / "kept"
    said = failure(model, named, ModelEnvironments(kept, SERVER))
    assert said.startswith(error)
    assert str(tmp_path) not in said
    # Nothing is left of what was not to be had.
    assert [each.suffix for each in kept.glob("*")] in ([], [".lock"])
