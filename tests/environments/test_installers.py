"""Which program installs: what it is told about where packages come from must hold."""

import os
import sys
from pathlib import Path

import pytest

from kserve_v2.environments.installers import choose, has_settings_of_pip, installing, says_from_where

PYTHON, REQUIREMENTS = Path("/env/bin/python"), Path("/m/requirements.txt")
# As if there were no file of settings.
NO_FILE = {"PIP_CONFIG_FILE": os.devnull}
UV = ["pip", "install", "--python", str(PYTHON), "-r", str(REQUIREMENTS)]
PIP = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "-r", str(REQUIREMENTS)]


@pytest.fixture
def with_uv(tmp_path: Path) -> dict[str, str]:
    """Variables by which a program called uv is found."""
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    return {**NO_FILE, "PATH": str(tmp_path)}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "uv"),
        ({"PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, "uv"),
        ({"PIP_NO_INDEX": ""}, "uv"),
        ({"PIP_NO_INDEX": "1"}, "pip"),
        ({"PIP_INDEX_URL": "https://company/simple"}, "pip"),
        ({"PIP_CONSTRAINT": "c.txt"}, "pip"),
        ({"PIP_NO_INDEX": "1", "UV_LINK_MODE": "copy"}, "pip"),
        ({"PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}, "uv"),
        ({"PIP_INDEX_URL": "https://c/", "UV_DEFAULT_INDEX": "https://c/"}, "uv"),
        ({"PIP_FIND_LINKS": "/w", "UV_FIND_LINKS": "/w"}, "uv"),
        ({"UV_INDEX_COMPANY_PASSWORD": "p", "PIP_INDEX_URL": "https://c/"}, "uv"),
    ],
)
@pytest.mark.slow
def test_uv_is_preferred_unless_only_pip_knows_where_from(
    with_uv: dict[str, str], settings: dict[str, str], name: str
) -> None:
    installer = choose(PYTHON, REQUIREMENTS, {**with_uv, **settings})
    command = [str(Path(with_uv["PATH"]) / "uv"), *UV] if name == "uv" else PIP
    assert (installer.name, installer.command) == (name, command)


def test_without_uv_it_is_pip() -> None:
    installer = choose(PYTHON, REQUIREMENTS, {"PATH": "/nowhere"})
    assert (installer.name, installer.command, installer.prepare) == ("pip", PIP, ())


@pytest.mark.slow
def test_pip_s_files_of_settings_are_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    environ = {"PIP_CONFIG_FILE": str(file)}
    file.write_text("[global]\nindex-url = https://company/simple\n")
    assert has_settings_of_pip(environ)
    # With this one, pip reads none.
    assert not has_settings_of_pip(NO_FILE)


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ("", False),
        ("global.timeout='60'\nglobal.no-cache-dir='1'\n:env:.no-index='1'\n", False),
        ("global.index-url='https://company/simple'\n", True),
        ("install.find-links='/wheels'\n", True),
        ("user.timeout='1'\nuser.extra-index-url='a=b'\n", True),
    ],
)
def test_what_pip_lists(listed: str, says: bool) -> None:
    assert says_from_where(listed) is says


def test_all_settings_reach_the_installer() -> None:
    server = {
        "PIP_NO_INDEX": "1",
        "UV_OFFLINE": "1",
        "HOME": "/h",
        "PIP_PROGRESS_BAR": "on",
        "PYTHONPATH": "/p",
    }
    assert installing(server) == {
        "PIP_NO_INDEX": "1",
        "UV_OFFLINE": "1",
        "HOME": "/h",
        "PIP_PROGRESS_BAR": "on",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
