"""Expressions of sizes in a program of `torch.export`, as sympy writes them in two ways (`2*s77`, `Mul(Integer(2),
Symbol('s77', positive=True))`), and conditions on sizes, as Python has them.

They are parsed, never evaluated as Python: what is in them apart from numbers, sizes and a few functions is refused.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from kserve_v2.handlers.parsing import parse_expression

SYMBOL = re.compile(r"[a-z]{1,4}\d+", re.ASCII)
"""The name of a size that is not known before the program runs, such as `s77` or `u0`."""

Sizes = Mapping[str, int]
Evaluate = Callable[[Sizes], Any]

_MAX_LENGTH = 4096
_NUMBER = re.compile(r"-?\d+(\.\d*)?(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
# What torch computes sizes with. Nothing else is called.
_FUNCTIONS = frozenset({
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "FloorDiv", "ModularIndexing", "Where", "PythonMod",
    "Mod", "CleanDiv", "CeilToInt", "FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow",
    "FloatTrueDiv", "IntTrueDiv", "IsNonOverlappingAndDenseIndicator", "TruncToFloat", "TruncToInt", "RoundToInt",
    "RoundDecimal", "ToFloat", "Identity", "Max", "Min", "Abs", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not",
    "Equality", "Unequality", "StrictGreaterThan", "GreaterThan", "StrictLessThan", "LessThan", "floor", "ceiling",
    "sqrt",
})  # fmt: skip
_CONSTANTS = frozenset({"oo", "int_oo", "true", "false", "nan", "zoo"})
_NODES = (
    ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.operator, ast.unaryop, ast.cmpop, ast.boolop, ast.expr_context,
)  # fmt: skip


def check_expression(text: str) -> None:
    """Raise ValueError for what is no expression of sizes."""
    _check(_parsed(text))


def readable(text: str) -> str:
    """An expression as a person writes it. Raises ValueError for what is no expression of sizes."""
    tree = _parsed(text)
    _check(tree)
    return ast.unparse(_Readable().visit(tree))


def _parsed(text: str) -> ast.expr:
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"an expression of {len(text)} characters")
    try:
        tree = parse_expression(text.strip())
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise ValueError(f"{text[:80]!r} is no expression") from error
    return tree.body


def _check(node: ast.AST) -> None:
    match node:
        case ast.Call(
            func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(symbol))], keywords=assumptions
        ):
            known = all(isinstance(each.value, ast.Constant) for each in assumptions)
            if not (SYMBOL.fullmatch(symbol) and known):
                raise ValueError(f"{symbol[:80]!r} is no size")
        case ast.Call(func=ast.Name(id="Float"), args=[ast.Constant(value=str(number)), *_]):
            if not _NUMBER.fullmatch(number):
                raise ValueError(f"{number[:80]!r} is no number")
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]) if function in _FUNCTIONS:
            for argument in arguments:
                _check(argument)
        case ast.Name(id=name):
            if not SYMBOL.fullmatch(name) and name not in _CONSTANTS:
                raise ValueError(f"{name[:80]!r} is no size")
        case ast.Constant(value=int() | float()):
            pass
        case _ if isinstance(node, _NODES):
            for part in ast.iter_child_nodes(node):
                _check(part)
        case _:
            raise ValueError(f"{ast.unparse(node)[:80]!r} is no expression of sizes")


_INFIX: Mapping[str, ast.operator] = {
    "Add": ast.Add(), "Mul": ast.Mult(), "Pow": ast.Pow(), "FloorDiv": ast.FloorDiv(), "CleanDiv": ast.FloorDiv(),
    "Mod": ast.Mod(), "PythonMod": ast.Mod(), "PowByNatural": ast.Pow(),
}  # fmt: skip


class _Readable(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.expr:
        match node:
            case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(symbol))]):
                return ast.Name(symbol)
            case ast.Call(func=ast.Name(id="Integer"), args=[number]):
                return number
        parts = [self.visit(part) for part in node.args]
        if isinstance(node.func, ast.Name) and node.func.id in _INFIX and len(parts) > 1:
            infix = _INFIX[node.func.id]
            joined: ast.expr = reduce(lambda left, right: ast.BinOp(left, infix, right), parts)
            return joined
        return ast.Call(node.func, parts, [])


# --- evaluation -------------------------------------------------------------------------------------------------------

_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Div: operator.truediv, ast.Pow: operator.pow,
}  # fmt: skip
_COMPARISONS: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_CALLS: Mapping[str, Callable[..., Any]] = {
    "max": max, "min": min, "Max": max, "Min": min, "abs": abs, "Abs": abs, "int": int, "float": float,
    "CeilDiv": lambda one, other: -(-one // other), "Eq": operator.eq, "Ne": operator.ne,
    "ModularIndexing": lambda base, divisor, modulus: base // divisor % modulus,
}  # fmt: skip


def compiled(node: ast.expr, symbols: set[str]) -> Evaluate:  # noqa: PLR0911 - one for each kind
    """A function for an expression or a condition, which may raise ArithmeticError. Its sizes are added to `symbols`.

    Raises ValueError for one of another kind.
    """
    match node:
        case ast.Constant(value=int() | float() as number):
            return lambda _: number
        case ast.Name(id=symbol):
            symbols.add(symbol)
            return lambda sizes: sizes[symbol]
        case ast.UnaryOp(op=ast.USub() | ast.Not() as op, operand=operand):
            inner = compiled(operand, symbols)
            return (
                (lambda sizes: -inner(sizes))
                if isinstance(op, ast.USub)
                else (lambda sizes: not inner(sizes))
            )
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            apply, one, other = _BINARY[type(op)], compiled(left, symbols), compiled(right, symbols)
            return lambda sizes: apply(one(sizes), other(sizes))
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARISONS for op in ops):
            terms = [compiled(term, symbols) for term in (left, *rest)]
            steps = [*zip([_COMPARISONS[type(op)] for op in ops], terms, terms[1:], strict=False)]
            return lambda sizes: all(holds(one(sizes), other(sizes)) for holds, one, other in steps)
        case ast.BoolOp(op=op, values=values):
            parts = [compiled(value, symbols) for value in values]
            over = all if isinstance(op, ast.And) else any
            return lambda sizes: over(part(sizes) for part in parts)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _CALLS and arguments:
            call, parts = _CALLS[name], [compiled(argument, symbols) for argument in arguments]
            return lambda sizes: call(*(part(sizes) for part in parts))
    raise ValueError(f"{ast.unparse(node)!r} cannot be computed")


def expression(text: str) -> tuple[Evaluate, set[str]]:
    """A function for an expression in its readable form, and the sizes in it. Raises ValueError if it has none."""
    symbols: set[str] = set()
    return compiled(_parsed(text), symbols), symbols


def condition(text: str, name_of: Callable[[ast.expr], str | None]) -> tuple[Evaluate, set[str]]:
    """A function for a condition, and the names in it: `name_of` says which parts of it stand for a size.

    Raises ValueError where it has none.
    """
    tree = _Named(name_of).visit(_parsed(text))
    symbols: set[str] = set()
    return compiled(tree, symbols), symbols


class _Named(ast.NodeTransformer):
    def __init__(self, name_of: Callable[[ast.expr], str | None]) -> None:
        self._name_of = name_of

    def visit(self, node: ast.AST) -> Any:
        name = self._name_of(node) if isinstance(node, ast.expr) else None
        return ast.Name(name) if name else super().visit(node)
