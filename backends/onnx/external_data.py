"""Find the files that hold the external weights of an ONNX file, before anything opens them.

An ONNX file may name other files. A crafted name reads any file of the machine into the model (CVE-2022-25882,
CVE-2024-27318, GHSA-cmw6-hcpp-c6jp). So a name must be relative, without `..`. The links that it passes are somebody
else's: who lays out the repository, be it a person, a ConfigMap, or a cache of files by their content, such as Hugging
Face's and DVC's. They are followed, as those of models and versions are, but only to places that this one file could
have been put in: into the repository, or to where the model file itself really lies. Hard links lead nowhere.
"""

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from kserve_v2.backend import ModelSource
from kserve_v2.errors import InvalidArgumentError

# Stores with many files have a directory for each beginning of a checksum.
_SHARD = re.compile(r"[0-9a-f]{2}")


def find_external_data(source: ModelSource, file: Path, locations: Iterable[str]) -> dict[str, Path]:
    """Of the `locations` that a model file names those that ONNX Runtime would not find, or not accept, by itself, and
    where they are: it looks in the directory of the file, as it is named and as it really is.

    Raises InvalidArgumentError for one that must not be opened, or is no file.
    """
    own = [file.parent.resolve(), file.resolve().parent]
    allowed = [source.model_path.parent.resolve(), source.model_path.resolve(), *own]
    if _SHARD.fullmatch(own[1].name):
        allowed.append(own[1].parent)
    elsewhere: dict[str, Path] = {}
    for location in sorted(locations):
        _check_name(file, location)
        beside = os.path.exists(file.parent / location)  # noqa: PTH110 - which raises nothing
        path = Path(os.path.realpath((file.parent if beside else own[1]) / location))
        if problem := _problem(path, allowed):
            raise InvalidArgumentError(f"{file.name}: external data '{location}' {problem}")
        if not beside or not any(map(path.is_relative_to, own)):
            elsewhere[location] = path
    return elsewhere


def _check_name(file: Path, location: str) -> None:
    parts = PureWindowsPath(location).parts
    problem = None
    if not parts or "\0" in location:
        problem = "is no file name"
    elif PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor or ".." in parts:
        problem = "must be a relative path without '..'"
    if problem:
        raise InvalidArgumentError(f"{file.name}: external data '{location}' {problem}")


def _problem(path: Path, allowed: Iterable[Path]) -> str | None:
    """What is wrong with the file at `path`, from which all links have been resolved."""
    if not any(map(path.is_relative_to, allowed)):
        return (
            "is a link that leads out of the repository, and not to where the model file itself lies; "
            "a copy or a hard link will do"
        )
    try:
        status = path.stat()
    except OSError:
        return "does not exist beside it"
    return None if stat.S_ISREG(status.st_mode) else "is no regular file"
