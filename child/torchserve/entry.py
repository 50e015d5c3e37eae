"""From what a manifest calls the handler to what is called for a batch: as TorchServe finds it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
import types
from pathlib import Path
from typing import Any, Callable

from ..answers import ModelError
from .names import is_own, module_of, problem

Entry = Callable[[Any, Any], Any]

BUILT_IN = "ts.torch_handler"


def find_entry(handler: str, folder: Path, context: Any) -> Entry:
    """What handles batches, initialized. `handler`: a module's file or name, with `:function` if it is not found by
    itself. Raises ModelError, and what the handler's code raises.
    """
    if why := problem(handler, folder):
        raise ModelError(why)
    function = handler.partition(":")[2]
    module = _module(module_of(handler), folder)
    name = function or "handle"
    if hasattr(module, name):
        return _function(getattr(module, name), context)
    if function:
        raise ModelError(f"handler '{handler}': {module.__name__}.py has no function {function}")
    return _method(_only_class(module), context)


def _module(name: str, folder: Path) -> types.ModuleType:
    if not is_own(name, folder):
        return importlib.import_module(f"{BUILT_IN}.{name}")
    if name not in sys.modules:
        return importlib.import_module(name)
    # One of the same name has been imported for something else.
    return _import_file(name, folder / f"{name}.py")


def _import_file(name: str, file: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ModelError(f"handler '{name}': {file.name} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _function(function: Any, context: Any) -> Entry:
    # Once without data, for what it wants to load.
    function(None, context)
    entry: Entry = function
    return entry


def _only_class(module: types.ModuleType) -> Any:
    own = [
        each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__
    ]
    if len(own) != 1:
        found = ", ".join(each.__name__ for each in own) or "none"
        raise ModelError(
            f"Expected only one class in custom service code or a function entry point; {module.__name__} has {found}"
        )
    return own[0]


def _method(handler_class: Any, context: Any) -> Entry:
    made = handler_class()
    if not hasattr(made, "handle"):
        raise ModelError(f"class {handler_class.__name__} has no method handle(data, context)")
    if hasattr(made, "initialize"):
        made.initialize(context)
    entry: Entry = made.handle
    return entry


def load_error(error: BaseException, folder: Path) -> BaseException:
    """What is told of an exception while a model is loaded: file and line, type and text."""
    if isinstance(error, ModelError):
        return error
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return ModelError(f"{_place(error, folder)}{type(error).__name__}: {text}".rstrip(": "))


def _place(error: BaseException, folder: Path) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if folder in Path(frame.filename).parents]
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}: " if own else ""
