"""What a handler's class declares about itself, read from its attributes and checked."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.handlers import declared as types
from kserve_v2.handlers.declared import ContentType, TensorType
from kserve_v2.tensors.datatypes import BY_NAME

from .advice import advice_on, likely_call, methods_problems, single_class
from .annotations import Annotations, Declared, declaration_of, read_annotations
from .found import find_handler, is_function_like

_DEFAULT_MAX_CONCURRENCY = 64


@dataclass(frozen=True, slots=True)
class Declaration:
    """The attributes of a handler's class; None where it leaves one to the configuration.

    `tensors`: what the handler is called with. `thread_safe`: whether one object serves all instances of a
    device. `asynchronous`: whether its `__call__` is an `async def`, of which `max_concurrency` calls may run
    at once. `generator`: whether it yields responses, any number of them. `takes_requests`: whether it is
    called with the requests as well as with their tensors. `ragged`: whether it takes the tensors of each request by
    themselves. `annotations`: what those of `__call__` say; `parameters`: its parameters for inputs, None where it
    takes all inputs as one dict. `advice`: what is not wrong, but may have been meant otherwise.
    `returns`: of a function, the outputs in the order in which it may return them without their names.
    """

    handler: type[Any]
    inputs: tuple[Declared, ...] | None
    outputs: tuple[Declared, ...] | None
    max_batch_size: int | None
    tensors: Literal["numpy", "torch"]
    thread_safe: bool
    asynchronous: bool
    generator: bool
    takes_requests: bool
    ragged: bool
    max_concurrency: int
    annotations: Annotations
    advice: tuple[str, ...]
    returns: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...] | None:
        """The names of those that are passed."""
        inputs = self.annotations.inputs
        return None if inputs is None else tuple(each.name for each in inputs)

    def input_contents(self) -> dict[str, Declared]:
        """The inputs that are decoded."""
        return {each.name: each for each in self.inputs or () if isinstance(each.what, ContentType)}

    def output_contents(self) -> dict[str, Declared]:
        """The outputs that are encoded."""
        return {each.name: each for each in self.outputs or () if isinstance(each.what, ContentType)}


def read_declaration(module: object, file: str, member: str = "") -> Declaration:
    """The declaration of the handler in a module: of its class `Model`, or what `find_handler` takes for it. `member`:
    how it is called, if that is said.

    Raises InvalidArgumentError with all that is wrong with it.
    """
    handler = find_handler(module, file, member)
    problems = [*single_class(module), *_problems(handler)]
    annotations = Annotations()
    if not problems:
        annotations = read_annotations(handler, problems)
        problems += _annotation_problems(handler, annotations)
    if problems:
        problems = [_named_after(handler, each) for each in problems]
        raise InvalidArgumentError(f"{file}: {'; '.join(problems)}", [f"{file}: {each}" for each in problems])
    call = handler.__call__
    inputs, outputs = (_attribute(handler, name) for name in ("inputs", "outputs"))
    typed = annotations.inputs is not None
    given: Literal["numpy", "torch"] = getattr(handler, "tensors", "numpy")
    return Declaration(
        handler=handler,
        inputs=annotations.inputs if typed else inputs,
        outputs=annotations.outputs or outputs,
        max_batch_size=getattr(handler, "max_batch_size", None),
        tensors=annotations.tensors or given,
        thread_safe=getattr(handler, "thread_safe", False),
        asynchronous=inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call),
        generator=_is_generator(call),
        takes_requests=annotations.takes_requests if typed else len(annotations.parameters) > 1,
        ragged=getattr(handler, "ragged", False),
        max_concurrency=getattr(handler, "max_concurrency", _DEFAULT_MAX_CONCURRENCY),
        annotations=annotations,
        advice=tuple(_named_after(handler, each) for each in (*annotations.unknown, *advice_on(handler))),
        returns=tuple(each.name for each in outputs)
        if is_function_like(handler) and outputs and not annotations.outputs
        else (),
    )


def _named_after(handler: type[Any], text: str) -> str:
    """A text about the class `Model`, with the name of what it is about."""
    name = handler.__name__
    if is_function_like(handler):
        return text.replace("Model.__call__", name).replace("Model.", f"{name}: ")
    return text.replace("Model.", f"{name}.").replace("Model has", f"{name} has")


def _annotation_problems(handler: type[Any], annotations: Annotations) -> Iterator[str]:
    """What the annotations say otherwise than the attributes, or cannot say at all."""
    for each in (*(annotations.inputs or ()), *(annotations.outputs or ())):
        if isinstance(each.what, TensorType):
            yield from _pair_problems(f"'{each.name}', {each}", (each.what.datatype, each.what.dims))
    for attribute, annotated in (("inputs", annotations.inputs), ("outputs", annotations.outputs)):
        written = _attribute(handler, attribute)
        if written is not None and annotated is not None:
            yield from _differences(attribute, written, annotated)
    if annotations.inputs is not None and getattr(handler, "ragged", False):
        yield (
            "Model.ragged: such a handler takes (self, inputs), a list of dicts, and declares its inputs by attributes"
        )
    if annotations.mixed_tensors:
        yield (
            "Model.__call__: some annotations are of numpy's arrays and others of torch's tensors; a handler gets all "
            "of one kind"
        )
    tensors = getattr(handler, "tensors", annotations.tensors)
    if annotations.tensors and tensors != annotations.tensors:
        yield (
            f'Model.tensors is "{tensors}", but the annotations of Model.__call__ are "{annotations.tensors}"; leave '
            "one of them out"
        )


def _differences(
    attribute: str, written: tuple[Declared, ...], annotated: tuple[Declared, ...]
) -> Iterator[str]:
    of_class = {each.name: str(each) for each in written}
    of_call = {each.name: str(each) for each in annotated}
    for name in of_class | of_call:
        if of_class.get(name) != of_call.get(name):
            yield (
                f"Model.{attribute}[{name!r}] is {of_class.get(name, 'not there')}, but by the annotations of "
                f"Model.__call__ it is {of_call.get(name, 'not there')}; leave Model.{attribute} out"
            )


def _problems(handler: type[Any]) -> Iterator[str]:
    if not any("__call__" in vars(base) for base in handler.__mro__):
        yield f"Model has no method __call__(self, inputs){likely_call(handler)}"
    elif len(inspect.signature(handler.__call__).parameters) < 2:
        yield (
            "Model.__call__: expected (self, inputs) or (self, inputs, requests), or a parameter with an annotation "
            "for each input"
        )
    yield from methods_problems(handler)
    for attribute in ("inputs", "outputs"):
        yield from _tensor_problems(attribute, getattr(handler, attribute, None))
    yield from _integer_problems(handler, "max_batch_size", least=0)
    yield from _integer_problems(handler, "max_concurrency", least=1)
    tensors = getattr(handler, "tensors", "numpy")
    if tensors not in ("numpy", "torch"):
        yield f'Model.tensors: expected "numpy" or "torch", got {tensors!r}'
    for attribute in ("thread_safe", "ragged"):
        value = getattr(handler, attribute, False)
        if not isinstance(value, bool):
            yield f"Model.{attribute}: expected True or False, got {value!r}"
    if getattr(handler, "ragged", False) is True and _is_generator(handler.__call__):
        yield "Model.ragged: a generator answers one request at a time, which has its own shapes anyway"


def _is_generator(call: object) -> bool:
    return inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)


def _integer_problems(handler: type[Any], attribute: str, *, least: int) -> Iterator[str]:
    value = getattr(handler, attribute, least)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        yield f"Model.{attribute}: expected an integer >= {least}, got {value!r}"


def _tensor_problems(attribute: str, declared: object) -> Iterator[str]:
    if declared is None:
        return
    if not isinstance(declared, Mapping):
        yield f'Model.{attribute}: expected a dict like {{"image": ("FP32", [1, 8, 8])}}, got {declared!r}'
        return
    for name, value in declared.items():
        if not isinstance(name, str) or not name:
            yield f"Model.{attribute}: expected names that are not empty, got {name!r}"
        if declaration_of("", value) is None:
            yield from _pair_problems(f"Model.{attribute}[{name!r}]", value)


def _pair_problems(path: str, value: object) -> Iterator[str]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        yield (
            f'{path}: expected a pair of datatype and dims like ("FP32", [1, 8, 8]), or Image, Text or Json, got '
            f"{value!r}"
        )
        return
    datatype, dims = value
    if datatype not in BY_NAME:
        yield f"{path}: expected a datatype out of {', '.join(BY_NAME)}, got {datatype!r}"
    if not isinstance(dims, tuple | list) or not dims or not all(_is_dim(dim) for dim in dims):
        yield (
            f"{path}: expected dims like [1, 8, 8], without the batch dimension, "
            f"each >= 1 or -1 where it varies, got {dims!r}"
        )


def _is_dim(dim: object) -> bool:
    return isinstance(dim, int) and not isinstance(dim, bool) and (dim >= 1 or dim == -1)


def _attribute(handler: type[Any], attribute: str) -> tuple[Declared, ...] | None:
    """What one of the attributes `inputs` and `outputs` declares."""
    given: Mapping[str, Any] | None = getattr(handler, attribute, None)
    if given is None:
        return None
    return tuple(declaration_of(name, value) or _from_pair(name, *value) for name, value in given.items())


def _from_pair(name: str, datatype: str, dims: list[int]) -> Declared:
    kind: type[TensorType] = getattr(types, datatype)
    return Declared(name, kind(*dims))
