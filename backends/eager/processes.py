"""Functions and classes of a handler in the processes that it starts itself, by `multiprocessing` or
`ProcessPoolExecutor`.

What is sent there is pickled by name, and a process that was not forked finds none of a handler's modules by theirs. A
pool would not even say so: its worker ends, another one is started in its place, and whoever waits for the result waits
for ever. So what is pickled for another process tells as well where its module lies, and is imported there from that.
"""

import importlib
import multiprocessing
import sys
import threading
import types
from collections.abc import Callable, Sequence
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from . import lookup
from .imports import SPACES, ModuleSpace, space_of


class _Home(NamedTuple):
    """Where a module lies; see `ModuleSpace`."""

    package: str
    file: str
    beside: tuple[str, ...]


_opening = threading.Lock()
_others: Callable[[Any, Any], Any] | None = getattr(ForkingPickler, "reducer_override", None)


def install() -> None:
    """From now on, what is pickled for another process tells where it lies."""
    ForkingPickler.reducer_override = reduced  # type: ignore[method-assign]


def reduced(pickler: Any, each: Any) -> Any:
    """How an object is pickled, if it is a function or a class of a handler's."""
    if isinstance(each, types.FunctionType | type):
        space = space_of(getattr(each, "__module__", None))
        if space is not None and _found(each.__module__, each.__qualname__) is each:
            return _restored, (_home(space, each), each.__module__, each.__qualname__, isinstance(each, type))
    return NotImplemented if _others is None else _others(pickler, each)


def _home(space: ModuleSpace, each: Any) -> _Home:
    if space.given and each.__module__ == space.handler:
        # It would have to import what is made for it in this process.
        raise TypeError(
            f"{each.__qualname__} of {space.file.name} cannot be sent to another process: that has no "
            f"{', '.join(sorted(space.given))}. Put it into a module of its own beside {space.file.name}"
        )
    _, *beside = space.directories
    return _Home(space.package, str(space.file.absolute()), tuple(str(path.absolute()) for path in beside))


def _found(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _restored(home: Sequence[Any], module: str, name: str, is_class: bool) -> Any:
    """The function or class, in whatever process this is."""
    try:
        _open(_Home(*home))
        importlib.import_module(module)
        found = _found(module, name)
        if found is None:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")  # noqa: TRY301 - as what is caught
    except Exception as error:
        if is_class:
            raise
        # A worker that cannot read what it is to do ends without a word. This one fails when it is called.
        return _Missing(f"{type(error).__name__}: {error}")
    return found


def _open(home: _Home) -> None:
    with _opening:
        if home.package in SPACES:
            return
        if multiprocessing.parent_process() is None:
            raise ImportError(f"the model of {home.package} has been unloaded")
        ModuleSpace(home.package, Path(home.file), beside=[Path(path) for path in home.beside]).open()
        lookup.install()
        install()


class _Missing:
    """A function that could not be imported."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, *arguments: Any, **more: Any) -> NoReturn:
        raise ImportError(
            f"a function of a handler cannot be imported in a process that it has started: {self._text}"
        )
