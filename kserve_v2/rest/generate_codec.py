"""Requests by name: members of a JSON object are inputs and parameters. So are files and the fields of forms.

Values are written as people write them: scalars, flat lists, lists in lists, texts and base64. What Triton takes, it
takes in the same way: a scalar or a flat list is filled into the shape of the model. Lists in lists have a shape of
their own, which is the model's, or the model's without its batch dimension.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from kserve_v2.errors import InvalidArgumentError, shape_text
from kserve_v2.json_data.tensors import Elements, Texts, check_types, numbers_array, types_of
from kserve_v2.json_data.text import parse_object
from kserve_v2.json_data.values import flat_texts, flatten_nested
from kserve_v2.messages import InferRequest, ParameterValue
from kserve_v2.net.limits import check_id, check_parameters
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.tensors.datatypes import BYTES, Array


@dataclass(slots=True)
class Layout:
    """How the tensors of an answer are written: as its request was.

    `by_shape`: as lists in lists, if the request had something that Triton does not take; else flat, as Triton does.
    `rows`: with their batch dimension, if the request had one, or more than one row.
    """

    by_shape: bool = False
    rows: bool = False


@dataclass(slots=True)
class Said:
    """What a request says, whatever form it has. `inputs`: values by name; see `decode_value`."""

    inputs: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, ParameterValue] = field(default_factory=dict)
    id: str = ""
    layout: Layout = field(default_factory=Layout)


def members(document: Any) -> Iterable[tuple[dict[str, Any], str]]:
    """The places for large lists of numbers; see `json_data.large.Places`."""
    return ((document, name) for name in document) if isinstance(document, dict) else ()


def read_json(body: bytes | bytearray | memoryview, signature: ModelSignature, document: Any = None) -> Said:
    """Read a body in JSON, or the `document` that was made of it before. A member that is called like an input is that
    input; all others are parameters, and so are the members of an object called `parameters`.

    Raises InvalidArgumentError that names the member.
    """
    document = dict(parse_object(body, document))
    said = Said()
    # As in `infer`, an optional member that is null counts as missing.
    nested = document.pop("parameters", None)
    if nested is None:
        nested = {}
    if not isinstance(nested, dict):
        raise InvalidArgumentError(
            "Expected JSON object for keyword: 'parameters': attempt to access JSON non-object as object"
        )
    if isinstance(document.get("id"), str):
        said.id = document["id"]
        check_id(said.id)
    check_parameters(len(nested) + len(document) - len(document.keys() & signature.inputs.keys()))
    for name, value in {**nested, **document}.items():
        is_input = name in signature.inputs
        if value is None and (is_input or name == "id"):
            continue
        if is_input:
            said.inputs[name] = value
        else:
            said.parameters[name] = _parameter(name, value, document, signature)
    return said


def _parameter(
    name: str, value: Any, document: Mapping[str, Any], signature: ModelSignature
) -> ParameterValue:
    """As `parameter`. Of what cannot be one, while an input is missing, it is said that it is no input either."""
    try:
        return parameter(name, value)
    except InvalidArgumentError as error:
        if all(each in document or tensor.optional for each, tensor in signature.inputs.items()):
            raise
        inputs = ", ".join(f"'{each}'" for each in signature.inputs)
        raise InvalidArgumentError(
            f"{error.message} It is no input of model '{signature.model_name}'; its inputs: {inputs}"
        ) from None


def parameter(name: str, value: Any) -> ParameterValue:
    """A parameter of a request. `value`: of JSON; a long text may be Texts. Raises InvalidArgumentError for what cannot
    be one.
    """
    if isinstance(value, Texts) and value.sizes == ():
        value = value.lists()
    if isinstance(value, str | bool | int | float):
        return value
    raise InvalidArgumentError(
        f"parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'."
    )


def request_of(said: Said, signature: ModelSignature, model_name: str, version: str) -> InferRequest:
    """The request that was meant. Notes in its layout how it was written. Raises InvalidArgumentError that names the
    input.
    """
    request = InferRequest(model_name, {}, version, said.id)
    request.parameters.update(said.parameters)
    for name, value in said.inputs.items():
        request.inputs[name] = decode_value(value, signature.inputs[name], signature, said.layout)
    return request


def decode_value(value: Any, tensor: TensorSignature, signature: ModelSignature, layout: Layout) -> Array:
    """The tensor that a value is. `value`: of JSON, or with `bytes` in the place of texts. Notes in `layout` how it is
    written. Raises InvalidArgumentError that names the input.
    """
    batched = signature.max_batch_size > 0
    elements, sizes = flatten_nested(value, tensor.name)
    if len(sizes) > 1:
        layout.by_shape = True
        layout.rows |= batched and len(sizes) > len(tensor.dims)
        # With a batch dimension of 1 where the lists leave it out.
        written = (1, *sizes) if batched and len(sizes) == len(tensor.dims) else sizes
        shape = written if tensor.accepts(written[1:] if batched else written) else None
    else:
        shape = _shape_to_fill(tensor.dims, len(elements), batched=batched)
        layout.rows |= batched and shape is not None and shape[0] != 1
    if shape is None:
        raise _misshapen(tensor, signature, sizes, len(elements))
    return _flat(elements, tensor, layout).reshape(shape)


def _flat(elements: Elements, tensor: TensorSignature, layout: Layout) -> Array:
    name, datatype, types = tensor.name, tensor.datatype, types_of(elements)
    if datatype is BYTES:
        layout.by_shape |= not types <= {str}
        return flat_texts(elements, name)
    if dict in types:
        raise InvalidArgumentError(
            f"The schema can not convert input '{name}' to tensor with proper shape: it is {datatype.name}, and has an "
            f"object among its elements"
        )
    check_types(types, datatype, name)
    return numbers_array(elements, datatype, name)


def _shape_to_fill(dims: tuple[int, ...], count: int, *, batched: bool) -> tuple[int, ...] | None:
    """A shape with `count` elements: the last variable dimension, else the batch, takes what the fixed ones leave.

    None if there is none.
    """
    fixed = prod(dim for dim in dims if dim != -1)
    if fixed == 0 or count % fixed:
        return None
    left = count // fixed
    shape = list(dims)
    for index in reversed(range(len(shape))):
        if shape[index] == -1:
            shape[index], left = left, 1
    if batched:
        return (left, *shape)
    return tuple(shape) if left == 1 else None


def _misshapen(
    tensor: TensorSignature, signature: ModelSignature, sizes: tuple[int, ...], count: int
) -> InvalidArgumentError:
    fixed = prod(dim for dim in tensor.dims if dim != -1)
    batched = signature.max_batch_size > 0
    unit = f"{fixed} element{'' if fixed == 1 else 's'}"
    several = unit if not batched and tensor.fixed else f"a multiple of {unit}"
    shape = shape_text((-1, *tensor.dims) if batched else tensor.dims)
    one_row = f", or {shape_text(tensor.dims)} for one row" if batched else ""
    got = (
        f"lists of shape {shape_text(sizes)}"
        if len(sizes) > 1
        else f"{count} element{'' if count == 1 else 's'}"
    )
    return InvalidArgumentError(
        f"The schema can not convert input '{tensor.name}' to tensor with proper shape: its shape is {shape}, and "
        f"generate takes it as a flat list of {several}, or as lists in lists of that shape{one_row}; got {got}"
    )
