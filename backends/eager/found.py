"""What in a module is the handler: the class `Model`, or what `@kserve_v2.model` marks, or what is named. A function or
an object gets the form of a class, which all the rest knows.
"""

import functools
import inspect
import types
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Annotated, Any, get_type_hints

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.handlers import declared as declared_types
from kserve_v2.handlers.declared import TensorType
from kserve_v2.handlers.described import ATTRIBUTES, description_of
from kserve_v2.handlers.model import Model

from .advice import OF_TORCH_MODULES, is_torch_module
from .annotations import REQUESTS, declaration_of

USUAL_FILE = "model.py"


def find_handler(module: object, file: str, member: str = "") -> type[Any]:
    """The handler's class. `member`: what it is called, if that is said. Raises InvalidArgumentError where there is
    none, or more than one.
    """
    if member:
        found = getattr(module, member, None)
        # A client may name it, too: what the module has only imported is no handler, unless it is meant to be one.
        meant = isinstance(found, type) or member == "Model" or description_of(found) is not None
        if not callable(found) or found is Model or not (meant or _is_own(found, module)):
            raise InvalidArgumentError(
                f"{file}: expected a class or function named {member}{_other_names(module)}"
            )
        return as_class(found)
    usual, marked = getattr(module, "Model", None), _marked(module)
    if usual is Model or not (isinstance(usual, type) or any(usual is each for each in marked)):
        usual = None
    others = [each for each in marked if each is not usual]
    if usual is None and not others and file != USUAL_FILE:
        others = _suitable_classes(module)
    if len(others) + (usual is not None) > 1:
        names = [_name(each) for each in ([usual] if usual is not None else []) + others]
        raise InvalidArgumentError(
            f"{file}: {' and '.join(names)} could each be the handler: leave one, or name it, as in {file}:{names[-1]}"
        )
    handler = usual if usual is not None else others[0] if others else None
    if handler is None:
        expected = "a class named Model, or TritonPythonModel"
        if file != USUAL_FILE:
            expected = "a class named Model, or one with __call__, or a function that @kserve_v2.model marks"
        raise InvalidArgumentError(f"{file}: expected {expected}{_other_names(module)}")
    return as_class(handler)


def _marked(module: object) -> list[Any]:
    """What was decorated: in the module itself or, if there is none, what it has imported."""
    found = list(
        {id(each): each for each in vars(module).values() if description_of(each) is not None}.values()
    )
    return [each for each in found if _is_own(each, module)] or found


def _suitable_classes(module: object) -> list[Any]:
    return [
        each
        for name, each in vars(module).items()
        if isinstance(each, type)
        and not name.startswith("_")
        and _is_own(each, module)
        and (issubclass(each, Model) or "__call__" in vars(each))
    ]


def _is_own(each: Any, module: object) -> bool:
    return getattr(each, "__module__", "") == getattr(module, "__name__", "")


def _other_names(module: object) -> str:
    """What may have been meant."""
    names = [each.__name__ for each in _suitable_classes(module)]
    if names:
        return f", got {', '.join(names)}"
    networks = [
        each.__name__ for each in vars(module).values() if is_torch_module(each) and _is_own(each, module)
    ]
    return f", got the torch module {networks[0]}: {OF_TORCH_MODULES}" if networks else ""


def _name(handler: Any) -> str:
    return str(getattr(handler, "__name__", type(handler).__name__))


# --- functions and objects --------------------------------------------------------------------------------------------


def as_class(handler: Any) -> type[Any]:
    """A class as it is; for a function, or an object that is called, a class that says of it what a handler's says of
    itself, and whose only object is that one.
    """
    if isinstance(handler, type):
        return handler
    if _is_function(handler):
        attributes = dict(description_of(handler) or {})
        call = _method_like(handler, attributes.get("inputs"))
    else:
        attributes = {name: getattr(handler, name) for name in ATTRIBUTES if hasattr(handler, name)}
        call = type(handler).__call__
        for method in ("load", "close"):
            if callable(getattr(type(handler), method, None)):
                attributes[method] = getattr(type(handler), method)
    body = {
        **attributes,
        "__call__": call,
        "__new__": lambda _: handler,
        "_is_function": _is_function(handler),
    }
    return type(_name(handler), (), body)


def is_function_like(handler: type[Any]) -> bool:
    """Whether a class was made for a function."""
    return bool(vars(handler).get("_is_function", False))


def _is_function(handler: Any) -> bool:
    return inspect.isroutine(handler) or isinstance(handler, functools.partial)


def _plain(self: Any) -> Any: ...


async def _coroutine(self: Any) -> Any: ...


def _generator(self: Any) -> Generator[Any, None, None]:
    yield


async def _async_generator(self: Any) -> AsyncGenerator[Any, None]:
    yield


def _method_like(function: Any, inputs: Mapping[str, Any] | None) -> Callable[..., Any]:
    """What looks like a method with the parameters and annotations of a function. It is not called: the function is."""
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inspect.unwrap(inner.func)
    kind: Any = _plain
    for is_kind, each in (
        (inspect.iscoroutinefunction, _coroutine),
        (inspect.isgeneratorfunction, _generator),
        (inspect.isasyncgenfunction, _async_generator),
    ):
        if is_kind(inner):
            kind = each
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"{_name(function)}: its parameters are not known ({error}): write a function around it"
        ) from None
    method = types.FunctionType(kind.__code__, getattr(inner, "__globals__", {}), _name(function))
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = list(signature.parameters.values())
    method.__annotations__ = dict(getattr(inner, "__annotations__", {}))
    names = {each.name for each in parameters}
    if inputs and set(inputs) <= names:
        # What is no input and may be left out is left out.
        wanted = {*inputs, REQUESTS}
        parameters = [each for each in parameters if each.name in wanted or not _may_be_left_out(each)]
        hints = _hints(inner)
        for name, what in inputs.items():
            if declaration_of(name, hints.get(name)) is None:
                method.__annotations__[name] = _annotation(what)
    method.__signature__ = inspect.Signature([own, *parameters])  # type: ignore[attr-defined]
    return method


def _may_be_left_out(parameter: inspect.Parameter) -> bool:
    return parameter.default is not parameter.empty or parameter.kind in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )


def _hints(function: Any) -> dict[str, Any]:
    """What its annotations mean, if all of them mean something."""
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - it is the handler's code that is evaluated
        return {}


def _annotation(what: Any) -> Any:
    """What declares the same as a value of `inputs`; one that is wrong stays, and is reported as such."""
    if isinstance(what, tuple | list) and len(what) == 2 and isinstance(what[1], tuple | list):
        kind = getattr(declared_types, str(what[0]), None)
        if isinstance(kind, type) and issubclass(kind, TensorType):
            return Annotated[Any, kind(*what[1])]
    return what
