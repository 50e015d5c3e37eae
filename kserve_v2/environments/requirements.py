"""What a requirements.txt asks for, as far as it is the model's content: which environment suits it."""

import codecs
import hashlib
import json
import platform
import re
import shlex
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kserve_v2.errors import InvalidArgumentError

NAME = "requirements.txt"

# Raised when environments of the same requirements are made otherwise.
_FORMAT = 1
_INCLUDED = re.compile(r"(?:-r|-c|--requirement|--constraint)(?:\s*=\s*|\s+|(?<=-[rc]))(?P<file>\S.*)")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
# What installing from a directory, or importing from it, leaves there.
_BUILT = re.compile(r"__pycache__|build|\..*|.*\.egg-info")
_HASH_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Requirements:
    """A requirements.txt that has been read. `digest`: of all that decides what its environment is. `empty`: nothing is
    asked for.
    """

    path: Path
    digest: str
    empty: bool


def find_requirements(version_path: Path, model_path: Path) -> Path | None:
    """The requirements.txt of a version, or else of its model; None if neither has one."""
    return next((path for each in (version_path, model_path) if (path := each / NAME).is_file()), None)


def read_requirements(path: Path) -> Requirements:
    """Read it, with the files that it includes. Raises InvalidArgumentError if one of them cannot be read.

    The digest is of their texts, of local files that they name, and of the interpreter and the machine that install
    them. Where packages come from is not in it: `PIP_INDEX_URL` may change, and what is installed stays.
    """
    reader = _Reader(path)
    reader.read(path)
    identity = [_FORMAT, *_interpreter(), reader.texts, reader.files]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    return Requirements(path, digest, reader.empty)


def _interpreter() -> list[str]:
    """What binary packages and the environment's links depend on."""
    return [
        sys.implementation.cache_tag or sys.implementation.name,
        platform.python_version(),
        sysconfig.get_platform(),
        sys.base_prefix,
    ]


class _Reader:
    """Reads requirement files that name each other."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._seen: set[Path] = set()
        self.texts: list[list[str]] = []
        self.files: list[list[str]] = []
        self.empty = True

    def read(self, path: Path, named_by: str = "") -> None:
        """Read a file, if that has not been done. `named_by`: the name of the one that includes it."""
        if path.resolve() in self._seen:
            return
        self._seen.add(path.resolve())
        try:
            text = _decoded(path.read_bytes())
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is neither UTF-8 nor UTF-16"
            names = f"{named_by} names {path.name}, which" if named_by else path.name
            raise InvalidArgumentError(f"{names} cannot be read: {why}") from error
        self.texts.append([path.name, text])
        for line in logical_lines(text):
            included = _INCLUDED.fullmatch(line)
            if included is None:
                # Options alone, such as --index-url, install nothing.
                self.empty &= line.startswith("-") and not line.startswith(("-e", "--editable"))
                self.files += [self._content(file) for file in self._local_files(line, path)]
            elif "://" not in (file := included["file"].strip("'\"")):
                self.read(path.parent / file, path.name)
            else:
                self.empty = False

    def _local_files(self, line: str, path: Path) -> Iterator[Path]:
        """The files and directories that a line names: wheels, sources, directories of wheels."""
        try:
            words = shlex.split(line)
        except ValueError:
            words = line.split()
        for word in words:
            name = word.partition("=")[2] if word.startswith("--") else word
            name = re.sub(r"^file:(?://)?|\[[\w,\s.-]*\]$", "", name)
            if "/" in name or name == "." or name.endswith((".whl", ".zip", ".gz")):
                # Installers look from where they run, or from where the file is.
                places = [base / name for base in (self._top.parent, path.parent)]
                yield from [place for place in places if place.exists()][:1]

    def _content(self, path: Path) -> list[str]:
        """What stands for the content of a file, or of a directory: of the latter only names, sizes and times, for
        there may be weights in it.
        """
        if path.is_file():
            return [path.name, file_digest(path)]
        entries = []
        for each in sorted(path.rglob("*")):
            status, name = each.lstat(), each.relative_to(path)
            if each.is_file() and not any(map(_BUILT.fullmatch, name.parts)):
                entries += [str(name), str(status.st_size), str(status.st_mtime_ns)]
        return [path.name, *entries]


def _decoded(content: bytes) -> str:
    """A text as pip reads it: PowerShell writes UTF-16. Raises UnicodeError."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig")


def logical_lines(text: str) -> Iterator[str]:
    """The lines of a requirements file without comments, those that end with a backslash joined to the next."""
    for line in text.replace("\\\n", "").splitlines():
        if stripped := _COMMENT.sub("", line).strip():
            yield stripped


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
