"""The datatypes of the v2 protocol as this side of the border knows them: numpy's, and a number for each."""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None

# The place in this row is the datatype's number in a message.
NAMES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64",
    "BYTES", "BF16",
)  # fmt: skip

BYTES = NAMES.index("BYTES")

# None: of a datatype that this interpreter has no arrays for. BF16 needs `ml_dtypes`; its bits as integers would be
# taken for numbers.
DTYPES: tuple[np.dtype[Any] | None, ...] = (
    *map(np.dtype, ("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "O")),
    None if bfloat16 is None else np.dtype(bfloat16),
)

NUMBERS: dict[np.dtype[Any], int] = {
    dtype: number for number, dtype in enumerate(DTYPES) if dtype is not None
}

ITEM_SIZES = (1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 0, 2)
