"""Tensors as JSON `data`: lists of any nesting in, flat arrays out."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.text import parse_json
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import (
    BF16,
    BYTES,
    DATATYPES,
    FP16,
    FP32,
    FP64,
    Array,
    Datatype,
    largest_number,
)
from kserve_v2.tensors.numbers import array_of_numbers
from kserve_v2.tensors.strings import bytes_array

# By kind of the numpy dtype: the types that the JSON parser makes of acceptable elements, and Triton's words
# for others.
_JSON_TYPES: dict[str, tuple[set[type], str]] = {
    "f": ({int, float}, "non-number as double"),
    "b": ({bool}, "non-boolean as boolean"),
    "u": ({int}, "non-unsigned-integer as unsigned-integer"),
    "i": ({int}, "non-signed-integer as signed-integer"),
}

# Datatypes of numbers by name: their dtypes, and the types that the JSON parser makes of acceptable elements.
_PLAIN: dict[Any, tuple[np.dtype[Any], frozenset[type]]] = {
    datatype.name: (datatype.dtype, frozenset(_JSON_TYPES[datatype.dtype.kind][0]))
    for datatype in DATATYPES
    if datatype not in (FP16, BF16, BYTES)
}

JSON_DTYPES = frozenset(dtype for dtype, _ in _PLAIN.values())
"""Arrays that orjson writes by itself."""

_INTEGERS, _TEXTS = frozenset({int}), frozenset({str})

# Of the bits of a half-precision number.
_NO_SIGN = np.uint16(0x7FFF)

# How errors about elements begin.
_UNPARSABLE = "Unable to parse 'data': "


@dataclass(eq=False)
class LargeList:
    """A list, in lists of any nesting, as it stands in a request: its elements are flat, and not Python's. Unless it is
    of a subclass, they are of types that no tensor takes together.

    `text`: as it was sent. `count`: of its elements. `sizes`: of the lists of each level; None if those of one level
    differ. `firsts`: the first element of each type that the JSON parser has made of them, and its number.
    """

    text: memoryview
    count: int
    sizes: tuple[int, ...] | None
    firsts: dict[type, tuple[int, Any]]

    @property
    def types(self) -> set[type]:
        """What the JSON parser has made of the elements."""
        return set(self.firsts)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        """The elements, for those who look for what is wrong with them."""
        return iter(flatten(self.lists())[0])

    def lists(self) -> list[Any]:
        """As the JSON parser has it."""
        found: list[Any] = parse_json(self.text)
        return found

    def first_not(self, wanted: set[type]) -> tuple[int, Any]:
        """The first element of another type, and its number; there is one."""
        return min((number, each) for kind, (number, each) in self.firsts.items() if kind not in wanted)


@dataclass(eq=False)
class Texts(LargeList):
    """One of texts. `elements`: what they are as BYTES, flat. `text`: b"" if it is long, and `sizes` are known."""

    elements: Array

    def lists(self) -> list[Any]:
        """See `LargeList`."""
        if self.text or self.sizes is None:
            return super().lists()
        texts = np.empty(self.elements.size, np.object_)
        texts[:] = [element.decode() for element in self.elements]
        lists: list[Any] = texts.reshape(self.sizes).tolist()
        return lists

    def first_not(self, wanted: set[type]) -> tuple[int, Any]:
        """See `LargeList`."""
        return 0, self.elements[0].decode()


@dataclass(eq=False)
class Numbers(LargeList):
    """One of numbers, or of booleans. `pieces`: of 64-bit integers, where a float is among them of doubles, or of
    booleans.
    """

    pieces: list[Array]

    def array(self, datatype: Datatype) -> Array | None:
        """A flat array of a datatype that takes the types; None if an element has no place in it."""
        whole = np.empty(len(self), datatype.dtype)
        at = 0
        try:
            for piece in self.pieces:
                whole[at : at + len(piece)] = _cast(piece, datatype)
                at += len(piece)
        except (FloatingPointError, OverflowError):
            return None
        return whole


Elements = list[Any] | LargeList
"""Of a tensor, one after the other."""


def types_of(elements: Elements) -> set[type]:
    """What the JSON parser has made of them."""
    return elements.types if isinstance(elements, LargeList) else set(map(type, elements))


def first_not(elements: Elements, wanted: set[type]) -> tuple[int, Any]:
    """The first element that the JSON parser has made something else of, and its number; there is one."""
    if isinstance(elements, LargeList):
        return elements.first_not(wanted)
    return next((number, each) for number, each in enumerate(elements) if type(each) not in wanted)


def _cast(piece: Array, datatype: Datatype) -> Array:
    """Numbers in a datatype. Raises OverflowError or FloatingPointError for one that has no place in it."""
    if datatype in (FP16, BF16):
        return _half_precision(piece, datatype)
    if datatype.dtype.kind in "iu" and len(piece):
        limits = np.iinfo(datatype.dtype)
        if not (limits.min <= int(piece.min()) and int(piece.max()) <= limits.max):
            raise OverflowError
    with np.errstate(over="raise"):
        # Python's integers become doubles first, too.
        return (piece.astype(np.float64) if datatype is FP32 else piece).astype(datatype.dtype)


def decode_plain_input(item: Any) -> Array | None:
    """The usual case in one go: an input with a name, without parameters, whose data is a flat list of numbers, as many
    as a proper shape has.

    None for everything else, right or wrong: `decode_json_data` takes a closer look, and finds the words for
    what is wrong.
    """
    if type(item) is not dict or "parameters" in item or type(item.get("name")) is not str:
        return None
    data, datatype, shape = item.get("data"), item.get("datatype"), item.get("shape")
    plain = _PLAIN.get(datatype) if type(datatype) is str else None
    if plain is None or type(data) is not list or type(shape) is not list:
        return None
    if not _INTEGERS.issuperset(map(type, shape)) or (shape and min(shape) < 0):
        return None
    dtype, types = plain
    try:
        return array_of_numbers(data, dtype).reshape(shape) if types.issuperset(map(type, data)) else None
    except (OverflowError, ValueError, struct.error):
        return None


def decode_json_data(announced: AnnouncedInput, data: Any) -> Array:
    """An array of the announced shape. Raises InvalidArgumentError that names the input, with Triton's texts."""
    name, datatype = announced.name, announced.datatype
    if datatype in (FP16, BF16):
        raise InvalidArgumentError(
            f"receiving {datatype.name} data via JSON is not supported. "
            f"Please use the binary data format for input {name}"
        )
    if not isinstance(data, list | LargeList):
        raise InvalidArgumentError(
            f"Unable to parse 'data': attempt to access JSON non-array as array (input '{name}')"
        )
    flat, types = (data, data.types) if isinstance(data, LargeList) else flatten(data)
    _check_elements(len(flat), types, announced)
    if datatype is BYTES:
        return bytes_array(
            announced, flat.elements if isinstance(flat, Texts) else [text.encode() for text in flat]
        )
    return numbers_array(flat, datatype, name).reshape(announced.shape)


