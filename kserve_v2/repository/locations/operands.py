"""What a person names to have it served: a repository, a model's folder, a model's file, a handler, a class. What each
is, and what it is called, is decided by pure functions of what lies there.
"""

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePath
from typing import Literal

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.net.repository_url import is_archive
from kserve_v2.repository.locations import flat
from kserve_v2.repository.locations.mlserver import settings_folders
from kserve_v2.repository.reading.foreign_files import foreign_advice
from kserve_v2.repository.reading.layout import (
    ARCHIVED,
    CONFIG,
    HANDLER,
    has_own_settings,
    is_hidden,
    is_model_file,
    is_torchserve_archive,
    is_version,
)

OBJECT = "object://"
"""What stands before the key of a Python object of this process, in the place of a path."""

# By suffix, in the order in which they are offered.
_FILES = (".onnx", ".ort", ".pt2", ".pt", ".pth", ".py", ".mar")
_SERVED = (
    "a repository, a model's folder, a file .onnx, .pt2, .pt, .py or .mar, an archive .zip or .tar.gz, or "
    "package.module:Class"
)
# `package.module:Class`, or `file.py:Class`.
_CLASS = re.compile(r"(?P<module>[^:=]+):(?P<name>[A-Za-z_]\w*)")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_NAME = re.compile(r"[^./\\=\x00-\x1f][^/\\=\x00-\x1f]*")
_NO_PART_OF_NAMES = re.compile(r"[^\w.-]+")
_MOST_SHOWN = 3


class Kind(Enum):
    """What is named."""

    REPOSITORY = "a repository of models"
    VERSIONS = "a model's folder, with folders for its versions"
    FLAT = "a folder with the files of one model"
    FILE = "a model's file"
    HANDLER = "a Python file"
    CLASS = "a class of a module"
    OBJECT = "an object of this process"


@dataclass(frozen=True, slots=True)
class Found:
    """What lies at a path. Of a folder: `files`: the names of its files; `versions`: its folders that are versions;
    `models`: those that look like models; `settings`: whether there are models of MLServer's in it. `similar`: of what
    does not exist, a name beside it that is nearly the same.
    """

    what: Literal["nothing", "file", "folder", "other"] = "nothing"
    files: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    settings: bool = False
    similar: str = ""


@dataclass(frozen=True, slots=True)
class Operand:
    """One thing to be served. `where`: its path, URL or module, or the key of an object. `member`: the class, where one
    is named. `name`: of the model; "" for a repository.
    """

    kind: Kind
    where: str
    name: str = ""
    member: str = ""

    @property
    def path(self) -> Path:
        """Of a folder or file."""
        return Path(self.where)


def read_operands(texts: Iterable[str]) -> list[Operand]:
    """What some operands are. Raises InvalidArgumentError for one that is nothing that can be served, and for two
    models of one name.
    """
    operands = [read_operand(text) for text in texts]
    named: dict[str, Operand] = {}
    for operand in operands:
        if operand.kind is Kind.REPOSITORY:
            continue
        other = named.setdefault(operand.name, operand)
        if other is not operand:
            raise InvalidArgumentError(
                f"{shown(other)} and {shown(operand)} would both be the model '{operand.name}': give one of them a "
                f"name, as in NAME={shown(operand)}"
            )
    return operands


def read_operand(text: str) -> Operand:
    """What one operand is. Raises InvalidArgumentError."""
    name, where = _split_name(text)
    if where.startswith(OBJECT):
        if not name:
            raise InvalidArgumentError(f"{where}: an object has no name of its own: NAME={where}")
        return Operand(Kind.OBJECT, where, name)
    if "://" in where:
        _raise_if_named(name, where)
        return Operand(Kind.REPOSITORY, where)
    found, member = look(Path(where)), ""
    split = _CLASS.fullmatch(where)
    if found.what == "nothing" and split is not None:
        module, member = split["module"], split["name"]
        if not module.endswith(".py"):
            if _MODULE.fullmatch(module) is None:
                raise InvalidArgumentError(
                    f"{where}: '{module}' is no name of a module, such as package.module"
                )
            return Operand(Kind.CLASS, module, name or member, member)
        where, found = module, look(Path(module))
    kind = kind_of(where, found, named=bool(name))
    if kind is Kind.REPOSITORY:
        _raise_if_named(name, where)
        return Operand(kind, where)
    return Operand(kind, where, name or name_of(_without_dots(where), found.what == "file"), member)


