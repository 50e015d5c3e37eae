"""Tensors, and their three forms on the wire: JSON, raw bytes, and the typed contents of gRPC."""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kserve_v2_conformance._generated import grpc_service_pb2 as pb
from kserve_v2_conformance.datatypes import DATATYPES, Array, Datatype

_LENGTH = struct.Struct("<I")


class UnreadableTensor(ValueError):
    """What a server sent for a tensor is not a tensor of that datatype."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """`shape` is what the message says; `values` are the elements, flat and row-major. The two need not agree."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Array


def array(datatype: str, values: Sequence[object]) -> Array:
    """A flat array of that datatype. BYTES elements are given as bytes or as text."""
    if datatype == "BYTES":
        result = np.empty(len(values), dtype=np.object_)
        result[:] = [value.encode() if isinstance(value, str) else value for value in values]
        return result
    return np.array(values, dtype=DATATYPES[datatype].dtype)


def _row(tensor: Tensor) -> Datatype:
    """The datatype; of a tensor whose datatype is a wrong one on purpose, the one that its values have."""
    by_values = (row for row in DATATYPES.values() if row.dtype == tensor.values.dtype)
    return DATATYPES.get(tensor.datatype) or next(by_values)


def difference(expected: Tensor, got: Tensor) -> str | None:
    """What differs between two tensors' values, or None. Exact: only NaN equals every NaN, and -0.0 is not 0.0."""
    want, have = expected.values, got.values
    if len(want) != len(have):
        return f"expected {len(want)} elements, got {len(have)}"
    wrong = np.flatnonzero(~_same(want, have))
    if not len(wrong):
        return None
    first = int(wrong[0])
    return (
        f"{len(wrong)} of {len(want)} elements differ, first [{first}]: expected {show_element(want[first])}, "
        f"got {show_element(have[first])}"
    )


def _same(want: Array, have: Array) -> Array:
    """Element by element; both have the dtype of one datatype and the same length."""
    same: Array = np.asarray(want == have, dtype=np.bool_)
    if want.dtype.kind == "f":
        same &= np.signbit(want) == np.signbit(have)
        same |= np.isnan(want) & np.isnan(have)
    return same


def show_element(value: object) -> str:
    """One element for people."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


# JSON


def to_json(tensor: Tensor) -> list[Any]:
    """The flat `data` array. BYTES must be UTF-8."""
    if _row(tensor).name == "BYTES":
        return [bytes(value).decode() for value in tensor.values]
    result: list[Any] = tensor.values.tolist()
    return result


def from_json(datatype: str, data: object) -> Array:
    """The values of a `data` array, nested or flat. Raises UnreadableTensor."""
    if not isinstance(data, list):
        raise UnreadableTensor(f"data is {type(data).__name__}, not an array")
    flat = list(flatten(data))
    if datatype == "BYTES":
        return array("BYTES", [_text(value) for value in flat])
    row = DATATYPES[datatype]
    if datatype == "BOOL":
        return np.array([_boolean(value) for value in flat], dtype=np.bool_)
    if row.is_integer:
        return _integers(flat, datatype)
    numbers = np.array([_number(value) for value in flat], dtype=np.float64)
    with np.errstate(over="ignore"):
        return numbers.astype(row.dtype)


def flatten(data: object) -> Iterator[object]:
    """The elements of nested arrays, in their order."""
    for value in data if isinstance(data, list) else ():
        if isinstance(value, list):
            yield from flatten(value)
        else:
            yield value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UnreadableTensor(f"an element of a BYTES tensor is {value!r}, not a string")
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise UnreadableTensor(f"an element of a BOOL tensor is {value!r}, not true or false")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnreadableTensor(f"an element is {value!r}, not a number")
    return float(value)


def _integers(flat: list[object], datatype: str) -> Array:
    limits = np.iinfo(DATATYPES[datatype].dtype)
    values = []
    for value in flat:
        number = _number(value)
        if not math.isfinite(number) or number != math.floor(number):
            raise UnreadableTensor(f"an element of a {datatype} tensor is {value!r}")
        whole = value if isinstance(value, int) else int(number)
        if not limits.min <= whole <= limits.max:
            raise UnreadableTensor(f"{value!r} is out of the range of {datatype}")
        values.append(whole)
    return np.array(values, dtype=limits.dtype)


# Raw bytes: little-endian, row-major; BYTES elements have their length in four bytes before them.


def to_raw(tensor: Tensor) -> bytes:
    """The elements' bytes."""
    if _row(tensor).name == "BYTES":
        return b"".join(_LENGTH.pack(len(value)) + value for value in tensor.values)
    if tensor.datatype == "BF16":
        bits = tensor.values.astype("<f4").view("<u4")
        return (bits >> 16).astype("<u2").tobytes()
    return tensor.values.astype(tensor.values.dtype.newbyteorder("<")).tobytes()


def from_raw(datatype: str, data: bytes) -> Array:
    """The values of raw bytes. Raises UnreadableTensor."""
    if datatype == "BYTES":
        return array("BYTES", list(_elements(data)))
    row = DATATYPES[datatype]
    if len(data) % row.item_size:
        raise UnreadableTensor(f"{len(data)} bytes are no whole number of {datatype} elements")
    if datatype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float32)
    if datatype == "BOOL" and data.strip(b"\0\1"):
        raise UnreadableTensor("a byte of a BOOL tensor is neither 0 nor 1")
    return np.frombuffer(data, row.dtype.newbyteorder("<")).astype(row.dtype)


def _elements(data: bytes) -> Iterator[bytes]:
    offset = 0
    while offset < len(data):
        start = offset + _LENGTH.size
        if start > len(data):
            raise UnreadableTensor(
                f"{len(data) - offset} bytes where the four of an element's length should be"
            )
        (length,) = _LENGTH.unpack_from(data, offset)
        offset = start + length
        if offset > len(data):
            raise UnreadableTensor(f"an element of {length} bytes, of which {len(data) - start} are there")
        yield data[start:offset]


# gRPC's typed contents


def to_contents(tensor: Tensor) -> pb.InferTensorContents:
    """The elements in the field that suits the datatype, which must have one."""
    field = _row(tensor).contents_field
    return pb.InferTensorContents(**{field: tensor.values.tolist()})


def from_contents(datatype: str, contents: pb.InferTensorContents) -> Array:
    """The values of typed contents. Raises UnreadableTensor if another field than the datatype's is filled."""
    field = DATATYPES[datatype].contents_field
    filled = [descriptor.name for descriptor, _ in contents.ListFields()]
    if any(name != field for name in filled):
        raise UnreadableTensor(
            f"{datatype} contents are in {', '.join(filled)}, not in {field or 'raw contents'}"
        )
    values = list(getattr(contents, field)) if field else []
    if DATATYPES[datatype].is_integer:
        return _integers(values, datatype)
    return array(datatype, values)
