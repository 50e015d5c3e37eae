"""Which interface a Python file of a model has: read from its text, not by running it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.handlers.parsing import parse_module

TRITON_CLASS = "TritonPythonModel"
HANDLER_CLASS = "Model"
_CLASS = re.compile(rf"^class\s+{TRITON_CLASS}\b".encode(), re.MULTILINE)
_TRITON_UTILS = "triton_python_backend_utils"


def is_triton_model(file: Path) -> bool:
    """Whether a file defines, or imports, a `TritonPythonModel`. One that cannot be read is none: whoever imports it
    says why. So does whoever imports one that cannot be parsed, unless that has a newer Python, in an environment of
    the model's own: of such a file the class is looked for in the text.

    Raises InvalidArgumentError for a file that could be meant either way, and for one that lacks the class.
    """
    try:
        text = file.read_bytes()
        tree = parse_module(text)
    except SyntaxError:
        return _CLASS.search(text) is not None
    except (OSError, ValueError):
        return False
    names = list(_names(tree.body))
    if TRITON_CLASS not in names:
        if _TRITON_UTILS not in names or HANDLER_CLASS in names:
            return False
        if "*" in names:
            return True
        raise InvalidArgumentError(
            f"{file.name} imports {_TRITON_UTILS}, but has no class {TRITON_CLASS}: module "
            f"'{file.parent.name}.{file.stem}' has no attribute '{TRITON_CLASS}'"
        )
    if HANDLER_CLASS in names:
        raise InvalidArgumentError(
            f"{file.name} has a class {TRITON_CLASS}, as Triton's Python models have, and a class {HANDLER_CLASS}, as "
            "handlers have: which one is to be served? Rename the other one"
        )
    if len(_classes(tree.body)) > 1:
        raise InvalidArgumentError(
            f"{file.name} has more than one class {TRITON_CLASS}: which one is to be served?"
        )
    return True


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """What a module has on its own level, also where that depends on something, and from where: names of classes, of
    variables, and of what is imported and its modules.
    """
    for node in body:
        match node:
            case ast.ClassDef(name=name):
                yield name
            case ast.Import(names=aliases):
                yield from (name for alias in aliases for name in {alias.asname or alias.name, alias.name})
            case ast.ImportFrom(module=module, names=aliases):
                yield module or ""
                yield from (alias.asname or alias.name for alias in aliases)
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.If(body=inner, orelse=other) | ast.Try(body=inner, orelse=other):
                yield from _names([*inner, *other])
                if isinstance(node, ast.Try):
                    yield from _names([each for handler in node.handlers for each in handler.body])


def _classes(body: list[ast.stmt]) -> list[ast.ClassDef]:
    return [node for node in body if isinstance(node, ast.ClassDef) and node.name == TRITON_CLASS]
