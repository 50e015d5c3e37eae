"""Values by name, as people write them, to tensors: scalars, flat lists, lists in lists, texts and base64.

What Triton takes, it takes in the same way: a scalar or a flat list is filled into the shape of the model. Lists in
lists have a shape of their own, which is the model's, or the model's without its batch dimension.
"""

from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from kserve_v2.errors import InvalidArgumentError, shape_text
from kserve_v2.messages import InferRequest
from kserve_v2.rest.base64_tensor import decode_base64
from kserve_v2.rest.json_tensor import decode_json_data
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BF16, BYTES, FP16, FP32, Array
from kserve_v2.tensors.strings import bytes_array

B64 = "b64"
"""The member of an object that stands for bytes."""


@dataclass(slots=True)
class Layout:
    """How the tensors of an answer are written: as its request was.

    `by_shape`: as lists in lists, if the request had something that Triton does not take; else flat, as Triton does.
    `rows`: with their batch dimension, if the request had one, or more than one row.
    """

    by_shape: bool = False
    rows: bool = False


def decode_value(
    value: Any, tensor: TensorSignature, signature: ModelSignature, request: InferRequest, layout: Layout
) -> Array:
    """The tensor that a value is. `value`: of JSON, or with `bytes` in the place of texts. Notes in `layout` how it is
    written. Raises InvalidArgumentError that names the input.
    """
    batched = signature.max_batch_size > 0
    if isinstance(value, list):
        elements, sizes = _flatten(value, tensor.name)
    else:
        elements, sizes = [value], ()
    if len(sizes) > 1:
        layout.by_shape = True
        layout.rows |= batched and len(sizes) > len(tensor.dims)
        shape = _shape_as_written(sizes, tensor.dims, batched=batched)
    else:
        shape = _shape_to_fill(tensor.dims, len(elements), batched=batched)
        layout.rows |= batched and shape is not None and shape[0] != 1
    if shape is None:
        raise _misshapen(tensor, signature, sizes, len(elements))
    announced = AnnouncedInput(tensor.name, tensor.datatype, shape, request.model_name, request.id)
    return _array(announced, elements, layout)


def _array(announced: AnnouncedInput, elements: list[Any], layout: Layout) -> Array:
    name, datatype = announced.name, announced.datatype
    types = set(map(type, elements))
    if datatype is BYTES:
        if types <= {str}:
            return decode_json_data(announced, elements)
        layout.by_shape = True
        return bytes_array(announced, [_bytes(each, name, number) for number, each in enumerate(elements)])
    if dict in types:
        raise InvalidArgumentError(
            f"The schema can not convert input '{name}' to tensor with proper shape: it is {datatype.name}, and has an "
            f"object among its elements"
        )
    if datatype in (FP16, BF16):
        single = decode_json_data(announced._replace(datatype=FP32), elements)
        with np.errstate(over="ignore"):
            return single.astype(datatype.dtype)
    return decode_json_data(announced, elements)


def _bytes(element: Any, name: str, number: int) -> bytes:
    """One element of a BYTES input."""
    if isinstance(element, str):
        return element.encode()
    if isinstance(element, bytes):
        return element
    if not isinstance(element, dict):
        raise InvalidArgumentError(
            f"Unable to parse JSON bytes array: attempt to access JSON non-string as string (input '{name}')"
        )
    if element.keys() != {B64} or not isinstance(element[B64], str):
        members = ", ".join(map(repr, list(element)[:8])) or "none"
        raise InvalidArgumentError(
            f'input \'{name}\': element {number} is an object; expected a text, or {{"{B64}": "…"}} with base64 in '
            f"it, got the members {members}"
        )
    return decode_base64(element[B64], name, number)


def _flatten(value: list[Any], name: str) -> tuple[list[Any], tuple[int, ...]]:
    """The elements of lists in lists, and the sizes of the lists of each level. Raises InvalidArgumentError if those of
    one level differ.
    """
    sizes = [len(value)]
    elements = value
    while list in (types := set(map(type, elements))):
        lengths = [len(each) if type(each) is list else -1 for each in elements]
        if len(types) > 1 or len(set(lengths)) > 1:
            raise _ragged(lengths, sizes, name)
        sizes.append(lengths[0])
        elements = list(chain.from_iterable(elements))
    return elements, tuple(sizes)


def _ragged(lengths: list[int], sizes: list[int], name: str) -> InvalidArgumentError:
    """`lengths`: of what is a list, -1 for what is none; it is as many as `sizes` say."""
    other = next(number for number, length in enumerate(lengths) if length != lengths[0])

    def found(number: int) -> str:
        length, place = lengths[number], ""
        for size in reversed(sizes):
            number, index = divmod(number, size)
            place = f"[{index}]{place}"
        return f"{name}{place} is {'no list' if length < 0 else f'a list of {length}'}"

    return InvalidArgumentError(
        f"input '{name}': the lists of one level must be equally long: {found(0)}, {found(other)}"
    )


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


def _shape_as_written(
    sizes: tuple[int, ...], dims: tuple[int, ...], *, batched: bool
) -> tuple[int, ...] | None:
    """The shape of lists in lists, with a batch dimension of 1 where they leave it out. None if it is not the
    model's.
    """
    shape = (1, *sizes) if batched and len(sizes) == len(dims) else sizes
    row = shape[1:] if batched else shape
    fits = len(row) == len(dims) and all(dim in (size, -1) for size, dim in zip(row, dims, strict=True))
    return shape if fits else None


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
