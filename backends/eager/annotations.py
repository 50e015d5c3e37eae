"""What the annotations of a handler's `__call__` declare: its inputs, one for each parameter, and its outputs."""

import dataclasses
import inspect
import sys
import types
import typing
from collections import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NotRequired, Required, Union

from kserve_v2.handlers.declared import ContentType, TensorType

SINGLE_OUTPUT = "output"
"""The name of what a handler returns that returns one value, and no name for it."""

REQUESTS = "requests"
"""The parameter that is given the requests."""

_EXAMPLE = "Annotated[np.ndarray, FP32(3, 224, 224)], Image, Text or Json"
_STREAMS = (
    abc.Iterator, abc.Iterable, abc.Generator, abc.AsyncIterator, abc.AsyncIterable, abc.AsyncGenerator,
)  # fmt: skip
_LISTS = (list, abc.Sequence)


@dataclass(frozen=True, slots=True)
class Declared:
    """One input or output. `what`: its datatype and dims, or its content type; of that `several`: a list, and not one
    value. `optional`: it has a default. `annotated`: an annotation says it, with `base` as the type of what the handler
    works with.
    """

    name: str
    what: TensorType | ContentType
    several: bool = False
    optional: bool = False
    annotated: bool = False
    base: object = None

    @property
    def content(self) -> ContentType:
        """What its elements are, of one that is decoded."""
        assert isinstance(self.what, ContentType)  # noqa: S101 - only those are asked
        return self.what

    def __str__(self) -> str:
        if isinstance(self.what, TensorType):
            return repr(self.what)
        name = self.what.name.capitalize()
        return f"list[{name}]" if self.several else name


@dataclass(frozen=True, slots=True)
class Annotations:
    """What is declared. `inputs`: None for a handler that takes all of them as one dict. `outputs`: None where the
    annotation says nothing. `returned`: the class of what it returns, if its fields are the outputs; `single`: it
    returns the only output itself. `takes_requests`: it has a parameter for those. `parameters`: the names of all.
    `unknown`: what is wrong with annotations that may have been meant to declare something.
    """

    inputs: tuple[Declared, ...] | None = None
    outputs: tuple[Declared, ...] | None = None
    returned: type[Any] | None = None
    single: bool = False
    takes_requests: bool = False
    parameters: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def tensors(self) -> Literal["numpy", "torch"] | None:
        """What the inputs that are tensors come as; None if no annotation says it."""
        kinds = self._kinds()
        return None if not kinds else "torch" if kinds == {True} else "numpy"

    @property
    def mixed_tensors(self) -> bool:
        """Whether the annotations contradict each other in that."""
        return len(self._kinds()) > 1

    def _kinds(self) -> set[bool]:
        """Whether they are torch's."""
        return {
            _is_torch(each.base)
            for each in self.inputs or ()
            if isinstance(each.what, TensorType) and each.what.datatype != "BYTES" and each.base is not Any
        }


def _is_torch(base: object) -> bool:
    return isinstance(base, type) and base.__module__.partition(".")[0] == "torch"


class _Unresolved:
    """An annotation that has no meaning where it stands."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def read_annotations(handler: type[Any], problems: list[str]) -> Annotations:
    """What the annotations of the class's `__call__` declare; adds what is wrong with them to `problems`."""
    call = inspect.unwrap(handler.__call__)
    parameters = list(inspect.signature(call).parameters.values())[1:]
    names = [each.name for each in parameters]
    hints = _hints(getattr(call, "__annotations__", {}), getattr(call, "__globals__", {}), vars(handler))
    unknown = tuple(
        f"Model.__call__: the annotation of '{name}' means nothing: {_text(hint.error)}"
        for name, hint in hints.items()
        if isinstance(hint, _Unresolved)
    )
    inputs = None
    # What has more than two parameters takes no dict, but lacks annotations.
    if any(declaration_of(name, hints.get(name)) for name in names) or len(names) > len(("inputs", REQUESTS)):
        inputs = tuple(_inputs(parameters, hints, problems))
        if isinstance(hints.get("return"), _Unresolved):
            problems.append(unknown[-1])
    outputs, returned, single = _outputs(hints.get("return"), problems, vars(handler))
    takes_requests = REQUESTS in names and declaration_of(REQUESTS, hints.get(REQUESTS)) is None
    return Annotations(inputs, outputs, returned, single, takes_requests, tuple(names), unknown)


def _hints(
    annotations: Mapping[str, Any], names: Mapping[str, Any], inner: Mapping[str, Any]
) -> dict[str, object]:
    """Each annotation, with what it means in its module; one that means nothing does not keep the others from that."""
    found: dict[str, object] = {}
    for name, annotation in annotations.items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints = typing.get_type_hints(holder, dict(names), dict(inner), include_extras=True)
        except Exception as error:  # noqa: BLE001 - it is the handler's code that is evaluated
            found[name] = _Unresolved(error)
        else:
            found[name] = hints[name]
    return found


