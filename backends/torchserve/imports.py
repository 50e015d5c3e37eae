"""What a handler imports as soon as it is imported itself, read without running it."""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from kserve_v2.handlers.parsing import parse_module

_MOST_READ = 1024 * 1024
# Brought along where handlers run.
_OURS = frozenset({"ts"})
# Of the module `sys`: where modules are looked for.
_FINDING = frozenset({"path", "path_hooks", "meta_path", "modules"})


def missing_modules(file: Path, folder: Path) -> list[str]:
    """Packages that a file of a model cannot do without, and that are neither in the model's folder nor installed here.
    Nothing of a file that cannot be read, as whoever runs it is told, nor of one that says itself where to look.
    """
    try:
        with file.open("rb") as stream:
            tree = parse_module(stream.read(_MOST_READ))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    if _looks_elsewhere(tree):
        return []
    names = {name.partition(".")[0] for name in _imported(tree)}
    return sorted(name for name in names if not (_is_in(folder, name) or _is_installed(name)))


def _imported(tree: ast.Module) -> Iterator[str]:
    """By statements of the module itself: those in functions, conditions and attempts may never be reached."""
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            yield from (each.name for each in statement.names)
        elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
            yield statement.module


def _looks_elsewhere(tree: ast.Module) -> bool:
    """Whether it may change where modules are found: only whoever runs it knows then."""
    return any(
        isinstance(each, ast.Attribute)
        and (
            (isinstance(each.value, ast.Name) and each.value.id == "sys" and each.attr in _FINDING)
            or each.attr == "addsitedir"
        )
        for each in ast.walk(tree)
    )


def _is_in(folder: Path, name: str) -> bool:
    # A module may have been compiled.
    return (folder / name).is_dir() or any(folder.glob(f"{name}.*"))


def _is_installed(name: str) -> bool:
    if name in _OURS or name in sys.stdlib_module_names or name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return True
