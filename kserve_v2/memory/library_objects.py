"""Which objects belong to imported libraries: what is reached from their modules, and from the classes they define.

They live as long as the process, and there are many: torch alone has a quarter of a million. What models have made is
not among them, as long as no library keeps it.
"""

import gc
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

# So many are looked at in one go, about a millisecond; then threads that wait for the interpreter get it.
_AT_A_TIME = 250
_PAUSE_S = 0.0005
_nothing = threading.Event()

# As the class itself answers, without asking anything that a metaclass may have put in between.
_namespace_of_class: Callable[[type], dict[str, Any]] = type.__dict__["__dict__"].__get__
_qualname_of_class: Callable[[type], str] = type.__dict__["__qualname__"].__get__
_line_of_class: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_flags_of_class: Callable[[type], int] = type.__dict__["__flags__"].__get__
_MADE_AT_RUN_TIME = 1 << 9  # Py_TPFLAGS_HEAPTYPE


def modules_now(apart: str) -> dict[str, object]:
    """The modules that are imported by now, but for those in packages whose names begin with `apart`."""
    return {
        name: module
        for name, module in sys.modules.copy().items()
        if not name.startswith(apart) and not _is_being_imported(module)
    }


def library_objects(roots: Iterable[object], known: Iterable[object], apart: str) -> dict[int, object]:
    """What the modules `roots` define, by identity. `known`: other modules, whose contents are left out; `apart`: as
    above, and left out as well.

    Takes about a second for torch, on a thread that lets others work meanwhile.
    """
    # Their contents may be anything that the program works with, so nothing is followed through them.
    barred = list(known)
    barred += [module for name, module in sys.modules.copy().items() if name.startswith(apart)]
    outside = {id(each): each for module in barred for each in (module, _namespace(module))}
    seen: dict[int, object] = dict(outside)
    layer = [*roots, object, sys.path_importer_cache]
    seen.update((id(each), each) for each in layer)
    while layer:
        reached: list[object] = []
        for begin in range(0, len(layer), _AT_A_TIME):
            for each in _referents(layer[begin : begin + _AT_A_TIME], apart):
                if id(each) not in seen and (gc.is_tracked(each) or _is_class(each)):
                    seen[id(each)] = each
                    reached.append(each)
            _nothing.wait(_PAUSE_S)
        layer = reached
    for key in outside:
        del seen[key]
    return seen


def _referents(objects: list[object], apart: str) -> Iterable[object]:
    found = gc.get_referents(*objects)
    for each in objects:
        if _is_class(each):
            # Classes written in C tell the collector nothing of what they hold.
            namespace = _namespace_of_class(each)
            found += gc.get_referents(namespace)
            found += namespace.values()
            found += (_line_of_class(each), *weakref.getweakrefs(each))
            if each is not type:
                subclasses: list[type] = type.__subclasses__(each)
                found += [sub for sub in subclasses if _has_its_name(sub)]
    return [each for each in found if not _is_models(each, apart)]


def _is_being_imported(module: object) -> bool:
    return bool(getattr(_namespace(module).get("__spec__"), "_initializing", False))


def _is_class(each: object) -> TypeGuard[type]:
    return issubclass(type(each), type)


def _is_models(each: object, apart: str) -> bool:
    """Whether it is a class or a function of a model, or of such a class: a library may keep it, as with a hook, and
    forget it when the model goes.
    """
    # Not by isinstance, which asks the object for its class: a deprecated one of a library warns of that.
    if issubclass(type(each), types.FunctionType):
        return each.__module__ is not None and str(each.__module__).startswith(apart)
    return _is_apart(each if _is_class(each) else type(each), apart)


def _is_apart(cls: type, apart: str) -> bool:
    name = _namespace_of_class(cls).get("__module__")
    return isinstance(name, str) and name.startswith(apart)


def _has_its_name(cls: type) -> bool:
    """Whether it is the one that its module has by its name. A class that is made while the program works is not, nor
    is one of a module that was forgotten.
    """
    if not _flags_of_class(cls) & _MADE_AT_RUN_TIME:
        return True
    name = _namespace_of_class(cls).get("__module__")
    found: object = sys.modules.get(name) if isinstance(name, str) else None
    for part in _qualname_of_class(cls).split("."):
        found = _namespace(found).get(part)
    return found is cls


def _namespace(each: object) -> dict[str, Any]:
    if _is_class(each):
        return _namespace_of_class(each)
    if issubclass(type(each), types.ModuleType):
        namespace: dict[str, Any] = object.__getattribute__(each, "__dict__")
        return namespace
    return {}
