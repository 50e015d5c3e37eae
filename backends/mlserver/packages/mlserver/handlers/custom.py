"""Methods of a model that answer on paths of their own."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

T = TypeVar("T", bound=Callable[..., Any])

_MARK = "__custom_handler__"


class CustomHandler(BaseModel):
    """Where a method answers."""

    rest_path: str
    rest_method: str = "POST"


def custom_handler(rest_path: str, rest_method: str = "POST") -> Callable[[T], T]:
    """Have a method answer requests to a path."""

    def mark(method: T) -> T:
        register_custom_handler(CustomHandler(rest_path=rest_path, rest_method=rest_method), method)
        return method

    return mark


def register_custom_handler(handler: CustomHandler, method: Callable[..., Any]) -> None:
    """Have a method answer requests as `handler` says."""
    setattr(method, _MARK, handler)


def get_custom_handlers(model: Any) -> list[tuple[CustomHandler, Callable[..., Any]]]:
    """The methods of a model that answer on paths of their own."""
    # Properties of the class are not called for this.
    kind = model if isinstance(model, type) else type(model)
    names = [name for name, member in inspect.getmembers(kind) if hasattr(member, _MARK)]
    return [(getattr(getattr(model, name), _MARK), getattr(model, name)) for name in names]
