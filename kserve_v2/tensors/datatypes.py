"""The datatypes of the v2 protocol: one table, looked up by protocol name, numpy dtype or ModelConfig enum.

A tensor is a numpy array everywhere behind the codecs; its datatype is read off the array, so the two cannot
disagree. BYTES tensors are object arrays whose elements are `bytes`.
"""

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Datatype:
    """One row of the table; compared by identity.

    `name`: the protocol's name. `dtype`: the numpy dtype of its arrays. `config_enum`: number of
    `TYPE_<name>` in ModelConfig. `contents_field`: the field of gRPC's InferTensorContents that carries it,
    "" where only raw bytes can. `item_size`: bytes per element, 0 for BYTES, whose elements vary.
    """

    name: str
    dtype: np.dtype[Any]
    config_enum: int
    contents_field: str
    item_size: int

    @property
    def config_name(self) -> str:
        """Name of the ModelConfig enum value, e.g. `TYPE_FP32`; BYTES is `TYPE_STRING` there."""
        return "TYPE_STRING" if self.name == "BYTES" else f"TYPE_{self.name}"


def _row(name: str, dtype: npt.DTypeLike, config_enum: int, contents_field: str) -> Datatype:
    resolved = np.dtype(dtype)
    return Datatype(name, resolved, config_enum, contents_field, 0 if name == "BYTES" else resolved.itemsize)


BOOL = _row("BOOL", np.bool_, 1, "bool_contents")
UINT8 = _row("UINT8", np.uint8, 2, "uint_contents")
UINT16 = _row("UINT16", np.uint16, 3, "uint_contents")
UINT32 = _row("UINT32", np.uint32, 4, "uint_contents")
UINT64 = _row("UINT64", np.uint64, 5, "uint64_contents")
INT8 = _row("INT8", np.int8, 6, "int_contents")
INT16 = _row("INT16", np.int16, 7, "int_contents")
INT32 = _row("INT32", np.int32, 8, "int_contents")
INT64 = _row("INT64", np.int64, 9, "int64_contents")
FP16 = _row("FP16", np.float16, 10, "")
FP32 = _row("FP32", np.float32, 11, "fp32_contents")
FP64 = _row("FP64", np.float64, 12, "fp64_contents")
BYTES = _row("BYTES", np.object_, 13, "bytes_contents")
BF16 = _row("BF16", ml_dtypes.bfloat16, 14, "")

DATATYPES: tuple[Datatype, ...] = (
    BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, FP32, FP64, BYTES, BF16,
)  # fmt: skip

BY_NAME: dict[str, Datatype] = {datatype.name: datatype for datatype in DATATYPES}
BY_DTYPE: dict[np.dtype[Any], Datatype] = {datatype.dtype: datatype for datatype in DATATYPES}
BY_CONFIG_ENUM: dict[int, Datatype] = {datatype.config_enum: datatype for datatype in DATATYPES}


def largest_number(datatype: Datatype) -> float:
    """The largest finite number of a floating-point datatype."""
    return float(ml_dtypes.finfo(datatype.dtype).max)  # type: ignore[no-untyped-call]


def datatype_of(array: Array) -> Datatype:
    """The protocol's datatype of an array.

    Raises KeyError for a dtype that the protocol does not have (complex numbers, dates, big-endian integers).
    """
    return BY_DTYPE[array.dtype]
