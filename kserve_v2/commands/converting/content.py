"""What lies in an archive, as far as it can be read without running anything."""

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kserve_v2_child.torchserve.manifest import FOLDER, Manifest

from kserve_v2.commands.command import CommandError
from kserve_v2.handlers.parsing import parse_module
from kserve_v2.regular_files import read_regular

CLASS_NAMES = "index_to_name.json"
REQUIREMENTS = "requirements.txt"

_MOST_BYTES = 64 * 1024 * 1024
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class Content:
    """`source`: the archive that somebody has; `folder`: where its files lie unpacked. `settings`: its
    `model-config.yaml`. `names`: of its classes, by number; None without an `index_to_name.json`.
    """

    source: Path
    folder: Path
    manifest: Manifest
    settings: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] | None = None

    @property
    def version(self) -> int:
        """The version that it becomes: a whole number."""
        number = self.manifest.model_version.strip().removesuffix(".0")
        return int(number) if _VERSION.fullmatch(number) else 1

    @property
    def handler(self) -> str:
        """The handler's file or name, without that of a function."""
        return str(self.manifest.handler).partition(":")[0]

    def whole(self) -> dict[str, Path]:
        """All files, by path in the archive."""
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in paths}

    def files(self) -> dict[str, Path]:
        """Those that belong to the model: all but what only TorchServe reads."""
        own = {self.manifest.config_file, self.manifest.requirements_file}
        return {
            name: path
            for name, path in self.whole().items()
            if name not in own and name.split("/")[0] != FOLDER
        }


def read_names(folder: Path) -> dict[str, str] | None:
    """The names of classes, by number, in any of the forms that TorchServe reads. Raises CommandError."""
    file = folder / CLASS_NAMES
    if not file.is_file():
        return None
    try:
        found = json.loads(read_regular(file, _MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{CLASS_NAMES} is not JSON: {error}") from None
    names = found.get("object_type_names") if isinstance(found, dict) else None
    if isinstance(names, list):
        found = {str(number): name for number, name in enumerate(names)}
    if not isinstance(found, dict):
        raise CommandError(f"{CLASS_NAMES}: expected an object, from a class's number to its name")
    named = {key: value[-1] if isinstance(value, list) and value else value for key, value in found.items()}
    for key, value in named.items():
        if not isinstance(value, str):
            raise CommandError(f"{CLASS_NAMES}: expected a name for class {key}, got {value!r}")
    return named


def classes_of(code: Path) -> list[str]:
    """The classes that a Python file defines, in the order of the file. Empty for one that is not Python."""
    return [node.name for node in _nodes(code) if isinstance(node, ast.ClassDef)]


def functions_of(code: Path, of_class: str = "") -> list[str]:
    """The functions that a Python file defines, or the methods of one of its classes."""
    nodes = _nodes(code)
    if of_class:
        nodes = [
            each
            for node in nodes
            if isinstance(node, ast.ClassDef) and node.name == of_class
            for each in node.body
        ]
    return [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def imports_of(code: Path) -> set[str]:
    """The modules that a Python file imports, at whatever place, without those within packages."""
    found: set[str] = set()
    for outer in _nodes(code):
        for node in ast.walk(outer):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def _nodes(code: Path) -> list[ast.stmt]:
    try:
        return parse_module(read_regular(code, _MOST_BYTES)).body
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
