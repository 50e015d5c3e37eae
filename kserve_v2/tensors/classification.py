"""The classification extension: the highest values of an output, with their labels, as strings."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BOOL, BY_DTYPE, BYTES, Array

SLICE_VALUES = 16 * 1024
"""So many values are looked at in a slice."""


def classify(
    array: Array, count: int, labels: Sequence[str], *, batched: bool
) -> Generator[None, None, Array]:
    """In slices, the `count` highest values of each batch row, flattened, as `value:index` or `value:index:label`.

    Returns a BYTES array of shape [batch, k] for a model that batches, [k] otherwise; k is `count` or the
    row's size. Equal values keep the order of their indices; floats have six decimals (Triton's form). Raises
    InvalidArgumentError for a datatype that has no order.
    """
    rows = _rows(array, batched=batched)
    kept = min(count, rows.shape[1])
    classes = np.empty((rows.shape[0], kept), dtype=np.object_)
    seen = 0
    for target, row in zip(classes, rows, strict=True):
        seen += row.size
        if seen > SLICE_VALUES:
            seen = row.size
            yield
        order = (yield from _order_of_many(row, kept)) if row.size > SLICE_VALUES else _order(row, kept)
        target[:] = [_class_text(row[index], index, labels) for index in order]
    return classes if batched else classes[0]


class Class(NamedTuple):
    """One class of a classification: a value of an output, its position in its row, and its label, "" for none."""

    value: "np.generic[Any]"
    position: int
    label: str


def highest(array: Array, count: int, labels: Sequence[str], *, batched: bool) -> list[list[Class]]:
    """As `classify`, but for whoever writes them in another form: the classes of each row."""
    return [
        [Class(row[index], index, _label(labels, index)) for index in _order(row, count)]
        for row in _rows(array, batched=batched)
    ]


def _rows(array: Array, *, batched: bool) -> Array:
    datatype = BY_DTYPE[array.dtype]
    if datatype in (BOOL, BYTES):
        raise InvalidArgumentError(
            f"class result not available for output due to unsupported type '{datatype.name}'"
        )
    return array.reshape(array.shape[0], -1) if batched else array.reshape(1, -1)


def _order(row: Array, count: int) -> list[int]:
    """Where the highest values stand: descending values, ascending indices where they are equal."""
    # Stable on the reversed row, read backwards.
    order: list[int] = (row.size - 1 - np.argsort(row[::-1], kind="stable")[::-1][:count]).tolist()
    return order


def _order_of_many(row: Array, count: int) -> Generator[None, None, list[int]]:
    """As `_order`, in slices: the highest values are among those of each part."""
    found: list[int] = []
    for start in range(0, row.size, SLICE_VALUES):
        part = _order(row[start : start + SLICE_VALUES], count)
        # In their order, in which equal values stay.
        found += sorted(start + index for index in part)
        yield
    return [found[index] for index in _order(row[found], count)]


def _label(labels: Sequence[str], index: int) -> str:
    return labels[index] if index < len(labels) else ""


def _class_text(value: np.generic, index: int, labels: Sequence[str]) -> bytes:
    number = str(value) if isinstance(value, np.integer) else f"{float(value):.6f}"
    label = _label(labels, index) and f":{_label(labels, index)}"
    return f"{number}:{index}{label}".encode()
