"""Where uploaded model files lie: each load's in a folder of its own, below one that is the server's alone."""

import itertools
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kserve_v2.errors import InternalError
from kserve_v2.repository.temporary_folder import UPLOADS, TemporaryFolder, remove
from kserve_v2.repository.uploads.names import upload_paths

# A file is new, and no link.
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True, eq=False)
class UploadedFolder:
    """The files of one load. `path`: the model's directory, which has the model's name. `number`: of no other one."""

    path: Path
    number: int

    def remove(self) -> None:
        """Remove it, with all that lies in it. Blocks."""
        remove(self.path.parent)


class Uploads:
    """The folders of one server. From any thread; all methods block."""

    def __init__(self, parent: Path | None = None) -> None:
        """`parent`: in place of the system's directory for temporary files."""
        self._folder = TemporaryFolder(UPLOADS, parent)
        self._numbers = itertools.count(1)

    @property
    def parent(self) -> Path:
        """Where the server's folder lies, and those of others."""
        return self._folder.parent

    def write(self, model: str, files: Mapping[str, bytes]) -> UploadedFolder:
        """Write files to a folder of their own; if that fails, there is none. `model`: a name that has been checked.
        Raises InvalidArgumentError for their names, InternalError where there is no room for them.
        """
        paths = upload_paths(files)
        number = next(self._numbers)
        try:
            top = self._folder.open() / str(number)
            top.mkdir(mode=0o700)
            try:
                directory = top / model
                directory.mkdir(mode=0o700)
                for name, content in files.items():
                    _write(directory, paths[name], content)
            except BaseException:
                remove(top)
                raise
        except OSError as error:
            raise InternalError(
                f"the files of model '{model}' cannot be kept in the server's directory for temporary files: "
                f"{error.strerror}"
            ) from error
        return UploadedFolder(directory, number)

    def close(self) -> None:
        """Remove all that there is. Nothing is written any more."""
        self._folder.close()


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
