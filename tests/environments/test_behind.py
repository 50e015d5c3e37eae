"""The server's packages behind an environment's own."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from kserve_v2.environments.behind import add_hook, behind, server_directories


def test_the_server_s_directories_are_those_of_packages(tmp_path: Path) -> None:
    stdlib = sysconfig.get_path("stdlib")
    path = [
        sysconfig.get_path("scripts"),
        str(tmp_path),
        str(Path(stdlib).parent / "python311.zip"),
        stdlib,
        f"{stdlib}/lib-dynload",
        sysconfig.get_path("purelib"),
        str(tmp_path),
        str(tmp_path / "nosuch"),
        "",
    ]
    assert server_directories(path) == [str(tmp_path), sysconfig.get_path("purelib"), str(Path.cwd())]


@pytest.mark.slow
def test_an_environment_s_own_packages_win(tmp_path: Path) -> None:
    env, other, site, editable = (tmp_path / name for name in ("env", "other", "site-packages", "editable"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(env)], check=True)
    own = next((env / "lib").glob("*/site-packages"))
    add_hook(own)
    for label, directory, names in (
        ("own", own, "a"),
        ("other", other, "ab"),
        ("site", site, "abc"),
        ("editable", editable, "abcd"),
    ):
        directory.mkdir(exist_ok=True)
        for name in names:
            (directory / f"{name}.py").write_text(f"FROM = {label!r}")
    (site / "editable.pth").write_text(str(editable))
    code = "import a, b, c, d; print(a.FROM, b.FROM, c.FROM, d.FROM)"
    command = [str(env / "bin" / "python"), "-c", code]
    environ = behind(os.environ, [str(other), str(site), str(tmp_path / "nosuch")])
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("own other site editable\n", "")
    # For whoever does not know of the server, such as an installer, there is nothing else.
    alone = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "No module named 'b'" in alone.stderr
