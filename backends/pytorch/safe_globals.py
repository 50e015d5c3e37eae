"""The classes that handlers allow `torch.load` to make of a file that is read with `weights_only`: each model its own.

`torch.serialization.add_safe_globals` has one list for the process, of classes by their full names. A file names a
class as the script that wrote it did, such as `net.Net`, but here the module `net` is part of a load's package. So a
model's own classes are found by the names that it has for them, and those of other models are not found at all.
"""

from collections.abc import Iterator
from typing import Any

from torch import _weights_only_unpickler, serialization

from ..eager.imports import ModuleSpace, space_of
from ..eager.lookup import asking

_torch: Any = (
    _weights_only_unpickler  # which is not public: where it is another, names are looked up as torch does
)


def keep_apart() -> None:
    """Have torch find the classes of the model that asks, and of no other. May be called again."""
    if hasattr(_torch, "_get_user_allowed_globals"):
        _torch._get_user_allowed_globals = _allowed


def forget(space: ModuleSpace) -> None:
    """Take the classes of a model that is unloaded off the list, which would keep them for ever."""
    gone = [each for each in serialization.get_safe_globals() if _owner(_named(each)[0]) is space]
    if gone and hasattr(_torch, "_remove_safe_globals"):
        _torch._remove_safe_globals(gone)


def _allowed() -> dict[str, Any]:
    space = asking()
    return dict(_allowed_for(space))


def _allowed_for(space: ModuleSpace | None) -> Iterator[tuple[str, Any]]:
    for each in serialization.get_safe_globals():
        allowed, name = _named(each)
        owner = _owner(allowed)
        if owner is None:
            yield name, allowed
        elif owner is space:
            yield name.removeprefix(f"{space.package}."), allowed
            yield name, allowed


def _named(each: Any) -> tuple[Any, str]:
    """What is allowed, and by which name: with one of its own, or by that of its definition."""
    return each if isinstance(each, tuple) else (each, f"{each.__module__}.{each.__qualname__}")


def _owner(allowed: Any) -> ModuleSpace | None:
    return space_of(getattr(allowed, "__module__", None))
