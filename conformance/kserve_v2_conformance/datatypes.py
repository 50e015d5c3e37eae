"""The datatypes of the protocol: one table."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Datatype:
    """One row. `dtype`: of the numpy arrays that hold its values; numpy has no BF16, which float32 holds exactly.

    `item_size`: bytes per element on the wire, 0 for BYTES, whose elements vary. `contents_field`: the field of gRPC's
    InferTensorContents that carries it, "" where only raw bytes can.
    """

    name: str
    dtype: np.dtype[Any]
    item_size: int
    contents_field: str

    @property
    def is_integer(self) -> bool:
        """Whether it is one of the eight integer datatypes."""
        return self.name.startswith(("INT", "UINT"))


_ROWS = (
    Datatype("BOOL", np.dtype(np.bool_), 1, "bool_contents"),
    Datatype("UINT8", np.dtype(np.uint8), 1, "uint_contents"),
    Datatype("UINT16", np.dtype(np.uint16), 2, "uint_contents"),
    Datatype("UINT32", np.dtype(np.uint32), 4, "uint_contents"),
    Datatype("UINT64", np.dtype(np.uint64), 8, "uint64_contents"),
    Datatype("INT8", np.dtype(np.int8), 1, "int_contents"),
    Datatype("INT16", np.dtype(np.int16), 2, "int_contents"),
    Datatype("INT32", np.dtype(np.int32), 4, "int_contents"),
    Datatype("INT64", np.dtype(np.int64), 8, "int64_contents"),
    Datatype("FP16", np.dtype(np.float16), 2, ""),
    Datatype("FP32", np.dtype(np.float32), 4, "fp32_contents"),
    Datatype("FP64", np.dtype(np.float64), 8, "fp64_contents"),
    Datatype("BYTES", np.dtype(np.object_), 0, "bytes_contents"),
    Datatype("BF16", np.dtype(np.float32), 2, ""),
)
DATATYPES: dict[str, Datatype] = {row.name: row for row in _ROWS}
