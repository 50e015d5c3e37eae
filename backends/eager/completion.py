"""A handler's declaration and its configuration: the one completes the other, or contradicts it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kserve_v2.backend import CONTENT_TYPES, ModelConfig
from kserve_v2.handlers.declared import ContentType
from kserve_v2.tensors.datatypes import BY_NAME

from ..completion import TensorSpec, enable_dynamic_batching, fill_tensors
from ..parameters import parameter_texts
from .annotations import Declared
from .declaration import Declaration

_BYTES = BY_NAME["BYTES"].config_enum


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
    batching = config.max_batch_size > 0
    if declaration.inputs is not None:
        problems += fill_tensors(config, "input", _specs(declaration.inputs, batching), file)
    if declaration.outputs is not None:
        problems += fill_tensors(config, "output", _specs(declaration.outputs, batching), file)
    problems += _fill_content_types(config, declaration, file)
    problems += load_contradictions(config, declaration, file)
    if declaration.ragged:
        for tensor in config.input:
            tensor.allow_ragged_batch = True
    problems += _settle_transaction_policy(config, declaration, file)
    if declared and not declaration.generator:
        enable_dynamic_batching(config)
    return problems


def load_contradictions(config: ModelConfig, declaration: Declaration, file: str) -> list[str]:
    """What a configuration says that the handler cannot be called for, whoever has completed it."""
    return [
        *_ragged_contradictions(config, declaration, file),
        *_parameter_contradictions(config, declaration, file),
        *_content_contradictions(config, declaration, file),
    ]


def _ragged_contradictions(config: ModelConfig, declaration: Declaration, file: str) -> Iterator[str]:
    """Inputs whose shapes may differ within a batch, of a handler that is not called so."""
    if declaration.ragged:
        return
    for index, tensor in enumerate(config.input):
        if tensor.allow_ragged_batch:
            yield (
                f"input[{index}].allow_ragged_batch: Model in {file} takes one tensor for all requests of a batch; "
                "write ragged = True into the class, and take and return a list, with one dict for each request"
            )


def _parameter_contradictions(config: ModelConfig, declaration: Declaration, file: str) -> Iterator[str]:
    """Inputs that the configuration has, or may leave out, and the parameters of `__call__` that they are passed to."""
    names = [tensor.name for tensor in config.input]
    if declaration.parameters is None:
        given = declaration.annotations.parameters
        if len(given) > 1 and not set(given) - set(names):
            yield (
                f"Model.__call__ in {file} has parameters for the inputs {', '.join(map(repr, given))}, but no "
                "annotations: write what each of them is, as in Annotated[np.ndarray, FP32(4)], or take (self, inputs)"
            )
        return
    has_default = {each.name: each.optional for each in declaration.inputs or ()}
    for index, tensor in enumerate(config.input):
        if tensor.name not in declaration.parameters:
            yield f"input[{index}].name: Model.__call__ in {file} has no parameter '{tensor.name}'"
        elif tensor.optional and not has_default.get(tensor.name):
            yield (
                f"input[{index}].optional: parameter '{tensor.name}' of Model.__call__ in {file} has no default, so it "
                "cannot be left out"
            )


def _content_contradictions(config: ModelConfig, declaration: Declaration, file: str) -> Iterator[str]:
    batching = config.max_batch_size > 0
    contents = {"input": declaration.input_contents(), "output": declaration.output_contents()}
    found: Mapping[str, Iterable[Any]] = {"input": config.input, "output": config.output}
    for kind, tensors in found.items():
        for index, tensor in enumerate(tensors):
            declared = contents[kind].get(tensor.name)
            if declared is None:
                continue
            if tensor.data_type != _BYTES:
                yield (
                    f"{kind}[{index}].data_type: '{tensor.name}' is {declared} in {file}, which is TYPE_STRING in the "
                    "configuration"
                )
            if batching and declared.annotated and not declared.several:
                yield (
                    f"'{tensor.name}' is {declared} in {file}, which is one, but max_batch_size is "
                    f"{config.max_batch_size}: write list[{declared}], with one for each row, or max_batch_size = 0"
                )
    direct = config.HasField("sequence_batching") and not config.sequence_batching.HasField("oldest")
    if direct and contents["input"]:
        # One that cannot be decoded is left out of its batch, and here a row's place in it has a meaning.
        yield (
            f"sequence_batching: inputs that are texts, JSON or images, as in {file}, need its strategy 'oldest': "
            "write sequence_batching { oldest { } }"
        )


def _fill_content_types(config: ModelConfig, declaration: Declaration, file: str) -> Iterator[str]:
    """Let clients see what is in the elements of BYTES tensors."""
    found = {
        kind: {name: each.content.name for name, each in contents.items()}
        for kind, contents in (
            ("inputs", declaration.input_contents()),
            ("outputs", declaration.output_contents()),
        )
        if contents
    }
    parameter = parameter_texts(config).get(CONTENT_TYPES)
    text = json.dumps(found)
    if parameter is None and found:
        config.parameters[CONTENT_TYPES].string_value = text
    elif parameter is not None and not _same_json(parameter, found):
        yield (
            f"parameters['{CONTENT_TYPES}']: {file} says {text}, the configuration says {parameter}; leave "
            "it out"
        )


def _same_json(text: str, value: object) -> bool:
    try:
        return bool(json.loads(text) == value)
    except ValueError:
        return False


def _specs(declared: Iterable[Declared], batching: bool) -> tuple[TensorSpec, ...]:
    """As in a configuration: of a model that batches, a row has one text, or image."""
    return tuple(_spec(each, batching) for each in declared)


def _spec(declared: Declared, batching: bool) -> TensorSpec:
    what = declared.what
    if isinstance(what, ContentType):
        dims = (-1,) if declared.several and not batching else (1,)
        return TensorSpec(declared.name, "BYTES", dims, declared.optional)
    return TensorSpec(declared.name, what.datatype, tuple(what.dims), declared.optional)


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
