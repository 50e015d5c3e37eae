"""Which program installs requirements, and how it is called."""

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from kserve_v2.errors import InvalidArgumentError

# From this one on pip installs into another environment than its own.
_PIP_FOR_OTHERS = (22, 3)
_CONFIG_SECONDS = 30

# Settings of pip that say nothing about what is installed, and from where.
_PIP_HARMLESS = frozenset(
    {"PIP_CACHE_DIR", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_CACHE_DIR",
     "PIP_NO_COLOR", "PIP_NO_INPUT", "PIP_PROGRESS_BAR", "PIP_QUIET", "PIP_ROOT_USER_ACTION", "PIP_TIMEOUT",
     "PIP_VERBOSE"}
)  # fmt: skip
# Those of uv that do.
_UV_SOURCES = re.compile(r"UV_(?:.*INDEX.*|FIND_LINKS|OFFLINE|CONFIG_FILE)")
_HARMLESS_KEYS = re.compile(
    r".*\.(?:cache-dir|default-timeout|disable-pip-version-check|no-cache-dir|no-color|no-input|progress-bar|quiet|"
    r"root-user-action|timeout|verbose)"
)


@dataclass(frozen=True, slots=True)
class Installer:
    """A program and its arguments. `name`: how the log calls it. `prepare`: a command that has to be run before."""

    name: str
    command: Sequence[str]
    prepare: Sequence[str] = ()


def choose(python: Path, requirements: Path, environ: Mapping[str, str]) -> Installer:
    """What installs `requirements` into the environment of `python`. Raises InvalidArgumentError if there is nothing.

    uv, if it is on the PATH, is many times quicker; but it does not read what pip is told, by variables or in pip.conf:
    an installation that is to be offline, or from a company's own index, must not go elsewhere. So where pip has such
    settings and uv has none, it is pip.
    """
    uv = which("uv", path=environ.get("PATH"))
    if uv is not None and (_has_sources_for_uv(environ) or not has_settings_of_pip(environ)):
        command = [
            str(Path(uv).absolute()),
            "pip",
            "install",
            "--python",
            str(python),
            "-r",
            str(requirements),
        ]
        return Installer("uv", command)
    install = ["install", "-r", str(requirements)]
    if _pip_version() >= _PIP_FOR_OTHERS:
        return Installer("pip", [sys.executable, "-m", "pip", "--python", str(python), *install])
    if importlib.util.find_spec("ensurepip") is not None:
        prepare = [str(python), "-m", "ensurepip", "--default-pip"]
        return Installer("pip", [str(python), "-m", "pip", *install], prepare)
    raise InvalidArgumentError(
        "nothing can install it: there is neither pip in the server's Python nor, on its PATH, uv"
        if uv is None
        else "nothing can install it as pip is told to (by PIP_ variables or pip.conf): pip is not in the server's "
        "Python, and uv does not read that; install pip, or give uv the same settings (UV_ variables)"
    )


def installing(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of an installer, from those of the server's process: all settings hold, but it does not look for
    packages where the server does, nor asks anybody anything.
    """
    kept = {name: text for name, text in environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {"PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **kept}


def _has_sources_for_uv(environ: Mapping[str, str]) -> bool:
    return any(value and _UV_SOURCES.fullmatch(name) for name, value in environ.items())


def has_settings_of_pip(environ: Mapping[str, str]) -> bool:
    """Whether pip is told what to install from where, by variables or in its files."""
    if any(
        value and name.startswith("PIP_") and name not in _PIP_HARMLESS for name, value in environ.items()
    ):
        return True
    if _pip_version() == (0,):
        return False
    command = [sys.executable, "-m", "pip", "config", "list"]
    try:
        listed = subprocess.run(
            command,
            env=installing(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_CONFIG_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and says_from_where(listed.stdout)


def says_from_where(listed: str) -> bool:
    """Whether among the lines of `pip config list` is one that says what to install from where."""
    keys = [line.partition("=")[0].strip() for line in listed.splitlines() if "=" in line]
    # Those of the environment have been looked at.
    return any(not key.startswith(":env:") and not _HARMLESS_KEYS.fullmatch(key) for key in keys)


def _pip_version() -> tuple[int, ...]:
    """Of the pip in the server's Python; (0,) if there is none."""
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        return (0,)
    return tuple(int(digits) for digits in re.findall(r"\d+", version)[:2])
