"""Environments that somebody has made: the parameter EXECUTION_ENV_PATH, which names a directory or an archive.

    parameters { key: "EXECUTION_ENV_PATH" value { string_value: "$$TRITON_MODEL_DIRECTORY/env.tar.gz" } }

The archive is what conda-pack writes, the directory that unpacked, or a virtual environment.
"""

import logging
import os
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from kserve_v2.config.isolation import EXECUTION_ENV_PATH
from kserve_v2.environments.activation import activated, is_venv
from kserve_v2.environments.commands import run
from kserve_v2.environments.requirements import file_digest
from kserve_v2.environments.store import Store
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.unpacking import unpack

logger = logging.getLogger(__name__)

_ADVICE = "Pack environments with conda-pack, or unpack it yourself and name the directory"

MODEL_DIRECTORY = "$$TRITON_MODEL_DIRECTORY"

_DIGEST_CHARACTERS = 32
# As many are remembered.
_DIGESTS = 64


@dataclass(frozen=True, slots=True)
class NamedEnvironment:
    """The environment that a model's configuration names. `shown`: its path as messages have it."""

    model: str
    path: Path
    shown: str

    @classmethod
    def of(cls, text: str, model: str, model_path: Path) -> "NamedEnvironment":
        """Read the parameter's text. Relative paths are in the model's directory. Raises InvalidArgumentError if
        nothing is there.
        """
        if "://" in text:
            raise InvalidArgumentError(
                f"{EXECUTION_ENV_PATH} {text}: environments are not fetched; name a local file or directory"
            )
        shown = text.replace(MODEL_DIRECTORY, model)
        path = model_path.absolute() / text.replace(MODEL_DIRECTORY, str(model_path.absolute()))
        if not _exists(path):
            raise InvalidArgumentError(
                f"Failed to get the canonical path for {shown}. {EXECUTION_ENV_PATH} has to name an environment's "
                "archive or directory; relative paths are in the model's directory"
            )
        return cls(model, path, shown)

    @property
    def origin(self) -> str:
        """How messages call it."""
        return f"{EXECUTION_ENV_PATH} {self.shown}"

    def find(self, store: Store) -> Path | None:
        """Its directory; None for an archive that is not unpacked yet. Raises InvalidArgumentError."""
        if self.path.is_dir():
            check_directory(self.path, self.shown)
            return self.path
        return store.find(self._stored_name)

    @property
    def _stored_name(self) -> str:
        if not (self.path.is_file() and tarfile.is_tarfile(self.path)):
            raise InvalidArgumentError(
                f"{self.origin} is neither a directory nor a tar archive (.tar, .tar.gz, .tar.bz2, .tar.xz)"
            )
        return f"archive-{_digest(self.path, *_state(self.path))[:_DIGEST_CHARACTERS]}"

    def make(self, store: Store, environ: Mapping[str, str]) -> Path:
        """Unpack the archive, unless somebody else does. Raises InvalidArgumentError."""
        about = {"made_from": self.shown, "model": self.model}
        waiting = f"model '{self.model}': waiting for its environment"
        return store.make(self._stored_name, partial(self._unpack, environ), about, waiting)

    def _unpack(self, environ: Mapping[str, str], into: Path, lock: BinaryIO) -> None:
        logger.info("model '%s': unpacking its environment, %s", self.model, self.shown)
        started_s = time.monotonic()
        unpack(self.path, into, self.origin, advice=_ADVICE)
        check_directory(into, self.shown)
        fix = into / "bin" / "conda-unpack"
        if fix.is_file():
            # A script for the interpreter beside it, which writes the new place into the files that hold the old one.
            what = f"model '{self.model}': conda-unpack"
            run([str(into / "bin" / "python"), str(fix)], what, activated(into, environ), into, lock)
        logger.info("model '%s': unpacked in %.1f s", self.model, time.monotonic() - started_s)


def _state(path: Path) -> tuple[int, ...]:
    """Changes with a file's content."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(_DIGESTS)
def _digest(path: Path, *state: int) -> str:
    """The digest of a file, which may have gigabytes, in that state."""
    return file_digest(path)


def leads_outside(text: str, model_path: Path) -> bool:
    """Whether what EXECUTION_ENV_PATH names is not in the model's directory, by its path or by a link."""
    inside = model_path.resolve()
    try:
        return not (inside / text.replace(MODEL_DIRECTORY, str(inside))).resolve().is_relative_to(inside)
    except (OSError, ValueError, RuntimeError):
        # No path at all, or links in a circle.
        return True


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # A name that is too long, for example.
        return False


def check_directory(path: Path, shown: str) -> None:
    """Raise InvalidArgumentError if a directory does not look like an environment."""
    python = path / "bin" / "python"
    if not is_venv(path) and not (path / "bin" / "activate").exists():
        deeper = [each.name for each in path.iterdir() if (each / "bin" / "activate").exists()]
        hint = f" There is one in {deeper[0]}/: that is the environment's directory" if deeper else ""
        # Triton's text, but for the hint.
        raise InvalidArgumentError(
            f"Path {shown}/bin/activate does not exist. The Python environment should contain an 'activate' script."
            + hint
        )
    if not os.access(python, os.X_OK):
        why = "is no file that can be run"
        if python.is_symlink() and not python.exists():
            why = f"is a link to {python.readlink()}, which is not there"
        raise InvalidArgumentError(
            f"Path {shown}/bin/python {why}: the environment is not whole, or of another machine"
        )
