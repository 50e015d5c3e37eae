"""Which files beside a Python file belong to it: those that it imports, at first or second hand. Read from their text;
nothing is imported for it.
"""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from kserve_v2.handlers.parsing import parse_module

_MOST_FILES = 1000
_LARGEST_BYTES = 4 * 1024 * 1024


def imported_files(file: Path, root: Path) -> tuple[Path, ...]:
    """The Python files below `root` that a file consists of, itself among them, in order. What is found elsewhere, or
    not at all, is passed over, and so is what cannot be read or parsed: whoever imports it says why.
    """
    found: dict[Path, None] = {}
    waiting = [file]
    while waiting and len(found) < _MOST_FILES:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = None
        for name in _imported(path):
            module = _absolute(name, path, root)
            waiting += _files_of(module, root) if module else []
    return tuple(sorted(found))


def _imported(path: Path) -> tuple[tuple[int, str], ...]:
    """The level and name of each import in a file; of `from a import b` it is `a.b`."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return _parsed(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=_MOST_FILES)
def _parsed(path: Path, _changed_ns: int, size: int) -> tuple[tuple[int, str], ...]:
    if size > _LARGEST_BYTES:
        return ()
    try:
        tree = parse_module(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ()
    return tuple(dict.fromkeys(_imports(tree)))


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = f"{node.module}." if node.module else ""
            yield from ((node.level, base + alias.name) for alias in node.names)


def _absolute(name: tuple[int, str], path: Path, root: Path) -> str | None:
    """A module's name as seen from `root`; None for one that lies above it."""
    level, module = name
    if not level:
        return module
    package = path.parent.relative_to(root).parts
    if level > len(package) + 1:
        return None
    return ".".join([*package[: len(package) - level + 1], module])


def _files_of(module: str, root: Path) -> Iterator[Path]:
    """Those of a module, and of the packages that it is in. Its last part may be a name within the module."""
    folder = root
    for part in module.split("."):
        if (file := folder / f"{part}.py").is_file():
            yield file
            return
        folder /= part
        if (file := folder / "__init__.py").is_file():
            yield file
        elif not folder.is_dir():
            return
