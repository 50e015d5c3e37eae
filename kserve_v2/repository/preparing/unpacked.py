"""Models whose files lie in an archive: unpacked into a folder of the server's own for as long as a version of them is
loaded, or being loaded.
"""

import logging
import weakref
from pathlib import Path
from threading import RLock

from kserve_v2.backend import Unpacked
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.temporary_folder import MODELS, TemporaryFolder, remove
from kserve_v2.torchserve.archives import unpack_archive

logger = logging.getLogger(__name__)


class UnpackedArchives:
    """Those of one server. From any thread; its methods block."""

    def __init__(self, parent: Path | None = None) -> None:
        """`parent`: in place of the system's directory for temporary files."""
        self._folder = TemporaryFolder(MODELS, parent)
        # A command that only looks at models has nobody who closes this.
        weakref.finalize(self, self._folder.close)
        self._lock = RLock()
        self._number = 0
        self._there: weakref.WeakValueDictionary[tuple[object, ...], Unpacked] = weakref.WeakValueDictionary()

    def unpack(self, archive: Path, shown: str) -> Unpacked:
        """What is in an archive. It is removed when nobody refers to this any more. Raises InvalidArgumentError."""
        try:
            # One after the other: versions that are loaded at the same time may be of the same archive.
            with self._lock:
                key = _identity(archive)
                there = self._there.get(key)
                if there is None:
                    there = self._there[key] = self._unpack(archive, shown)
                    if _identity(archive) != key:
                        raise InvalidArgumentError(f"{shown} has changed while it was unpacked")
                return there
        except OSError as error:
            raise InvalidArgumentError(f"{shown} cannot be unpacked: {error.strerror}") from error

    def _unpack(self, archive: Path, shown: str) -> Unpacked:
        self._number += 1
        place = self._folder.open() / f"archive-{self._number}"
        try:
            unpack_archive(archive, place, shown)
        except BaseException:
            remove(place)
            raise
        there = Unpacked(place, self)
        weakref.finalize(there, _remove, place)
        return there

    def close(self) -> None:
        """Remove all of them."""
        self._folder.close()


def _identity(archive: Path) -> tuple[object, ...]:
    status = archive.stat()
    return str(archive.resolve()), status.st_mtime_ns, status.st_size, status.st_ino


def _remove(place: Path) -> None:
    if place.exists():
        remove(place)
