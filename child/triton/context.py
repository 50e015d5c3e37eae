"""What the functions of `triton_python_backend_utils` work for: a loaded model, and the requests that it executes."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .errors import TritonModelException
from .services import Caller, Services

_NOT_EXECUTING = "BLS is only supported during the 'execute' function."

# What the code that is running does its work for: tasks take this along, threads do not.
_current: ContextVar[ModelContext | None] = ContextVar("triton_model", default=None)
_instance: ContextVar[str] = ContextVar("triton_instance", default="")
_serving: ContextVar[tuple[Any, ...]] = ContextVar("triton_requests", default=())
_executes: ContextVar[bool] = ContextVar("triton_executes", default=True)

_contexts: weakref.WeakSet[ModelContext] = weakref.WeakSet()


class ModelContext:
    """A loaded model. From any thread."""

    def __init__(self, version_path: str, services: Services) -> None:
        self.version_path = version_path
        self.services = services
        self._instances: list[str] = []
        # Requests that are not answered yet, each by the number of its exchange.
        self._open: dict[int, Any] = {}
        _contexts.add(self)

    @property
    def instance_name(self) -> str:
        """The instance whose code is running; that of a thread that is not known is the first one."""
        return _instance.get() or (self._instances[0] if self._instances else "")

    def begin(self, number: int, request: Any) -> None:
        """A request is executed from now on."""
        self._open[number] = request

    def end(self, number: int) -> None:
        """A request is answered. May be called again."""
        self._open.pop(number, None)

    def serving(self) -> Sequence[Any]:
        """The requests that a call is for: of a thread that is not known, all that are being executed."""
        return _serving.get() or tuple(self._open.values())

    def caller(self) -> Caller:
        """What asks other models. Raises TritonModelException where no request is executed."""
        if not self._instances or not _executes.get():
            raise TritonModelException(_NOT_EXECUTING)
        caller = self.services.caller
        if caller is None:
            raise TritonModelException("there is no server whose models could be called")
        return caller

    @contextmanager
    def life_cycle(self, instance: str) -> Iterator[None]:
        """In here, a function of the model that executes no requests runs."""
        tokens = _current.set(self), _instance.set(instance), _executes.set(False)
        try:
            yield
        finally:
            _current.reset(tokens[0])
            _instance.reset(tokens[1])
            _executes.reset(tokens[2])

    def ready(self, instance: str) -> None:
        """An instance has been initialized."""
        self._instances.append(instance)

    @contextmanager
    def executing(self, instance: str, requests: Sequence[Any]) -> Iterator[None]:
        """In here, the model executes requests."""
        tokens = _current.set(self), _instance.set(instance), _serving.set(tuple(requests))
        try:
            yield
        finally:
            _current.reset(tokens[0])
            _instance.reset(tokens[1])
            _serving.reset(tokens[2])


class CurrentContext:
    """The context of whatever code is running, for modules that several models share."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_find(), name)


def _find() -> ModelContext:
    context = _current.get()
    if context is not None:
        return context
    contexts = list(_contexts)
    if len(contexts) == 1:
        return contexts[0]
    raise TritonModelException(
        "nothing here says which model this is for: use triton_python_backend_utils in a function that the model's own "
        "code calls"
    )
