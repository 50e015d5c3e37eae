"""Check where an ONNX file says that its external weights lie, before anything opens them.

ONNX files may name other files that hold their weights. A crafted name reads any file of the machine into the
model (CVE-2022-25882, CVE-2024-27318, GHSA-cmw6-hcpp-c6jp). So a name must be relative, without `..`, and
lead through plain directories to a regular file with one link. The names are found by walking the protobuf
encoding, field numbers as in the public onnx.proto3, which needs no other package.
"""

import mmap
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from kserve_v2.errors import InvalidArgumentError

# Which fields of a message lead to tensors, and to what kind of message.
_BRANCHES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse_tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse_tensor",
        23: "sparse_tensor",
    },
    "sparse_tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external_data"},
}
_KEY, _VALUE = 1, 2
_LOCATION = b"location"


def check_external_data(file: Path) -> None:
    """Raise InvalidArgumentError if `file` refers to weights outside its directory, or to something that is
    no plain file."""
    for location in sorted(external_locations(file)):
        if problem := _problem(file.parent, location):
            raise InvalidArgumentError(f"{file.name}: external data '{location}' {problem}")


def external_locations(file: Path) -> set[str]:
    """The locations that the tensors of an ONNX file name. Raises InvalidArgumentError if it is no
    protobuf."""
    if file.stat().st_size == 0:
        raise InvalidArgumentError(f"{file.name} is empty")
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(_LOCATION) < 0:  # most files have no external data, and this saves the walk
            return set()
        try:
            return {location.decode() for location in _locations(data)}
        except (IndexError, UnicodeDecodeError) as error:
            raise InvalidArgumentError(f"{file.name} is no valid ONNX file") from error


def _locations(data: mmap.mmap) -> Iterator[bytes]:
    stack = [("model", 0, len(data))]
    while stack:
        kind, start, end = stack.pop()
        if kind == "external_data":
            entry = {number: data[first:last] for number, first, last in _fields(data, start, end)}
            if entry.get(_KEY) == _LOCATION:
                yield entry.get(_VALUE, b"")
        else:
            branches = _BRANCHES[kind]
            stack += [
                (branches[n], first, last) for n, first, last in _fields(data, start, end) if n in branches
            ]


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field of a message. Raises IndexError where it is
    malformed."""
    while start < end:
        tag, start = _varint(data, start)
        match tag & 7:
            case 0:
                _, start = _varint(data, start)
            case 1:
                start += 8
            case 2:
                length, start = _varint(data, start)
                if start + length > end:
                    raise IndexError("a field is longer than its message")
                yield tag >> 3, start, start + length
                start += length
            case 5:
                start += 4
            case _:
                raise IndexError("unknown wire type")


def _varint(data: mmap.mmap, start: int) -> tuple[int, int]:
    """The variable-length integer at `start`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7


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