def _without_dots(where: str) -> PurePath:
    """The whole path, with names in the place of `.` and `..`; links in it stay."""
    return PurePath(os.path.abspath(where))  # noqa: PTH100 - Path's keeps the dots, or follows links


def shown(operand: Operand) -> str:
    """An operand as it was written, without its name."""
    return f"{operand.where}:{operand.member}" if operand.member else operand.where


def _split_name(text: str) -> tuple[str, str]:
    """`name=path`; a path may have an equals sign, too."""
    name, equals, where = text.partition("=")
    if not equals or Path(text).exists() or "/" in name:
        name, equals, where = "", "", text
    if not where:
        raise InvalidArgumentError(f"{text!r}: expected {_SERVED}")
    if equals:
        check_name(name)
    return name, where


def check_name(name: str) -> None:
    """Raise InvalidArgumentError for what cannot be the name of a model that is given one."""
    if _NAME.fullmatch(name) is None:
        raise InvalidArgumentError(
            f"expected a model's name that a folder could have, without '/', '=' or a dot in front, got {name!r}"
        )


def _raise_if_named(name: str, where: str) -> None:
    if name:
        # What is in those is not known here.
        unseen = "://" in where or is_archive(where)
        kind = f"taken for {Kind.REPOSITORY.value}" if unseen else Kind.REPOSITORY.value
        one = f"; if it is one model, give --model-name {name} in its place" if unseen else ""
        raise InvalidArgumentError(
            f"{name}={where}: {where} is {kind}, which have their names already: leave '{name}=' out{one}"
        )


def name_of(path: PurePath, is_file: bool) -> str:
    """The name of a model that lies there. Raises InvalidArgumentError where none can be made of that of the file."""
    name = _NO_PART_OF_NAMES.sub("_", path.stem if is_file else path.name).strip("._-")
    if not name:
        raise InvalidArgumentError(f"{path}: no name can be made of this: give one, as in NAME={path}")
    return name


def look(path: Path) -> Found:
    """What lies at a path. Looks at names alone. Raises InvalidArgumentError for a folder that cannot be read."""
    try:
        if path.is_dir():
            children = sorted(child for child in path.iterdir() if not is_hidden(child.name))
            return Found(
                "folder",
                files=tuple(child.name for child in children if not child.is_dir() or child.name == ARCHIVED),
                versions=tuple(child.name for child in children if is_version(child.name) and child.is_dir()),
                models=tuple(flat.models_in(path)),
                settings=next(iter(settings_folders(path)), None) is not None,
            )
        if path.exists():
            return Found("file" if path.is_file() else "other")
    except OSError as error:
        raise InvalidArgumentError(f"{path}: cannot be read: {error.strerror}") from None
    return Found(similar=_similar(path))


