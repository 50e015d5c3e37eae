"""Reading the code of handlers, and what they import, without running it, on any thread."""

import ast
from typing import Literal

# CPython counts how deep it is in one place for all threads, up to 3.11.7 and 3.12.1 (gh-106905): parsing fails if a
# collection meanwhile lets somebody else parse. Whoever does it again, as a rule, is not interrupted.
_TRIES = 10


def parse_module(source: bytes | str) -> ast.Module:
    """As `ast.parse`, and raises what that raises for code that is wrong."""
    tree = _parsed(source, "exec")
    assert isinstance(tree, ast.Module)  # noqa: S101 - what the mode says
    return tree


def parse_expression(source: str) -> ast.Expression:
    """The same, for a single expression."""
    tree = _parsed(source, "eval")
    assert isinstance(tree, ast.Expression)  # noqa: S101 - as above
    return tree


def _parsed(source: bytes | str, mode: Literal["exec", "eval"]) -> ast.AST:
    for _ in range(_TRIES - 1):
        try:
            return ast.parse(source, mode=mode)
        except SystemError:
            continue
    return ast.parse(source, mode=mode)
