"""Tensors as raw bytes: little-endian, row-major, without padding; in both protocols the same."""

import sys
from collections.abc import Sequence
from math import prod

import numpy as np

from kserve_v2.bytes_tensor import decode_bytes_tensor, encode_bytes_tensor
from kserve_v2.datatypes import BYTES, Array, Datatype, datatype_of
from kserve_v2.errors import InvalidArgumentError

if sys.byteorder != "little":
    raise ImportError(
        "kserve_v2 runs on little-endian machines only: the protocol's tensors are little-endian"
    )

# No tensor that fits into a message has more elements; and numpy cannot make an array of more.
_MAX_ELEMENTS = 2**62


def element_count(shape: Sequence[int], name: str) -> int:
    """Number of elements of a client's shape, before anything of that size is allocated. Raises InvalidArgumentError."""
    if any(size < 0 for size in shape):
        raise InvalidArgumentError(
            f"invalid shape for input '{name}': shape {list(shape)} contains one or more invalid dimensions"
        )
    count = prod(shape)
    if count > _MAX_ELEMENTS:
        raise InvalidArgumentError(
            f"invalid shape for input '{name}': shape {list(shape)} causes total element count to exceed "
            f"maximum size of {_MAX_ELEMENTS}"
        )
    return count


def decode_raw_tensor(
    data: bytes | memoryview,
    datatype: Datatype,
    shape: Sequence[int],
    name: str,
    model_name: str,
    prefix: str = "",
) -> Array:
    """An array over `data`, without a copy except for BYTES. Raises InvalidArgumentError if size and shape disagree."""
    count = element_count(shape, name)
    if datatype is BYTES:
        return decode_bytes_tensor(data, count, name, model_name, prefix).reshape(shape)
    expected = count * datatype.item_size
    if len(data) != expected:
        raise InvalidArgumentError(
            f"{prefix}input byte size mismatch for input '{name}' for model '{model_name}'. "
            f"Expected {expected}, got {len(data)}"
        )
    return np.frombuffer(data, dtype=datatype.dtype).reshape(shape)


def encode_raw_tensor(array: Array) -> bytes | memoryview:
    """The wire form of an output: a view of its bytes where that is possible."""
    if datatype_of(array) is BYTES:
        return encode_bytes_tensor(array.reshape(-1))
    # By way of uint8: ml_dtypes' bfloat16 exports no buffer of its own.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
