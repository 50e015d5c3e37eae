"""Check where an ONNX file says that its external weights lie, before anything opens them.

ONNX files may name other files that hold their weights. A crafted name reads any file of the machine into the
model (CVE-2022-25882, CVE-2024-27318, GHSA-cmw6-hcpp-c6jp). So a name must be relative, without `..`, and
lead through plain directories to a regular file with one link.
"""

import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from kserve_v2.errors import InvalidArgumentError


def check_external_data(file: Path, locations: Iterable[str]) -> None:
    """Raise InvalidArgumentError if one of the `locations` that `file` names is outside its directory, or is no plain
    file.
    """
    for location in sorted(locations):
        if problem := _problem(file.parent, location):
            raise InvalidArgumentError(f"{file.name}: external data '{location}' {problem}")


def _problem(directory: Path, location: str) -> str | None:
    """What is wrong with a location relative to `directory`."""
    parts = PureWindowsPath(location).parts
    if not parts or "\0" in location:
        return "is no file name"
    if PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor or ".." in parts:
        return "must be a relative path without '..'"
    path = directory
    for part in PurePosixPath(location).parts:
        path /= part
        try:
            status = path.lstat()
        except OSError:
            return "does not exist beside it"
        if stat.S_ISLNK(status.st_mode):
            return "must not be, or go through, a symbolic link"
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        return "must be a regular file with a single link"
    return None
