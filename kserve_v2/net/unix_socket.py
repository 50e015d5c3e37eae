"""Unix sockets to listen on: an address `unix:PATH`. A path is one server's at a time, and is cleared after it.

A server takes its path long before it listens, as its models are loaded first: whether somebody answers does not tell
whether the path is in use. A lock on a file beside it does: the system gives that up with the process, however it ends.
"""

import os
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path

PREFIX = "unix:"
ABSTRACT_PREFIX = "unix-abstract:"

# The size of sun_path, less the NUL that ends it; see unix(7).
MAX_PATH_BYTES = 107 if sys.platform == "linux" else 103

_LOCK_SUFFIX = ".lock"
# How often a lock may have been removed by its holder between being opened and being taken.
_TRIES = 100


def unix_path(address: str) -> str | None:
    """The path of an address that is a Unix socket, None for any other. As in gRPC, `unix:///a` is `unix:/a`."""
    if not address.startswith(PREFIX):
        return None
    path = address.removeprefix(PREFIX)
    return path[2:] if path.startswith("///") else path


class UnixPath:
    """A path that is taken for a socket of this process until it is released."""

    def __init__(self, path: str) -> None:
        """Take it; a socket that a dead server has left there is removed. Raises OSError, with a text for a person."""
        self.path = path
        self._socket_id: tuple[int, int] | None = None
        self._lock = -1
        try:
            _check_path(path)
            self._lock = _lock(path + _LOCK_SUFFIX)
            _remove_stale(path)
        except OSError as error:
            self.release()
            raise OSError(f"cannot listen on {PREFIX}{path}: {error.strerror or error}") from error

    def bind(self) -> socket.socket:
        """A socket there that does not listen yet. Who may connect is decided by the umask, and by the directory."""
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(self.path)
        except OSError as error:
            bound.close()
            self.release()
            raise OSError(f"cannot listen on {PREFIX}{self.path}: {error.strerror or error}") from error
        self.note()
        return bound

    def note(self) -> None:
        """There is a socket now: it is removed with the path's release."""
        self._socket_id = _identity(self.path)

    def release(self) -> None:
        """Remove the socket, if it is still this one, and let others have the path."""
        if self._socket_id is not None and _identity(self.path) == self._socket_id:
            with suppress(OSError):
                Path(self.path).unlink()
        self._socket_id = None
        if self._lock >= 0:
            # While it is held: nobody can take it for that of another server.
            with suppress(OSError):
                Path(self.path + _LOCK_SUFFIX).unlink()
            os.close(self._lock)
            self._lock = -1


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _check_path(path: str) -> None:
    if sys.platform == "win32":
        raise OSError("Unix sockets are not supported on Windows")
    size = len(os.fsencode(path))
    if size > MAX_PATH_BYTES:
        raise OSError(
            f"the path has {size} bytes, and the system takes {MAX_PATH_BYTES} at most; a path from the working "
            "directory may be shorter"
        )
    directory = Path(path).parent
    if not directory.is_dir():
        raise OSError(f"there is no directory {str(directory)!r}")
    if Path(path).is_dir():
        raise OSError("it is a directory, expected the path of a socket")


def _lock(path: str) -> int:
    """A descriptor of the file, which is made and locked."""
    import fcntl  # noqa: PLC0415 - not on Windows

    for _ in range(_TRIES):
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _identity(path) == (os.fstat(lock).st_dev, os.fstat(lock).st_ino):
                return lock
        except BlockingIOError:
            os.close(lock)
            raise OSError("Address already in use: another server has it") from None
        except OSError:
            os.close(lock)
            raise
        # Its holder has removed it in between.
        os.close(lock)
    raise OSError("Address already in use: servers come and go there")


def _remove_stale(path: str) -> None:
    """Remove the socket of a server that is gone. Raises OSError for anything else that is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError("there is a file of that name, and it is no socket")
    # It may belong to a program that does not know of the lock.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except BlockingIOError:
            pass  # Its queue is full.
    raise OSError("Address already in use: a program listens there")
