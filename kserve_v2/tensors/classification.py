"""The classification extension: the highest values of an output, with their labels, as strings."""

from collections.abc import Sequence

import numpy as np

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BOOL, BY_DTYPE, BYTES, Array


def classify(array: Array, count: int, labels: Sequence[str], *, batched: bool) -> Array:
    """The `count` highest values of each batch row, flattened, as `value:index` or `value:index:label`.

    Returns a BYTES array of shape [batch, k] for a model that batches, [k] otherwise; k is `count` or the
    row's size. Equal values keep the order of their indices; floats have six decimals (Triton's form). Raises
    InvalidArgumentError for a datatype that has no order.
    """
    datatype = BY_DTYPE[array.dtype]
    if datatype in (BOOL, BYTES):
        raise InvalidArgumentError(
            f"class result not available for output due to unsupported type '{datatype.name}'"
        )
    rows = array.reshape(array.shape[0], -1) if batched else array.reshape(1, -1)
    kept = min(count, rows.shape[1])
    classes = np.empty((rows.shape[0], kept), dtype=np.object_)
    for target, row in zip(classes, rows, strict=True):
        # Stable on the reversed row, read backwards: descending values, ascending indices where they are
        # equal.
        order = row.size - 1 - np.argsort(row[::-1], kind="stable")[::-1][:kept]
        target[:] = [_class_text(row[index], int(index), labels) for index in order]
    return classes if batched else classes[0]


def _class_text(value: np.generic, index: int, labels: Sequence[str]) -> bytes:
    number = str(value) if isinstance(value, np.integer) else f"{float(value):.6f}"
    label = f":{labels[index]}" if index < len(labels) and labels[index] else ""
    return f"{number}:{index}{label}".encode()
