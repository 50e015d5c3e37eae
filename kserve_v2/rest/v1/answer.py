"""Answers of the v1 protocol: `predictions`, row by row, or `outputs`, tensor by tensor."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferResponse
from kserve_v2.rest.json_tensor import with_literals
from kserve_v2.rest.json_values import B64, as_lists, writable
from kserve_v2.tensors.datatypes import BYTES, Array

_BYTES_SUFFIX = "_bytes"
"""An output of BYTES whose name ends so is base64, whatever is in it."""

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def encode_predictions(response: InferResponse, *, by_row: bool) -> bytes:
    """The body of an answer. Raises InvalidArgumentError for outputs that have no common rows, if they go `by_row`."""
    arrays = {name: _written(name, array) for name, array in response.outputs.items()}
    if by_row:
        _check_rows(arrays)
    for literal in (False, True):
        value = _predictions(arrays, literal) if by_row else _outputs(arrays, literal)
        document = {"predictions" if by_row else "outputs": value}
        if response.parameters:
            # Neither of the two servers has them, but they would be lost.
            document["parameters"] = {name: with_literals(each) for name, each in response.parameters.items()}
        text = orjson.dumps(document, option=_OPTIONS)
        # orjson writes null for NaN and the infinities, and nothing else in an answer is null.
        if b"null" not in text:
            break
    return text


def _written(name: str, array: Array) -> Array:
    if array.dtype != BYTES.dtype or not name.endswith(_BYTES_SUFFIX):
        return writable(array)
    encoded = np.empty(array.size, np.object_)
    encoded[:] = [{B64: base64.b64encode(element).decode()} for element in array.reshape(-1)]
    return encoded.reshape(array.shape)


def _check_rows(arrays: Mapping[str, Array]) -> None:
    """Raise InvalidArgumentError unless all have as many rows."""
    column = "; with 'inputs' in the place of 'instances' the answer is not cut into rows"
    for name, array in arrays.items():
        if not array.ndim:
            raise InvalidArgumentError(f"Tensor name: {name} has no shape information{column}")
    sizes = {name: len(array) for name, array in arrays.items()}
    expected = next(iter(sizes.values()), 0)
    for name, size in sizes.items():
        if size != expected:
            raise InvalidArgumentError(
                f"Tensor name: {name} has inconsistent batch size: {size} expecting: {expected}{column}"
            )


def _predictions(arrays: Mapping[str, Array], literal: bool) -> Any:
    if len(arrays) == 1:
        return _outputs(arrays, literal)
    columns = [_rows(array, literal) for array in arrays.values()]
    return [dict(zip(arrays, row, strict=True)) for row in zip(*columns, strict=True)]


def _rows(array: Array, literal: bool) -> Sequence[Any]:
    rows: Sequence[Any] = as_lists(array)
    return [with_literals(row) for row in rows] if literal else rows


def _outputs(arrays: Mapping[str, Array], literal: bool) -> Any:
    values = {name: as_lists(array) for name, array in arrays.items()}
    if literal:
        values = {name: with_literals(value) for name, value in values.items()}
    return next(iter(values.values())) if len(values) == 1 else values