def _check_elements(found: int, types: set[type], announced: AnnouncedInput) -> None:
    """Raise InvalidArgumentError unless there may be so many elements, of these JSON types. Texts are counted later."""
    name, datatype = announced.name, announced.datatype
    if datatype is BYTES:
        if not types <= {str}:
            raise InvalidArgumentError(
                f"Unable to parse JSON bytes array: attempt to access JSON non-string as string (input '{name}')"
            )
        return
    check_types(types, datatype, name)
    count = announced.element_count()
    if found != count:
        raise InvalidArgumentError(
            "Unable to parse 'data': Shape does not match true shape of 'data' field "
            f"(input '{name}': shape has {count} elements, 'data' has {found})"
        )


def flatten(data: list[Any]) -> tuple[list[Any], set[type]]:
    """The elements of a list nested in any way, in order, and the set of their types."""
    types = set(map(type, data))
    while types == {list}:
        data = list(chain.from_iterable(data))
        types = set(map(type, data))
    if list in types:
        elements: list[Any] = []
        _add_elements(data, elements)
        data, types = elements, set(map(type, elements))
    return data, types


def _add_elements(data: list[Any], elements: list[Any]) -> None:
    """Add the elements of a ragged list, whose depth the parser has limited."""
    for item in data:
        if type(item) is list:
            _add_elements(item, elements)
        else:
            elements.append(item)


def check_types(types: set[type], datatype: Datatype, name: str) -> None:
    """Raise unless all are JSON types that the datatype takes: booleans are no numbers, 1.0 is no integer."""
    wanted, text = _JSON_TYPES[_kind(datatype)]
    if not types <= wanted:
        raise InvalidArgumentError(f"{_UNPARSABLE}attempt to access JSON {text} (input '{name}')")


