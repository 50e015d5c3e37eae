"""The names of uploaded files: pure checks, made before anything is written.

A name is that of a load call's parameter, `file:<version>/<path>`. It comes from a client, and names a file below a
folder that nobody else writes to: it must not lead anywhere else, on no file system, and no two may be the same file.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.file_names import folded, is_text
from kserve_v2.repository.reading.layout import is_version

PREFIX = "file:"

# What file systems take for one name, in bytes of UTF-8, and Linux for a path, with room for where the folder lies.
MAX_COMPONENT_BYTES = 255
MAX_PATH_BYTES = 2048
MAX_DEPTH = 32
MAX_FILES = 10_000

_MOST_SHOWN = 100
_CONFIGURATIONS = ("config.pbtxt", "configs")


def upload_paths(names: Iterable[str]) -> Mapping[str, PurePosixPath]:
    """Where each file lies in the model's directory, by its name. Raises InvalidArgumentError for the first that
    cannot lie there, and for two that would be the same file.
    """
    paths: dict[str, PurePosixPath] = {}
    # By how a file system that cares least writes a path: the name that is a file, and those that have files below.
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        path = paths[name] = _path(name)
        if len(paths) > MAX_FILES:
            raise InvalidArgumentError(f"more than {MAX_FILES} files were sent with one load")
        *above, own = _spellings(path)
        if own in files:
            raise _invalid(
                name, f"is the same file as '{shown(files[own])}' where names are not told apart by case"
            )
        for folder in above:
            folders.setdefault(folder, name)
            if folder in files:
                raise _invalid(name, f"lies below '{shown(files[folder])}', which is a file")
        if own in folders:
            raise _invalid(name, f"is a file, and '{shown(folders[own])}' lies below it")
        files[own] = name
    return paths


def _path(name: str) -> PurePosixPath:
    if not name.startswith(PREFIX):
        raise InvalidArgumentError(f"unrecognized load parameter '{shown(name)}'.")
    text = name.removeprefix(PREFIX)
    if not is_text(text):
        raise _invalid(name, "has control characters, or some that are not Unicode")
    windows = PureWindowsPath(text)
    if text.startswith("/") or windows.drive or windows.root:
        raise _invalid(name, "must be a path in the model's directory, not an absolute one")
    if "\\" in text:
        raise _invalid(name, "must have / between its parts, and no \\")
    parts = text.split("/")
    if ".." in parts:
        raise _invalid(name, "must not contain path traversal characters")
    if "" in parts or "." in parts:
        raise _invalid(name, "must be file:<version>/<path>, without empty parts")
    if len(text.encode()) > MAX_PATH_BYTES or any(len(part.encode()) > MAX_COMPONENT_BYTES for part in parts):
        raise _invalid(
            name,
            f"is too long: its parts may have {MAX_COMPONENT_BYTES} bytes each, and all of it {MAX_PATH_BYTES}",
        )
    if len(parts) > MAX_DEPTH:
        raise _invalid(name, f"is too deep: {len(parts)} parts, and {MAX_DEPTH} are the most")
    if len(parts) > 1 and parts[0].isdigit() and not is_version(parts[0]):
        raise _invalid(
            name,
            f"must be file:<version>/<path>: versions are 1, 2 and so on, and '{parts[0]}' is none of them",
        )
    if parts[0].lower() in _CONFIGURATIONS:
        raise _invalid(
            name, "is not read: the parameter 'config' is the configuration that goes with the files"
        )
    return PurePosixPath(*parts)


def _spellings(path: PurePosixPath) -> list[str]:
    """The folders that a path has, and itself, as a file system has them that ignores case and composition."""
    parts = folded(str(path)).split("/")
    return ["/".join(parts[: length + 1]) for length in range(len(parts))]


def shown(name: str) -> str:
    """A client's name as it can stand in a message."""
    text = name if len(name) <= _MOST_SHOWN else f"{name[:_MOST_SHOWN]}..."
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


def _invalid(name: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"load parameter '{shown(name)}' {why}")
