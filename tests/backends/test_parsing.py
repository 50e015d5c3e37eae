"""Code that is parsed while others parse, too."""

import ast
import gc
from typing import Any

import pytest

from kserve_v2.handlers.parsing import parse_expression, parse_module


def test_a_collection_in_which_somebody_else_parses() -> None:
    """It takes place between two nodes of the tree. Up to CPython 3.11.7 and 3.12.1, `ast.parse` itself fails then."""
    left = 3

    def parse_meanwhile(phase: str, info: dict[str, Any]) -> None:
        nonlocal left
        if phase == "start" and left:
            left -= 1
            ast.parse("x = 1")

    before = gc.get_threshold()
    gc.callbacks.append(parse_meanwhile)
    gc.set_threshold(100)
    try:
        tree = parse_module("x = [1, 2]\n" * 500)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(parse_meanwhile)
    assert left == 0 and len(tree.body) == 500


def test_code_that_is_wrong() -> None:
    for wrong in ("def", b"\xff"):
        with pytest.raises(SyntaxError):
            parse_module(wrong)
    with pytest.raises(SyntaxError):
        parse_expression("x = 1")
    assert ast.unparse(parse_expression("1+ 1")) == "1 + 1"