def _kind(datatype: Datatype) -> str:
    return "f" if datatype is BF16 else datatype.dtype.kind


def json_types(datatype: Datatype) -> set[type]:
    """What the JSON parser makes of elements that a datatype of numbers takes."""
    return _JSON_TYPES[_kind(datatype)][0]


def numbers_array(flat: Elements, datatype: Datatype, name: str, prefix: str = _UNPARSABLE) -> Array:
    """A flat array of numbers whose types fit `datatype`. Raises InvalidArgumentError that names one that has no place
    in it. Infinity has one in FP32 and its kin, where it is what was sent. `prefix`: how the error begins.
    """
    if isinstance(flat, LargeList):
        if isinstance(flat, Numbers) and (array := flat.array(datatype)) is not None:
            return array
        flat = list(flat)
    try:
        if datatype in (FP16, BF16):
            return _half_precision(flat, datatype)
        return array_of_numbers(flat, datatype.dtype)
    except (OverflowError, struct.error):
        raise _misfit(flat, datatype, name, prefix) from None


def _half_precision(flat: list[Any] | Array, datatype: Datatype) -> Array:
    """FP16 or BF16. Raises OverflowError for a finite number that would become infinite."""
    double = np.asarray(flat, np.float64)
    with np.errstate(over="ignore"):
        half = double.astype(datatype.dtype)
    # By their bits: to ask numpy takes ten times as long.
    infinite = half.view(np.uint16) & _NO_SIGN == np.array(np.inf, half.dtype).view(np.uint16)
    if infinite.any() and np.isfinite(double[infinite]).any():
        raise OverflowError
    return half


def _misfit(numbers: list[Any], datatype: Datatype, name: str, prefix: str) -> InvalidArgumentError:
    """Of numbers one of which has no place in a datatype: it is out of range, or finite and would be infinite. Begins
    with Triton's words for what Triton refuses, too: it wraps around whatever fits into 64 bits.
    """
    if datatype is FP64:
        return InvalidArgumentError(f"{prefix}Number too big to be stored in double. (input '{name}')")
    kind = _kind(datatype)
    if kind == "f":
        most = largest_number(datatype)
        double = np.array(numbers, np.float64)
        with np.errstate(over="ignore"):
            lost = np.isfinite(double) & np.isinf(double.astype(datatype.dtype))
        wrong, limits = numbers[int(lost.argmax())], f"[{-most:.8g}, {most:.8g}]"
    else:
        least, most = np.iinfo(datatype.dtype).min, np.iinfo(datatype.dtype).max
        wrong, limits = next(each for each in numbers if not least <= each <= most), f"[{least}, {most}]"
    reason = f"{wrong} is out of range for {datatype.name} {limits}"
    widest = np.iinfo(np.uint64 if kind == "u" else np.int64)
    if kind == "f" or widest.min <= wrong <= widest.max:
        return InvalidArgumentError(f"{prefix}{reason} (input '{name}')")
    return InvalidArgumentError(
        f"{prefix}attempt to access JSON {_JSON_TYPES[kind][1]} (input '{name}': {reason})"
    )


def no_utf8(name: str) -> InvalidArgumentError:
    """The error for an output of BYTES that JSON cannot carry."""
    return InvalidArgumentError(
        f"output '{name}' has an element that is not UTF-8: please use the binary data format for this output, "
        'or ask for it with the parameter "content_type": "base64"'
    )


def dumped(document: Any, option: int = 0) -> bytes:
    """The JSON of an answer, with orjson's `option`. Where orjson writes null for NaN and the infinities, it is written
    again with literals.
    """
    option |= orjson.OPT_SERIALIZE_NUMPY
    text = orjson.dumps(document, option=option)
    return orjson.dumps(with_literals(document), option=option) if b"null" in text else text


def with_literals(value: Any) -> Any:
    """`value` with NaN and the infinities as the bare literals that Python's and Triton's JSON parsers take: in floats,
    arrays and scalars, and in the lists and objects that they are in.
    """
    if isinstance(value, dict):
        return {name: with_literals(each) for name, each in value.items()}
    if isinstance(value, list) and not _TEXTS.issuperset(map(type, value)):
        return [with_literals(each) for each in value]
    if isinstance(value, float):
        value = np.float64(value)
    floats = isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f"
    if floats and not np.isfinite(value).all():
        return orjson.Fragment(json.dumps(value.tolist(), separators=(",", ":")).encode())
    return value
