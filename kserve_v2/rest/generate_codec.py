"""The generate extension's flat JSON: members of the body are inputs and parameters, members of the answer outputs."""

from math import prod
from typing import Any

import orjson

from kserve_v2.errors import InvalidArgumentError, shape_text
from kserve_v2.messages import InferRequest, InferResponse, ParameterValue
from kserve_v2.rest.json_tensor import decode_json_data, encode_json_data, with_literals
from kserve_v2.rest.json_text import parse_json
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.tensors.announced import AnnouncedInput


def decode_generate(
    body: bytes | bytearray, signature: ModelSignature, model_name: str, version: str
) -> InferRequest:
    """Decode a request. A member that is called like an input is that input; all others are parameters, and so
    are the members of an object called `parameters`.

    Raises InvalidArgumentError that names the member.
    """
    document = parse_json(body)
    if not isinstance(document, dict):
        raise InvalidArgumentError("attempt to get members for non-object: the body must be a JSON object")
    request = InferRequest(model_name, {}, version)
    # As in `infer`, an optional member that is null counts as missing.
    nested = document.pop("parameters", None)
    if nested is None:
        nested = {}
    if not isinstance(nested, dict):
        raise InvalidArgumentError(
            "Expected JSON object for keyword: 'parameters': attempt to access JSON non-object as object"
        )
    if isinstance(document.get("id"), str):
        request.id = document["id"]
    for name, value in {**nested, **document}.items():
        tensor = signature.inputs.get(name)
        if value is None and (tensor is not None or name == "id"):
            continue
        if tensor is None:
            request.parameters[name] = _parameter(name, value)
        else:
            request.inputs[name] = _tensor(tensor, value, signature, request)
    return request


def _parameter(name: str, value: Any) -> ParameterValue:
    if isinstance(value, str | bool | int | float):
        return value
    raise InvalidArgumentError(
        f"parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'."
    )


def _tensor(tensor: TensorSignature, value: Any, signature: ModelSignature, request: InferRequest) -> Any:
    data = value if isinstance(value, list) else [value]
    shape = _shape(tensor.dims, len(data), batched=signature.max_batch_size > 0)
    if shape is None or any(isinstance(element, list | dict) for element in data):
        raise InvalidArgumentError(
            f"The schema can not convert input '{tensor.name}' to tensor with proper shape"
            f"{_expected(tensor, signature)}"
        )
    announced = AnnouncedInput(tensor.name, tensor.datatype, shape, request.model_name, request.id)
    return decode_json_data(announced, data)


def _expected(tensor: TensorSignature, signature: ModelSignature) -> str:
    """What `generate` takes for an input, to be read behind what is wrong with it."""
    fixed = prod(dim for dim in tensor.dims if dim != -1)
    batched = signature.max_batch_size > 0
    several = fixed if not batched and tensor.fixed else f"a multiple of {fixed}"
    shape = shape_text((-1, *tensor.dims) if batched else tensor.dims)
    return (
        f": its shape is {shape}, and generate takes it as a flat list of {several} elements, without lists in it; "
        "infer takes a shape"
    )


def _shape(dims: tuple[int, ...], count: int, *, batched: bool) -> tuple[int, ...] | None:
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


def encode_generate(response: InferResponse) -> bytes:
    """The answer as a flat object, members in alphabetical order. A tensor of one element is that element."""
    document: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version}
    if response.id:
        document["id"] = response.id
    document.update(response.parameters)
    for name, array in response.outputs.items():
        data = encode_json_data(array, name)
        document[name] = data[0] if len(data) == 1 else data
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS)
    # orjson writes null for NaN and the infinities; see `codec`.
    if b"null" in text:
        literal = {name: with_literals(value) for name, value in document.items()}
        text = orjson.dumps(literal, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS)
    return text
