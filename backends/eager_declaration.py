"""What a handler's class declares about itself, read from its attributes and checked."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BY_NAME

from .completion import TensorSpec, enable_dynamic_batching, fill_tensors

_DEFAULT_MAX_CONCURRENCY = 64


@dataclass(frozen=True, slots=True)
class Declaration:
    """The attributes of a handler's class; None where it leaves one to the configuration.

    `tensors`: what the handler is called with. `thread_safe`: whether one object serves all instances of a
    device. `asynchronous`: whether its `__call__` is an `async def`, of which `max_concurrency` calls may run
    at once. `generator`: whether it yields responses, any number of them. `takes_requests`: whether it is
    called with the requests as well as with their tensors. `ragged`: whether it takes the tensors of each request by
    themselves.
    """

    handler: type[Any]
    inputs: tuple[TensorSpec, ...] | None
    outputs: tuple[TensorSpec, ...] | None
    max_batch_size: int | None
    tensors: Literal["numpy", "torch"]
    thread_safe: bool
    asynchronous: bool
    generator: bool
    takes_requests: bool
    ragged: bool
    max_concurrency: int


def read_declaration(module: object, file: str) -> Declaration:
    """The declaration of the class `Model` in a handler module.

    Raises InvalidArgumentError with all that is wrong with it.
    """
    handler = getattr(module, "Model", None)
    if not isinstance(handler, type):
        raise InvalidArgumentError(f"{file}: expected a class named Model, or TritonPythonModel")
    if problems := [*_problems(handler)]:
        raise InvalidArgumentError(f"{file}: " + "; ".join(problems))
    call = handler.__call__
    return Declaration(
        handler=handler,
        inputs=_specs(getattr(handler, "inputs", None)),
        outputs=_specs(getattr(handler, "outputs", None)),
        max_batch_size=getattr(handler, "max_batch_size", None),
        tensors=getattr(handler, "tensors", "numpy"),
        thread_safe=getattr(handler, "thread_safe", False),
        asynchronous=inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call),
        generator=_is_generator(call),
        takes_requests=len(inspect.signature(call).parameters) > len(("self", "inputs")),
        ragged=getattr(handler, "ragged", False),
        max_concurrency=getattr(handler, "max_concurrency", _DEFAULT_MAX_CONCURRENCY),
    )


def complete_config(config: ModelConfig, declaration: Declaration, file: str) -> list[str]:
    """Fill `config` from what the handler declares; returns the contradictions. A smaller max_batch_size is
    none."""
    problems: list[str] = []
    declared = declaration.max_batch_size
    if declared is not None:
        if config.max_batch_size > declared:
            problems.append(
                f"max_batch_size: Model.max_batch_size is {declared} in {file}, "
                f"the configuration says {config.max_batch_size}"
            )
        config.max_batch_size = config.max_batch_size or declared
    if declaration.inputs is not None:
        problems += fill_tensors(config, "input", declaration.inputs, file)
    if declaration.outputs is not None:
        problems += fill_tensors(config, "output", declaration.outputs, file)
    problems += ragged_contradictions(config, declaration, file)
    if declaration.ragged:
        for tensor in config.input:
            tensor.allow_ragged_batch = True
    problems += _settle_transaction_policy(config, declaration, file)
    if declared and not declaration.generator:
        enable_dynamic_batching(config)
    return problems


def ragged_contradictions(config: ModelConfig, declaration: Declaration, file: str) -> list[str]:
    """Inputs whose shapes may differ within a batch, of a handler that is not called so."""
    if declaration.ragged:
        return []
    return [
        f"input[{index}].allow_ragged_batch: Model in {file} takes one tensor for all requests of a batch; write "
        "ragged = True into the class, and take and return a list, with one dict for each request"
        for index, tensor in enumerate(config.input)
        if tensor.allow_ragged_batch
    ]


def _settle_transaction_policy(config: ModelConfig, declaration: Declaration, file: str) -> Iterator[str]:
    """A generator is decoupled: it answers a request with any number of responses. Nothing else is, but for a handler
    that is asked again and again, and answers each time.
    """
    if declaration.generator and config.sequence_batching.iterative_sequence:
        yield (
            f"sequence_batching.iterative_sequence: Model.__call__ in {file} is a generator; in an iterative model it "
            "returns the response of each round, and asks for the next one with request.reschedule"
        )
    if declaration.generator:
        config.model_transaction_policy.decoupled = True
    elif config.model_transaction_policy.decoupled and not config.sequence_batching.iterative_sequence:
        yield (
            f"model_transaction_policy.decoupled: Model.__call__ in {file} is no generator; "
            "a decoupled model yields its responses"
        )


def _problems(handler: type[Any]) -> Iterator[str]:
    if not any("__call__" in vars(base) for base in handler.__mro__):
        yield "Model has no method __call__(self, inputs)"
    elif len(inspect.signature(handler.__call__).parameters) not in (2, 3):
        yield "Model.__call__: expected (self, inputs) or (self, inputs, requests)"
    if inspect.iscoroutinefunction(getattr(handler, "load", None)):
        yield "Model.load: expected a plain function, got an async one"
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
        yield from _pair_problems(f"Model.{attribute}[{name!r}]", value)


def _pair_problems(path: str, value: object) -> Iterator[str]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        yield f'{path}: expected a pair of datatype and dims like ("FP32", [1, 8, 8]), got {value!r}'
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


def _specs(declared: Mapping[str, tuple[str, list[int]]] | None) -> tuple[TensorSpec, ...] | None:
    if declared is None:
        return None
    return tuple(TensorSpec(name, datatype, tuple(dims)) for name, (datatype, dims) in declared.items())
