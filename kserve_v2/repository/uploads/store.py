"""Where uploaded model files lie: each load's in a folder of its own, below one that is the server's alone.

That one is made when it is first needed, in the system's directory for temporary files (TMPDIR), with mode 0700 and a
name that nobody can foresee. It is locked as long as the server runs, and the lock goes with the process, however that
ends: at its start a server removes the folders of those that are gone. Cleaners of temporary files that know the
convention, such as systemd's, leave what is locked alone.
"""

import itertools
import logging
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kserve_v2.errors import InternalError, UnavailableError
from kserve_v2.repository.uploads.names import upload_paths

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

PREFIX = "kserve-v2-uploads-"

# A file is new, and no link.
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True, eq=False)
class UploadedFolder:
    """The files of one load. `path`: the model's directory, which has the model's name. `number`: of no other one."""

    path: Path
    number: int

    def remove(self) -> None:
        """Remove it, with all that lies in it. Blocks."""
        _remove(self.path.parent)


class Uploads:
    """The folders of one server. From any thread; all methods block."""

    def __init__(self, parent: Path | None = None) -> None:
        """`parent`: in place of the system's directory for temporary files."""
        self._parent = parent
        self._lock = threading.Lock()
        self._root: Path | None = None
        # Open as long as the server's folder is locked.
        self._held = -1
        self._closed = False
        self._numbers = itertools.count(1)

    @property
    def parent(self) -> Path:
        """Where the server's folder lies, and those of others."""
        return self._parent or Path(tempfile.gettempdir())

    def write(self, model: str, files: Mapping[str, bytes]) -> UploadedFolder:
        """Write files to a folder of their own; if that fails, there is none. `model`: a name that has been checked.
        Raises InvalidArgumentError for their names, InternalError where there is no room for them.
        """
        paths = upload_paths(files)
        number = next(self._numbers)
        try:
            top = self._own_root() / str(number)
            top.mkdir(mode=0o700)
            try:
                directory = top / model
                directory.mkdir(mode=0o700)
                for name, content in files.items():
                    _write(directory, paths[name], content)
            except BaseException:
                _remove(top)
                raise
        except OSError as error:
            raise InternalError(
                f"the files of model '{model}' cannot be kept in the server's directory for temporary files: "
                f"{error.strerror}"
            ) from error
        return UploadedFolder(directory, number)

    def _own_root(self) -> Path:
        with self._lock:
            if self._closed:
                raise UnavailableError("Server exiting")
            while self._root is None:
                root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.parent)).absolute()
                held = _lock_folder(root)
                if held is not None:
                    self._root, self._held = root, held
            return self._root

    def close(self) -> None:
        """Remove all that there is. Nothing is written any more."""
        with self._lock:
            self._closed = True
            if self._root is not None:
                _remove(self._root)
                if self._held >= 0:
                    os.close(self._held)
                self._root, self._held = None, -1


def remove_leftovers(parent: Path | None = None) -> None:
    """Remove what servers have left that did not end by themselves. Blocks."""
    if sys.platform == "win32":
        return
    try:
        with os.scandir(parent or tempfile.gettempdir()) as entries:
            found = [Path(entry.path) for entry in entries if entry.name.startswith(PREFIX)]
    except OSError as error:
        logger.debug("cannot look for what killed servers have left: %s", error)
        return
    for path in found:
        held = _lock_folder(path)
        if held is not None:
            logger.info("removing uploaded files that a server has left behind: %s", path)
            _remove(path)
            os.close(held)


def _lock_folder(path: Path) -> int | None:
    """Lock a folder of this user's. Returns what holds the lock; None if it is somebody else's, locked, or gone."""
    if sys.platform == "win32":
        return -1
    try:
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.fstat(held)
        # Somebody who found it unlocked may have removed it meanwhile.
        if mine.st_uid == os.geteuid() and os.path.samestat(mine, path.lstat()):
            return held
    except OSError:
        pass
    os.close(held)
    return None


def _write(directory: Path, path: PurePosixPath, content: bytes) -> None:
    """Write a new file, with the folders that it lies in."""
    folder = directory
    for part in path.parts[:-1]:
        folder /= part
        # Those above may be there, of another file's.
        if not (folder.exists() and stat.S_ISDIR(folder.lstat().st_mode)):
            folder.mkdir(mode=0o700)
    with os.fdopen(os.open(folder / path.name, _CREATE, 0o600), "wb") as file:
        file.write(content)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        logger.warning("uploaded files could not be removed: %s", path)
