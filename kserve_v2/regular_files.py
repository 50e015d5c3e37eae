"""Reading files that others have put there, which may be no files at all: a pipe is not opened before somebody writes
to it, and a device has no end.
"""

import os
import stat
from errno import EINVAL, ENOENT
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_regular(path: Path, most: int = -1) -> bytes:
    """What is in a file, up to so many bytes if that is not negative. Raises OSError, and without opening it for what
    is no regular file.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise OSError(ENOENT, "it is a link to something that does not exist", str(path)) from error
        raise
    _check(path, status.st_mode)
    # It may have been replaced meanwhile.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(number, "rb") as file:
        _check(path, os.fstat(file.fileno()).st_mode)
        return file.read(most)


def _check(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(EINVAL, f"it is {kind}, and no regular file", str(path))
