"""Names of files that others have chosen, as paths below a directory of ours: what could lead outside of it, or be one
file for two names, is refused. Pure.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.file_names import folded, is_text

_MAX_COMPONENT_BYTES = 255
_MAX_NAME_BYTES = 1024


def check_name(name: str) -> None:
    """Raise InvalidArgumentError unless `name` is that of a file, or a directory with a slash behind it, that lies
    below wherever it is put.
    """
    if problem := name_problem(name):
        raise InvalidArgumentError(f"the name {_shown(name)} {problem}")


def name_problem(name: str) -> str | None:
    """What is wrong with a relative name with slashes; None for nothing."""
    if not is_text(name):
        return "has control characters, or is not UTF-8"
    parts = name.removesuffix("/").removeprefix("./").split("/")
    longest = max(len(part.encode()) for part in parts)
    problems = {
        "has a backslash": "\\" in name,
        "is absolute": name.startswith("/"),
        "leads up with '..'": ".." in parts,
        "has an empty part, or the part '.'": "" in parts or "." in parts,
        f"is too long: at most {_MAX_NAME_BYTES} bytes, and {_MAX_COMPONENT_BYTES} in each part": (
            len(name.encode()) > _MAX_NAME_BYTES or longest > _MAX_COMPONENT_BYTES
        ),
    }
    return next((problem for problem, found in problems.items() if found), None)


def check_names(files: Iterable[str], directories: Iterable[str] = ()) -> None:
    """Raise InvalidArgumentError unless all of these can lie beside each other, on any file system: each name is right,
    none is twice there but for capitals or the way in which accents are written, and no file is a directory too.
    """
    spelt: dict[str, str] = {}
    used_as_file: dict[str, str] = {}
    used_as_directory: dict[str, str] = {}
    for name, is_file in [*((each, True) for each in files), *((each, False) for each in directories)]:
        check_name(name)
        path = PurePosixPath(name)
        for each in (path, *path.parents[:-1]):
            text, key = str(each), folded(str(each))
            if spelt.setdefault(key, text) != text:
                raise InvalidArgumentError(
                    f"the names {_shown(spelt[key])} and {_shown(text)} differ in their spelling alone"
                )
            kind = used_as_file if is_file and each is path else used_as_directory
            kind[key] = text
    if both := used_as_file.keys() & used_as_directory.keys():
        name = used_as_file[min(both)]
        raise InvalidArgumentError(f"the name {_shown(name)} is that of a file and of a directory")


def _shown(name: str) -> str:
    """The name as a message may have it."""
    return ascii(name) if name_problem(name) else f"'{name}'"
