"""The three commands of the README, in an environment that has nothing but the suite and what it depends on."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from conftest import serve

CONFORMANCE = Path(__file__).parent.parent
README = (CONFORMANCE / "README.md").read_text(encoding="utf-8")


def _commands() -> list[str]:
    section = README.split("## In three commands")[1].split("##")[0]
    block = next(each for each in section.split("\n\n") if each.startswith("    "))
    return [line.strip() for line in block.splitlines()]


def _environment(place: Path) -> dict[str, str]:
    """An environment of its own. What the suite depends on is lent by ours, so that nothing is fetched."""
    venv.create(place / "venv", with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = place / "venv" / "lib" / version / "site-packages"
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib"))
    return {**os.environ, "PATH": os.pathsep.join([str(place / "venv" / "bin"), os.environ["PATH"]])}


def _run(command: str, place: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shlex.split(command), cwd=place, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_three_commands(tmp_path: Path) -> None:
    install, models, run = _commands()
    ignored = shutil.ignore_patterns(".venv*", "build", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(CONFORMANCE, tmp_path / "conformance", ignore=ignored)
    environment = _environment(tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    pip = f"{shlex.quote(sys.executable)} -m pip --python {shlex.quote(str(python))} --disable-pip-version-check"
    offline = "--no-deps --no-build-isolation --force-reinstall"
    installed = _run(install.replace("pip install", f"{pip} install {offline}"), tmp_path, environment)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    program = str(tmp_path / "venv" / "bin" / "conformance")

    written = _run(models.replace("conformance", program, 1), tmp_path, environment)
    assert written.returncode == 0, written.stderr
    # What it says how to go on is what the README says; a server loads all that it finds there.
    assert run.partition(" --report")[0] in written.stdout
    assert "kserve-v2 serve --model-repository models" in written.stdout
    assert (tmp_path / "models" / "add_sub" / "config.pbtxt").is_file()
    assert not (tmp_path / "models" / "broken").exists()

    with serve() as server:
        command = run.replace("conformance", program, 1)
        command = command.replace("http://localhost:8000", server.rest.url)
        command = command.replace("localhost:8001", server.grpc.address)
        done = _run(f"{command} -k 'health or metadata'", tmp_path, environment)
    assert done.returncode == 3, done.stdout + done.stderr  # so few cases say nothing
    assert "verdict: not tested" in done.stdout
    assert (tmp_path / "report.html").is_file()


def test_options_of_the_readme_exist() -> None:
    """Every option that the README names is one of the command's."""
    named = {line.split("`")[1].split()[0] for line in README.splitlines() if line.startswith("| `--")}
    helped = subprocess.run(
        [sys.executable, "-m", "kserve_v2_conformance", "run", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [option for option in named if option not in helped] == []
