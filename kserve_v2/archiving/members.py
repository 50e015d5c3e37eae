"""What goes into an archive: files by the names that they get there."""

import filecmp
import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from kserve_v2.errors import InvalidArgumentError

_WILDCARDS = "*?["
# What systems and interpreters leave behind. Folders that begin with a dot are left out too, files are not.
_UNWANTED = frozenset({"__MACOSX", "__pycache__"})


class Origin(NamedTuple):
    """A file on disk, and the option that asked for it."""

    path: Path
    option: str


class Members:
    """Names in the archive, each with one file. All lie flat, but for what comes from folders within folders."""

    def __init__(self, reserved: str) -> None:
        """`reserved`: the folder in the archive that is written by whoever makes it."""
        self._reserved = reserved
        self._origins: dict[str, Origin] = {}

    @property
    def files(self) -> Mapping[str, Path]:
        """In the order of their names."""
        return {name: self._origins[name].path for name in sorted(self._origins)}

    def add(self, path: Path, option: str, name: str = "") -> None:
        """One file, by its own name unless it gets another. Raises InvalidArgumentError."""
        if not path.is_file():
            what = "is no file" if path.exists() else "does not exist"
            raise InvalidArgumentError(f"{option}: {path} {what}")
        name = name or path.name
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(f"{option}: the name of {path!s} is not in UTF-8") from None
        there = self._origins.get(name)
        if there is not None and not _same(there.path, path):
            raise InvalidArgumentError(
                f"{option}: {path} would be {name} in the archive, and so is {there.path} of {there.option}: files lie "
                "flat there, and one would be lost; rename one, or put both into folders"
            )
        self._origins.setdefault(name, Origin(path, option))

    def add_extra(self, texts: Iterable[str], option: str) -> list[str]:
        """Files, folders and patterns. A folder is emptied into the archive; those in it keep their names. Returns the
        patterns that fit nothing. Raises InvalidArgumentError.
        """
        unmatched = []
        for text in texts:
            if not text.strip():
                continue
            paths = _matches(text.strip())
            if not paths:
                if not any(sign in text for sign in _WILDCARDS):
                    raise InvalidArgumentError(f"{option}: {text.strip()} does not exist")
                unmatched.append(text.strip())
            for path in paths:
                if path.is_dir():
                    self._add_folder(path, option)
                else:
                    self.add(path, option)
        return unmatched

    def _add_folder(self, folder: Path, option: str) -> None:
        for path in _walk(folder, ()):
            name = path.relative_to(folder).as_posix()
            # Of a folder that was an archive itself.
            if name.split("/")[0] != self._reserved:
                self.add(path, option, name)


def split_list(value: str | Iterable[str | os.PathLike[str]]) -> list[str]:
    """A list of paths: separated by commas, or already one."""
    return value.split(",") if isinstance(value, str) else [os.fspath(each) for each in value]


def _matches(text: str) -> list[Path]:
    """What a path or a pattern stands for. A name with brackets in it is no pattern if there is such a file."""
    if os.path.lexists(text):
        return [Path(text)]
    return [Path(each) for each in sorted(glob.glob(text))]  # noqa: PTH207 - it may be absolute


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """The files in a folder and in those below. Links are followed; `above`: the folders that this one lies in."""
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise InvalidArgumentError(f"{folder} is a link to a folder that it lies in itself")
    for child in sorted(folder.iterdir()):
        if not child.is_dir():
            yield child
        elif child.name not in _UNWANTED and not child.name.startswith("."):
            yield from _walk(child, (*above, identity))


def _same(one: Path, other: Path) -> bool:
    return one.samefile(other) or filecmp.cmp(one, other, shallow=False)
