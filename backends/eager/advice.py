"""What authors of handlers may have meant: names that are close to those that have a meaning, and methods as other
servers call them.
"""

import ast
import difflib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kserve_v2.handlers.described import ATTRIBUTES
from kserve_v2.handlers.model import Model
from kserve_v2.handlers.parsing import parse_module

_ALIKE = 0.8

# By method: how others call it.
_METHODS = {
    "__call__": (
        "predict",
        "infer",
        "inference",
        "execute",
        "forward",
        "call",
        "handle",
        "__cal__",
        "_call_",
    ),
    "load": ("initialize", "initialise", "setup", "on_load", "loads"),
    "close": ("finalize", "unload", "teardown", "shutdown", "destroy"),
}
_FORMS = {"load": "load(self, context)", "close": "close(self)"}


def advice_on(handler: type[Any]) -> Iterator[str]:
    """Attributes and methods that mean nothing here, but resemble those that do."""
    own = _own_names(handler)
    unused = [name for name in ATTRIBUTES if name not in own]
    plain = {name.replace("_", ""): name for name in unused}
    for name, value in own.items():
        if callable(value) or isinstance(value, property) or name in ATTRIBUTES or name.startswith("_"):
            continue
        close = difflib.get_close_matches(name.replace("_", "").lower(), plain, 1, _ALIKE)
        if close:
            yield f"Model.{name} means nothing to the server: did you mean {plain[close[0]]}?"
    for method, form in _FORMS.items():
        if method not in own:
            for name in _METHODS[method]:
                if inspect.isfunction(own.get(name)):
                    yield f"Model.{name} is not called by the server: did you mean {form}?"

    if is_torch_module(handler) and not {"inputs", "outputs"} & own.keys():
        called = f"{handler.__name__} is a torch module, and would be called with one dict of all inputs"
        yield f"{called}: {OF_TORCH_MODULES}"


OF_TORCH_MODULES = (
    "export it with torch.export.save, or make it in `load` of a handler's class, and call it in __call__ of that; a "
    "program that has made it serves it with kserve_v2.serve(module, example=…)"
)
"""What to do with a network that is no handler."""


def is_torch_module(thing: object) -> bool:
    """Whether it is a class of torch's modules."""
    nn = getattr(sys.modules.get("torch"), "nn", None)
    return isinstance(thing, type) and nn is not None and issubclass(thing, nn.Module)


def likely_call(handler: type[Any]) -> str:
    """Which method may have been meant to be `__call__`."""
    found = [name for name in _METHODS["__call__"] if inspect.isfunction(_own_names(handler).get(name))]
    return f", but {found[0]}: rename it" if found else ""


def _own_names(handler: type[Any]) -> dict[str, Any]:
    """What the class and its bases define."""
    names: dict[str, Any] = {}
    for base in reversed(handler.__mro__):
        if base not in (object, Model):
            names |= vars(base)
    return names


def methods_problems(handler: type[Any]) -> Iterator[str]:
    """`load` and `close` that cannot be called as the server calls them."""
    for method, form in _FORMS.items():
        given = inspect.getattr_static(handler, method, None)
        if given is None:
            continue
        function = given.__func__ if isinstance(given, staticmethod | classmethod) else given
        if not callable(function):
            yield f"Model.{method}: expected a method {form}, got {given!r}"
            continue
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            yield f"Model.{method}: expected a plain function, got an async one"
            continue
        if inspect.isgeneratorfunction(function):
            yield f"Model.{method}: expected a plain function, got a generator, of which nothing would run"
            continue
        arguments = form.count(",") + (0 if isinstance(given, staticmethod) else 1)
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            continue
        try:
            signature.bind(*[None] * arguments)
        except TypeError:
            yield f"Model.{method}: expected {form}, got {method}{signature}"


def single_class(module: object) -> Iterator[str]:
    """A second class of the same name takes the place of the first one, and nobody is told."""
    try:
        tree = parse_module(Path(str(getattr(module, "__file__", ""))).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    lines = [node.lineno for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Model"]
    if len(lines) > 1:
        yield f"there are several classes named Model, in lines {', '.join(map(str, lines))}: leave one"
