"""A folder for temporary files that is one server's alone.

It is made when it is first needed, in the system's directory for temporary files (TMPDIR), with mode 0700 and a name
that nobody can foresee. It is locked as long as the server runs, and the lock goes with the process, however that ends:
at its start a server removes the folders of those that are gone. Cleaners of temporary files that know the convention,
such as systemd's, leave what is locked alone.
"""

import logging
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from kserve_v2.errors import UnavailableError

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

UPLOADS = "kserve-v2-uploads-"
"""What the names of folders begin with for files that come with loads."""
MODELS = "kserve-v2-models-"
"""The same for what shows files as models of a repository."""
DOWNLOADS = "kserve-v2-torchserve-"
"""The same for archives of TorchServe's that were fetched, and workflows that were unpacked."""


class TemporaryFolder:
    """One folder. From any thread; all methods block."""

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        """`parent`: in place of the system's directory for temporary files."""
        self._prefix = prefix
        self._parent = parent
        self._lock = threading.Lock()
        self._path: Path | None = None
        # Open as long as the folder is locked.
        self._held = -1
        self._closed = False

    @property
    def parent(self) -> Path:
        """Where it lies, and those of others."""
        return self._parent or Path(tempfile.gettempdir())

    def open(self) -> Path:
        """The folder, which is there from now on. Raises OSError, and UnavailableError when it is closed."""
        with self._lock:
            if self._closed:
                raise UnavailableError("Server exiting")
            while self._path is None:
                path = Path(tempfile.mkdtemp(prefix=self._prefix, dir=self.parent)).absolute()
                held = _lock_folder(path)
                if held is not None:
                    self._path, self._held = path, held
            return self._path

    def close(self) -> None:
        """Remove it, with all that lies in it. It is not opened again."""
        with self._lock:
            self._closed = True
            if self._path is not None:
                remove(self._path)
                if self._held >= 0:
                    os.close(self._held)
                self._path, self._held = None, -1


def remove_leftovers(
    parent: Path | None = None, prefixes: tuple[str, ...] = (UPLOADS, MODELS, DOWNLOADS)
) -> None:
    """Remove what processes have left that did not end by themselves: folders whose names begin so. Blocks."""
    if sys.platform == "win32":
        return
    try:
        with os.scandir(parent or tempfile.gettempdir()) as entries:
            found = [Path(entry.path) for entry in entries if entry.name.startswith(prefixes)]
    except OSError as error:
        logger.debug("cannot look for what killed servers have left: %s", error)
        return
    for path in found:
        held = _lock_folder(path)
        if held is not None:
            logger.info("removing files that a killed process has left behind: %s", path)
            remove(path)
            os.close(held)


def remove(path: Path) -> None:
    """Remove a folder, with all that lies in it; of links only themselves."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        logger.warning("temporary files could not be removed: %s", path)


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
