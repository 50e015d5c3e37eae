"""Answers of the v1 protocol: `predictions`, row by row, or `outputs`, tensor by tensor."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.large import (
    BASE64_OBJECTS,
    TEXTS_OR_BASE64,
    Gaps,
    InJson,
    is_large,
    shown,
    slice_rows,
    written,
)
from kserve_v2.json_data.tensors import dumped
from kserve_v2.json_data.values import as_lists
from kserve_v2.messages import InferResponse
from kserve_v2.scheduling.slices import Slices
from kserve_v2.tensors.datatypes import Array

_BYTES_SUFFIX = "_bytes"
"""An output of BYTES whose name ends so is base64, whatever is in it."""


def encode_predictions(response: InferResponse, *, by_row: bool) -> Slices[Sequence[bytes]]:
    """The body of an answer, in parts. Raises InvalidArgumentError for outputs that have no common rows, if they go
    `by_row`.
    """
    arrays = response.outputs
    if by_row:
        _check_rows(arrays)
    gaps = Gaps()
    values: dict[str, Any] = {}
    if by_row and len(arrays) != 1:
        values[""] = gaps.gap((yield from _rows(arrays)))
    else:
        for name, array in arrays.items():
            values[name] = yield from shown(array, name, gaps, _as_json(name))
    value = next(iter(values.values())) if len(values) == 1 else values
    document: dict[str, Any] = {"predictions" if by_row else "outputs": value}
    if response.parameters:
        # Neither of the two servers has them, but they would be lost.
        document["parameters"] = response.parameters
    return gaps.fill(dumped(document))


def _as_json(name: str) -> InJson:
    """What an element of BYTES is."""
    return BASE64_OBJECTS if name.endswith(_BYTES_SUFFIX) else TEXTS_OR_BASE64


def _check_rows(arrays: Mapping[str, Array]) -> None:
    """Raise InvalidArgumentError unless all have as many rows."""
    column = "; with 'inputs' in the place of 'instances' the answer is not cut into rows"
    for name, array in arrays.items():
        if not array.ndim:
            raise InvalidArgumentError(f"Tensor name: {name} has no shape information{column}")
    expected = len(next(iter(arrays.values()), ()))
    for name, array in arrays.items():
        if len(array) != expected:
            raise InvalidArgumentError(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {expected}{column}"
            )


def _rows(arrays: Mapping[str, Array]) -> Slices[list[bytes]]:
    """An object for each row, with its part of each output."""
    count = min(map(len, arrays.values()), default=0)
    at_once = slice_rows(sum(array[:1].size for array in arrays.values()))
    parts: list[bytes] = []
    for start in range(0, count, at_once):
        gaps, rows = Gaps(), list[dict[str, Any]]()
        part = slice(start, start + at_once)
        columns = [as_lists(array[part], _as_json(name).element) for name, array in arrays.items()]
        for row in zip(*columns, strict=True):
            rows.append({})
            for name, value in zip(arrays, row, strict=True):
                large = isinstance(value, np.ndarray) and is_large(value)
                rows[-1][name] = gaps.gap((yield from written(value, name))) if large else value
        parts += (b"," if start else b"[", *gaps.fill(dumped(rows)[1:-1]))
        yield
    return [*parts, b"]" if count else b"[]"]
