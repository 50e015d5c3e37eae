"""From what a program gives to be served to what the server is told: paths as on the command line, and objects of this
process by keys.
"""

import functools
import inspect
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kserve_v2.backend import Described, LiveModel, WrapsObjects
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.handlers import live
from kserve_v2.handlers.described import MARK, description_of
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.locations.operands import OBJECT, Kind, check_name, read_operand
from kserve_v2.tensors.written import WrittenTensor

_NO_PART_OF_NAMES = re.compile(r"[^\w.-]+")
_EXPECTED = (
    "expected a path, a function, a handler's class or object, a torch module, an ONNX model or session, a fitted "
    "estimator, or a dict of these by name"
)


@dataclass(frozen=True, slots=True)
class Given:
    """What a program says of one model, beside the model itself."""

    name: str = ""
    example: object | None = None
    inputs: Mapping[str, Any] | None = None
    outputs: Mapping[str, Any] | None = None
    max_batch_size: int | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """What a handler says of itself by attributes."""
        found = {"inputs": self.inputs, "outputs": self.outputs, "max_batch_size": self.max_batch_size}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(slots=True)
class Served:
    """What the server is told. `keys`: of the objects that it serves, to be dropped when it has ended."""

    repositories: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    tensors: dict[str, tuple[WrittenTensor, ...]] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    def drop(self) -> None:
        """Let go of the objects."""
        for key in self.keys:
            live.drop(key)


def read_models(models: object, given: Given) -> Served:
    """What is to be served. Raises TypeError for what is nothing of that, InvalidArgumentError for what is wrong."""
    served = Served()
    registry = BackendRegistry()
    if given.name:
        check_name(given.name)
    each: list[tuple[object, Given]] = [] if models is None else [(models, given)]
    if isinstance(models, Mapping):
        if given != Given():
            raise TypeError(
                "name=, example=, inputs=, outputs= and max_batch_size= are for one model: describe each of several "
                "with @kserve_v2.model"
            )
        each = [(model, Given(_checked(str(name)))) for name, model in models.items()]
    try:
        for model, its in each:
            _add(served, registry, model, its)
    except BaseException:
        served.drop()
        raise
    return served


def _checked(name: str) -> str:
    check_name(name)
    return name


def _add(served: Served, registry: BackendRegistry, model: object, given: Given) -> None:
    if isinstance(model, str | os.PathLike):
        _add_path(served, os.fspath(model), given)
        return
    wrapped = _wrapped(model, registry, given)
    key = live.put(wrapped)
    served.keys.append(key)
    served.models.append(f"{given.name or _name_of(model)}={OBJECT}{key}")


def _add_path(served: Served, path: object, given: Given) -> None:
    if not isinstance(path, str):
        raise TypeError(f"{path!r}: {_EXPECTED}")
    text = f"{given.name}={path}" if given.name else path
    if read_operand(text).kind is Kind.REPOSITORY:
        served.repositories.append(path)
    else:
        served.models.append(text)
    if given.example is not None:
        raise TypeError(f"example= is for torch modules, not for {path}")
    for name, tensors in (("input", given.inputs), ("output", given.outputs)):
        if tensors:
            batched = bool(given.max_batch_size)
            served.tensors[name] = tuple(_written(each, what, batched) for each, what in tensors.items())


def _written(name: str, what: Any, batched: bool) -> WrittenTensor:
    match what:
        case (str(datatype), [*dims]) if all(isinstance(dim, int) for dim in dims):
            return WrittenTensor(name, datatype, tuple(dims), batched)
    raise InvalidArgumentError(
        f"'{name}': expected a pair of datatype and dims like (\"FP32\", [4]), got {what!r}"
    )


def _wrapped(model: object, registry: BackendRegistry, given: Given) -> LiveModel:
    if not (inspect.isclass(model) or inspect.isroutine(model)):
        described = Described(given.example, given.max_batch_size)
        for backend in _wrapping(registry):
            wrapped = backend.wrap(model, described)
            if wrapped is not None:
                return _with_attributes(wrapped, given)
    if given.example is not None:
        raise TypeError(
            f"example= is for torch modules, not for {type(model).__name__}: give inputs= and outputs="
        )
    if isinstance(model, type):
        return LiveModel(type(model.__name__, (model,), given.attributes) if given.attributes else model)
    if callable(model):
        return LiveModel(_described(model, given.attributes), config=live.ONE_INSTANCE)
    raise TypeError(f"{type(model).__name__} cannot be served: {_EXPECTED}")


def _wrapping(registry: BackendRegistry) -> Sequence[WrapsObjects]:
    found = []
    for name in registry.names:
        try:
            backend = registry.get(name)
        except InvalidArgumentError:
            # What it needs is not installed, so nothing of it is here.
            continue
        if isinstance(backend, WrapsObjects):
            found.append(backend)
    return found


def _with_attributes(wrapped: LiveModel, given: Given) -> LiveModel:
    """What was said in so many words outweighs what was found out."""
    for name in ("inputs", "outputs"):
        tensors = getattr(given, name)
        if tensors is None:
            continue
        if wrapped.handler is None:
            raise TypeError(f"{name}= is not for what says itself what its tensors are")
        own = list(getattr(wrapped.handler, name))
        if sorted(own) != sorted(tensors):
            raise InvalidArgumentError(f"{name}=: expected {own}, got {list(tensors)}")
        setattr(wrapped.handler, name, tensors)
    return wrapped


def _described(model: Any, attributes: Mapping[str, Any]) -> Any:
    """A function or object with what was said of it; the program's own stays as it is."""
    if not attributes:
        return model
    own = description_of(model) or {}
    described = functools.partial(model)
    described.__name__ = _name_of(model)  # type: ignore[attr-defined]
    setattr(described, MARK, {**own, **attributes})
    return described


def _name_of(model: object) -> str:
    if isinstance(model, bytes | bytearray | memoryview):
        return "model"
    name = getattr(model, "__name__", "") or type(model).__name__
    return _NO_PART_OF_NAMES.sub("", str(name)).strip("._-") if name != "<lambda>" else "model"
