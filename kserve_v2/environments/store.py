"""The directory in which environments are kept: each is made once, by whoever comes first, and used by all.

An environment is made where it stays, for its scripts hold its path. What shows that it is whole is a file that is put
there last, by a rename: what a killed server has left is no environment, and is removed by the next who wants it. Who
makes one holds a lock of the system's on a file beside it, and so does the installer, as long as it runs: the lock of a
process that is gone is free.
"""

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from kserve_v2.errors import InvalidArgumentError, describe

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

COMPLETE = "complete.json"


class Store:
    """Environments by name, below one directory."""

    def __init__(self, directory: Path) -> None:
        # What is installed keeps its path, by whatever link the directory is named.
        self.directory = directory.absolute().resolve()

    def find(self, name: str) -> Path | None:
        """An environment that is whole; None if there is none. Its file COMPLETE has the time of its last use."""
        path = self.directory / name
        try:
            found = json.loads((path / COMPLETE).read_bytes())
        except (OSError, ValueError):
            return None
        # One that has been moved, or copied, would run the scripts of another.
        if not isinstance(found, dict) or found.get("path") != str(path):
            return None
        try:
            os.utime(path / COMPLETE)
        except OSError:
            logger.debug("cannot note the use of %s", path)
        return path

    def make(
        self, name: str, build: Callable[[Path, BinaryIO], None], about: Mapping[str, str], waiting: str
    ) -> Path:
        """Find an environment, or have it made: `build` gets the path of a directory that is not there yet, and the
        lock, for processes that work on it. `about`: what is noted of it. `waiting`: what the log is told of one that
        is being made by somebody else. Blocks.

        Raises InvalidArgumentError if the directory cannot be written to, and what `build` raises.
        """
        path = self.directory / name
        with self._lock(name, waiting) as lock:
            found = self.find(name)
            if found is not None:
                return found
            try:
                _remove(path)
                build(path, lock)
                note = path / f"{COMPLETE}.new"
                note.write_text(json.dumps({"path": str(path), **about}, indent=1))
                note.rename(path / COMPLETE)
            except OSError as error:
                shutil.rmtree(path, ignore_errors=True)
                raise self._unusable(error) from error
            except BaseException:
                shutil.rmtree(path, ignore_errors=True)
                raise
        return path

    @contextmanager
    def _lock(self, name: str, waiting: str) -> Iterator[BinaryIO]:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = self._locked(self.directory / f"{name}.lock", waiting)
        except OSError as error:
            raise self._unusable(error) from error
        with lock:
            lock.truncate(0)
            lock.write(str(os.getpid()).encode())
            lock.flush()
            yield lock

    def _locked(self, path: Path, waiting: str) -> BinaryIO:
        """The lock's file, once it is ours. Raises OSError."""
        while True:
            lock = path.open("ab+", buffering=0)
            try:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    logger.info("%s, which process %s makes", waiting, _owner(lock))
                    fcntl.flock(lock, fcntl.LOCK_EX)
                # Somebody may have removed the file meanwhile, to clean up: then a lock on it keeps nobody out.
                if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    return lock
            except BaseException:
                lock.close()
                raise
            lock.close()

    def _unusable(self, error: OSError) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"no environment can be made in the directory of --model-environments: {describe(error)}"
        )


def _owner(lock: BinaryIO) -> str:
    lock.seek(0)
    return lock.read(32).decode(errors="replace") or "?"


def _remove(path: Path) -> None:
    """Remove what is there, if anything is. Raises OSError."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