def _similar(path: Path) -> str:
    try:
        names = [child.name for child in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return str(path.with_name(close[0])) if close else ""


def kind_of(where: str, found: Found, *, named: bool = False) -> Kind:
    """What is served of what lies at a path. `named`: whether the model was given a name. Raises InvalidArgumentError
    for what could be meant in several ways, and for what cannot be served, with what was found and what to do.
    """
    if found.what == "nothing":
        hint = f"did you mean {found.similar}?" if found.similar else f"expected {_SERVED}"
        raise InvalidArgumentError(f"{where} does not exist; {hint}")
    if found.what == "other":
        raise InvalidArgumentError(f"{where} is neither a file nor a folder; expected {_SERVED}")
    return _kind_of_file(where) if found.what == "file" else _kind_of_folder(where, found, named=named)


def _kind_of_file(where: str) -> Kind:
    path = PurePath(where)
    if path.suffix in _FILES or is_torchserve_archive(path.name):
        if path.suffix == ".py" and not path.stem.isidentifier():
            raise InvalidArgumentError(
                f"{where}: a Python file is imported by its name, and '{path.stem}' is none that a module could have: "
                f"rename it to {_NO_PART_OF_NAMES.sub('_', path.stem).replace('-', '_').replace('.', '_')}.py"
            )
        return Kind.HANDLER if path.suffix == ".py" else Kind.FILE
    if path.suffix.lower() in _FILES:
        raise InvalidArgumentError(
            f"{where} is written with capital letters: rename it to *{path.suffix.lower()}"
        )
    if path.name == CONFIG:
        raise InvalidArgumentError(f"{where} is a model's configuration: name its folder, {path.parent}")
    if path.suffix == ".ipynb":
        raise InvalidArgumentError(
            f"{where} is a notebook: call kserve_v2.serve(model, block=False) in it, or write its model's class into a "
            "Python file"
        )
    if is_archive(path.name):
        return Kind.REPOSITORY
    if advice := foreign_advice([path.name]):
        raise InvalidArgumentError(f"{where}: {advice}")
    raise InvalidArgumentError(f"{where} is no model's file; expected {_SERVED}")


def _kind_of_folder(where: str, found: Found, *, named: bool) -> Kind:
    if has_own_settings(found.files):
        return Kind.REPOSITORY
    own = [name for name in found.files if is_model_file(name)]
    of_one = [*([CONFIG] if CONFIG in found.files else []), *own]
    if of_one and found.models:
        raise InvalidArgumentError(
            f"{where} could be one model, because it has {_listed(of_one)}, or a repository, because of the folders "
            f"{_listed(found.models)}, which look like models: name the file or the folders to serve, or give "
            f"--model-repository {where} or, for one model, --model-repository {where} --model-name NAME"
        )
    if found.versions and found.models:
        raise InvalidArgumentError(
            f"{where} has folders that are called like versions, {_listed(found.versions)}, beside folders that look "
            f"like models, {_listed(found.models)}: give --model-repository {where}, or name the models"
        )
    if found.models or found.settings:
        return Kind.REPOSITORY
    if found.versions:
        return Kind.VERSIONS
    if of_one:
        return _kind_of_flat(where, own, found, named=named)
    if any(is_archive(name) for name in found.files):
        return Kind.REPOSITORY
    raise InvalidArgumentError(f"{where}/ {_nothing_served(where, found)}")


def _kind_of_flat(where: str, own: Sequence[str], found: Found, *, named: bool) -> Kind:
    """Of a folder with files of one model, or of several."""
    if is_version(PurePath(where).name) and not named:
        above = PurePath(where).parent
        raise InvalidArgumentError(
            f"{where} is called like a version of a model: serve the folder above it, {above}, or give the model a "
            f"name, as in NAME={where}"
        )
    usual = [name for name in own if PurePath(name).stem == "model"]
    if CONFIG in found.files or HANDLER in own or ARCHIVED in own or len(usual) == 1 or len(own) == 1:
        return Kind.FLAT
    store = f"; or all of them, as in TorchServe, with --torchserve --model-store {where} --models all"
    archives = all(map(is_torchserve_archive, own))
    raise InvalidArgumentError(
        f"{where}/ has the files of several models, {_listed(own)}: name those to serve, as in "
        f"{PurePath(where, own[0])}{store if archives else ''}"
    )


def _nothing_served(where: str, found: Found) -> str:
    if not found.files and not found.versions:
        return (
            f"has nothing in it that could be served; expected {_SERVED}. A repository that is empty yet is given as "
            f"--model-repository {where}"
        )
    if advice := foreign_advice(found.files):
        return f"has no model's file; {advice}"
    if handlers := [name for name in found.files if name.endswith(".py") and not name.startswith("_")]:
        return (
            f"has no model's file, but {_listed(handlers)}: name the handler to serve, as in "
            f"{PurePath(where, handlers[0])}"
        )
    return f"has no model's file, but {_listed(found.files)}; expected {_SERVED}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_SHOWN
    return ", ".join(names[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
