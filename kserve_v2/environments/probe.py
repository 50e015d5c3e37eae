"""Trying an interpreter before a model is run by it."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kserve_v2.errors import InvalidArgumentError, describe, without_directories

OLDEST = (3, 9)
NEWEST = (3, 13)

# Importing numpy from a slow network disk takes its time, too.
_SECONDS = 120
_SAID_LINES = 5
_CODE = """\
import importlib.metadata, json, sys
found = {"version": list(sys.version_info[:3]), "server": ""}
try:
    found["server"] = importlib.metadata.version("kserve-v2")
except importlib.metadata.PackageNotFoundError:
    pass
try:
    import numpy
except BaseException as error:
    found["numpy"] = type(error).__name__ + ": " + str(error).strip().partition("\\n")[0]
print("\\n" + json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Probed:
    """What an interpreter has said of itself; see `Interpreter`."""

    version: tuple[int, int, int]
    server: str


def probe(python: Path, environ: Mapping[str, str], origin: str) -> Probed:
    """Run an interpreter. `origin`: what errors call its environment. Blocks.

    Raises InvalidArgumentError if it does not run, is too old or too new, or does not find numpy.
    """
    try:
        ran = subprocess.run(
            [str(python), "-I", "-c", _CODE],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidArgumentError(f"{origin}: bin/python has not answered for {_SECONDS} s") from None
    except OSError as error:
        raise InvalidArgumentError(
            f"{origin}: bin/python does not run: {describe(error)}. It has to be made for this machine"
        ) from error
    said = ran.stderr.strip().splitlines()[-_SAID_LINES:]
    try:
        found = json.loads(ran.stdout.strip().splitlines()[-1])
        version: tuple[int, int, int] = tuple(found["version"])
    except (ValueError, IndexError, TypeError, KeyError) as error:
        text = "\n".join(map(without_directories, said)) or f"it ended with status {ran.returncode}"
        raise InvalidArgumentError(f"{origin}: bin/python does not run: {text}") from error
    _check(found, version, origin)
    return Probed(version, str(found["server"]))


def _check(found: Mapping[str, Any], version: tuple[int, int, int], origin: str) -> None:
    """Raise InvalidArgumentError if models cannot be run by it."""
    if not OLDEST <= version[:2] <= NEWEST:
        raise InvalidArgumentError(
            f"{origin} has Python {'.'.join(map(str, version))}; models run with {_text(OLDEST)} to {_text(NEWEST)}"
        )
    if "numpy" in found:
        raise InvalidArgumentError(
            f"{origin} has no numpy that works, which every model needs: install it there "
            f"({without_directories(found['numpy'])})"
        )


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
