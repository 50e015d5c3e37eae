"""Tensors as JSON `data`: lists of any nesting in, flat arrays out."""

import json
from itertools import chain
from typing import Any

import numpy as np
import orjson

from kserve_v2.announced_input import AnnouncedInput
from kserve_v2.bytes_tensor import bytes_array
from kserve_v2.datatypes import BF16, BYTES, FP16, FP32, Array, Datatype, datatype_of
from kserve_v2.errors import InvalidArgumentError

# By kind of the numpy dtype: the types that the JSON parser makes of acceptable elements, and Triton's words
# for others.
_JSON_TYPES: dict[str, tuple[set[type], str]] = {
    "f": ({int, float}, "non-number as double"),
    "b": ({bool}, "non-boolean as boolean"),
    "u": ({int}, "non-unsigned-integer as unsigned-integer"),
    "i": ({int}, "non-signed-integer as signed-integer"),
}


def decode_json_data(announced: AnnouncedInput, data: Any) -> Array:
    """An array of the announced shape. Raises InvalidArgumentError that names the input, with Triton's texts."""
    name, datatype = announced.name, announced.datatype
    if datatype in (FP16, BF16):
        raise InvalidArgumentError(
            f"receiving {datatype.name} data via JSON is not supported. "
            f"Please use the binary data format for input {name}"
        )
    if not isinstance(data, list):
        raise InvalidArgumentError(
            f"Unable to parse 'data': attempt to access JSON non-array as array (input '{name}')"
        )
    flat, types = flatten(data)
    if datatype is BYTES:
        if not types <= {str}:
            raise InvalidArgumentError(
                f"Unable to parse JSON bytes array: attempt to access JSON non-string as string (input '{name}')"
            )
        return bytes_array(announced, [text.encode() for text in flat])
    _check_types(types, datatype, name)
    count = announced.element_count()
    if len(flat) != count:
        raise InvalidArgumentError(
            "Unable to parse 'data': Shape does not match true shape of 'data' field "
            f"(input '{name}': shape has {count} elements, 'data' has {len(flat)})"
        )
    return _numbers(flat, datatype, name).reshape(announced.shape)


def flatten(data: list[Any]) -> tuple[list[Any], set[type]]:
    """The elements of a list nested in any way, in order, and the set of their types."""
    types = set(map(type, data))
    while list in types:
        if types == {list}:
            data = list(chain.from_iterable(data))
        else:
            data = [element for item in data for element in (item if type(item) is list else (item,))]
        types = set(map(type, data))
    return data, types


def _check_types(types: set[type], datatype: Datatype, name: str) -> None:
    """Raise unless all are JSON types that the datatype takes: booleans are no numbers, 1.0 is no integer."""
    wanted, text = _JSON_TYPES[datatype.dtype.kind]
    if not types <= wanted:
        raise InvalidArgumentError(f"Unable to parse 'data': attempt to access JSON {text} (input '{name}')")


def _numbers(flat: list[Any], datatype: Datatype, name: str) -> Array:
    try:
        if datatype is FP32:
            # What does not fit into single precision becomes infinite, as a cast does everywhere else.
            with np.errstate(over="ignore"):
                return np.array(flat, dtype=datatype.dtype)
        return np.array(flat, dtype=datatype.dtype)
    except OverflowError:
        if datatype.dtype.kind == "f":
            raise InvalidArgumentError(
                f"Unable to parse 'data': Number too big to be stored in double. (input '{name}')"
            ) from None
        limits = np.iinfo(datatype.dtype)
        wrong = next(value for value in flat if not limits.min <= value <= limits.max)
        raise InvalidArgumentError(
            f"Unable to parse 'data': {wrong} is out of range for {datatype.name} [{limits.min}, {limits.max}] "
            f"(input '{name}')"
        ) from None


def encode_json_data(array: Array, name: str) -> Any:
    """What orjson is given as `data`: the flat array itself, or for BYTES a list of strings.

    Raises InvalidArgumentError for what JSON cannot carry.
    """
    datatype = datatype_of(array)
    if datatype is BYTES:
        try:
            return [element.decode() for element in array.reshape(-1)]
        except UnicodeDecodeError:
            raise InvalidArgumentError(
                f"output '{name}' has an element that is not UTF-8: please use the binary data format for this output"
            ) from None
    if datatype in (FP16, BF16):
        raise InvalidArgumentError(
            f"sending {datatype.name} data via JSON is not supported. "
            f"Please use the binary data format for output '{name}'"
        )
    return np.ascontiguousarray(array).reshape(-1)


def with_literals(value: Any) -> Any:
    """`value` with NaN and the infinities as the bare literals that Python's and Triton's JSON parsers take.

    For floating point arrays and scalars only; orjson would write null for these values.
    """
    floats = isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f"
    if floats and not np.isfinite(value).all():
        return orjson.Fragment(json.dumps(value.tolist(), separators=(",", ":")).encode())
    return value
