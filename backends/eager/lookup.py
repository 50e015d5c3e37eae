"""What is looked up by name while a handler runs: the classes in a pickle, the modules that `importlib` is asked for.

Such a name comes from a file or a variable, to code that is not the model's: C code, torch, joblib. That code cannot
tell whose `preprocess` is meant, and neither can `sys.modules`, which has one place for each name. So nothing of a
handler is ever put there under its bare name. Instead, these functions of the standard library ask here first who is
asking: the model whose code is innermost on the stack; or if there is none, the one that the thread, the task or the
call in a pool of threads was started for. For it, what lies beside its handler goes first. All others get what they
would have got before.

Nothing is unpickled here: whether a handler may do that is its author's decision, and that of whoever deploys it.
"""

import importlib
import importlib.util
import io
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from importlib.machinery import ModuleSpec
from typing import Any

from .imports import PREFIX, SPACES, ModuleSpace, space_of

_package: ContextVar[str] = ContextVar("handler_package", default="")

_python_unpickler: Any = pickle._Unpickler
_find_class = _python_unpickler.find_class
_import_module = importlib.import_module
_find_spec = importlib.util.find_spec
_submit = ThreadPoolExecutor.submit


def work_for(space: ModuleSpace) -> None:
    """From now on, what the thread or task that calls this looks up is for this load."""
    _package.set(space.package)


def asking() -> ModuleSpace | None:
    """The load whose code is running, or for which it runs."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        if space := space_of(frame.f_globals.get("__name__")):
            return space
        frame = frame.f_back
    return SPACES.get(_package.get())


def _module_with(module: str, name: str) -> str:
    """The full name of the module that a pickle means by `module`, of which it wants `name`."""
    space = asking()
    if space is None:
        return module
    if module == "__main__" and hasattr(sys.modules.get(space.handler), name.partition(".")[0]):
        return (
            space.handler
        )  # to the model, its file is what a script was to the program that wrote the pickle
    top, _, rest = module.partition(".")
    if top.startswith(PREFIX):
        return f"{space.package}.{rest}"  # written down by this load or an earlier one; other models' are not found
    return space.qualified(module)


def _explained(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The error, with what to do about it where the name would have been found for a model."""
    name = error.name or ""
    if asking() is not None or not any(space.holds(name) for space in list(SPACES.values())):
        return error
    return ModuleNotFoundError(
        f"{error}: it lies beside a handler, but nothing here says which model asks for it. Look it up in a "
        "function of the model's own code",
        name=name,
    )


class Unpickler(pickle.Unpickler):
    """As the standard library's, but finds the modules of the model that asks."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Find a global, in the modules of the model first."""
        module = _module_with(module_name, global_name)
        try:
            return super().find_class(module, global_name)
        except ModuleNotFoundError as error:
            raise _explained(error) from None


def load(
    file: Any,
    *,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
    buffers: Iterable[Any] | None = (),
) -> Any:
    """As `pickle.load`, with the modules of the model that asks."""
    return Unpickler(file, fix_imports=fix_imports, encoding=encoding, errors=errors, buffers=buffers).load()


def loads(data: Any, /, **options: Any) -> Any:
    """As `pickle.loads`, with the modules of the model that asks."""
    return load(io.BytesIO(data if isinstance(data, bytes) else memoryview(data)), **options)


def find_class(self: Any, module: str, name: str) -> Any:
    """The same for `pickle._Unpickler`, which joblib and pandas build upon."""
    try:
        return _find_class(self, _module_with(module, name), name)
    except ModuleNotFoundError as error:
        raise _explained(error) from None


def import_module(name: str, package: str | None = None) -> types.ModuleType:
    """As `importlib.import_module`, with the modules of the model that asks."""
    space = None if name.startswith(".") else asking()
    return _import_module(space.qualified(name) if space else name, package)


def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
    """As `importlib.util.find_spec`, with the modules of the model that asks."""
    space = None if name.startswith(".") else asking()
    return _find_spec(space.qualified(name) if space else name, package)


def submit(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    """As `ThreadPoolExecutor.submit`; the thread works for the model that has called this."""
    space = asking()
    if space is None:
        return _submit(self, fn, *args, **kwargs)
    return _submit(self, _call_for, space.package, fn, *args, **kwargs)


def _call_for(package: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    token = _package.set(package)
    try:
        return fn(*args, **kwargs)
    finally:
        _package.reset(token)


# By the name under which other modules may have taken them over before.
_REPLACED: dict[str, tuple[Any, Any]] = {
    "load": (pickle.load, load),
    "loads": (pickle.loads, loads),
    "Unpickler": (pickle.Unpickler, Unpickler),
    "import_module": (_import_module, import_module),
    "find_spec": (_find_spec, find_spec),
}

_installing = threading.Lock()


def install() -> None:
    """Put these functions in the place of the standard library's, once and for good: also where somebody has imported
    them by name already, as cloudpickle does.
    """
    standard: Any = pickle
    with _installing:
        if standard.load is load:
            return
        for module in list(sys.modules.values()):
            names = getattr(module, "__dict__", {})
            if module is sys.modules[__name__]:
                continue
            for name, (theirs, ours) in _REPLACED.items():
                if names.get(name) is theirs:
                    setattr(module, name, ours)
        _python_unpickler.find_class = find_class
        pool: Any = ThreadPoolExecutor
        pool.submit = submit