def _inputs(
    parameters: list[inspect.Parameter], hints: Mapping[str, object], problems: list[str]
) -> Iterator[Declared]:
    for each in parameters:
        where = f"Model.__call__: parameter '{each.name}'"
        hint = hints.get(each.name)
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY):
            problems.append(f"{where}: it is passed by its name, so * and / cannot be")
            continue
        found = declaration_of(each.name, hint)
        if found is not None:
            yield replace(found, optional=each.default is not each.empty, annotated=True)
        elif each.name == REQUESTS:
            continue
        elif isinstance(hint, _Unresolved):
            problems.append(
                f"Model.__call__: the annotation of '{each.name}' means nothing: {_text(hint.error)}"
            )
        else:
            got = "none" if hint is None else inspect.formatannotation(hint)
            problems.append(f"{where}: expected an annotation such as {_EXAMPLE}, got {got}")


def declaration_of(name: str, hint: object) -> Declared | None:
    """What an annotation declares, or the same as a value of an attribute; None if it is no declaration."""
    hint = _without_none(hint)
    if typing.get_origin(hint) is Annotated:
        base, *extras = typing.get_args(hint)
        for extra in extras:
            if isinstance(extra, type) and issubclass(extra, TensorType):
                return Declared(name, extra(), base=base)
            if isinstance(extra, TensorType | ContentType):
                return Declared(name, extra, base=base)
    if typing.get_origin(hint) in _LISTS:
        (inner,) = typing.get_args(hint)
        one = declaration_of(name, inner)
        if one is not None and isinstance(one.what, ContentType) and not one.several:
            return replace(one, several=True)
    return None


def _without_none(hint: object) -> object:
    """`X` of `X | None`, of `Required[X]`, and the like."""
    while True:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (Required, NotRequired):
            (hint,) = arguments
        elif (
            origin in (Union, types.UnionType)
            and len(rest := [a for a in arguments if a is not type(None)]) == 1
        ):
            hint = rest[0]
        else:
            return hint


def _outputs(
    hint: object, problems: list[str], inner: Mapping[str, Any]
) -> tuple[tuple[Declared, ...] | None, type[Any] | None, bool]:
    if typing.get_origin(hint) in _STREAMS and declaration_of("", hint) is None:
        hint = typing.get_args(hint)[0]
    single = declaration_of(SINGLE_OUTPUT, hint)
    if single is not None:
        return (replace(single, annotated=True),), None, True
    structure = _structure(hint)
    if structure is None:
        return None, None, False
    outputs = tuple(_fields(structure, problems, inner))
    return (outputs or None), (structure if outputs else None), False


def _structure(hint: object) -> type[Any] | None:
    """The class whose fields are outputs: itself, or in a list of one for each request, or of exceptions."""
    if typing.get_origin(hint) in _LISTS:
        (hint,) = typing.get_args(hint)
    if typing.get_origin(hint) in (Union, types.UnionType):
        kinds = [each for each in typing.get_args(hint) if not _is_exception(each)]
        hint = kinds[0] if len(kinds) == 1 else None
    if not isinstance(hint, type):
        return None
    named_tuple = issubclass(hint, tuple) and hasattr(hint, "_fields")
    return hint if typing.is_typeddict(hint) or dataclasses.is_dataclass(hint) or named_tuple else None


def _is_exception(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseException)


def _fields(structure: type[Any], problems: list[str], inner: Mapping[str, Any]) -> Iterator[Declared]:
    """The outputs that the fields of a class declare: all of them, or none."""
    # Not of class variables.
    fields = (
        {each.name for each in dataclasses.fields(structure)} if dataclasses.is_dataclass(structure) else None
    )
    hints: dict[str, object] = {}
    for base in reversed(structure.__mro__):
        module = sys.modules.get(base.__module__)
        annotations = {
            name: annotation
            for name, annotation in inspect.get_annotations(base).items()
            if fields is None or name in fields
        }
        hints |= _hints(annotations, {} if module is None else vars(module), inner)
    found = {name: declaration_of(name, hint) for name, hint in hints.items()}
    if not any(found.values()):
        return
    for name, each in found.items():
        if each is not None:
            yield replace(each, annotated=True)
            continue
        where, hint = f"{structure.__name__}.{name}", hints[name]
        if isinstance(hint, _Unresolved):
            problems.append(f"{where}: its annotation means nothing: {_text(hint.error)}")
        else:
            problems.append(f"{where}: expected {_EXAMPLE}, got {inspect.formatannotation(hint)}")


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


Returned = Callable[[Any], Any]


def reader_of(annotations: Annotations, returns: tuple[str, ...] = ()) -> Returned | None:
    """What makes a dict of what the handler has returned; None where that is one anyway. `returns`: the outputs that it
    may return without their names.
    """
    if returns:
        return lambda returned: _with_names(returned, returns)
    if annotations.single:
        return lambda returned: {SINGLE_OUTPUT: returned}
    structure = annotations.returned
    if structure is None or typing.is_typeddict(structure):
        return None
    names = [output.name for output in annotations.outputs or ()]

    def read(returned: Any) -> Any:
        if not isinstance(returned, structure):
            return returned
        return {name: getattr(returned, name) for name in names}

    return read


def _with_names(returned: Any, names: tuple[str, ...]) -> Any:
    if isinstance(returned, Mapping):
        return returned
    if len(names) == 1:
        return {names[0]: returned}
    if isinstance(returned, tuple) and len(returned) == len(names):
        return dict(zip(names, returned, strict=True))
    return returned
