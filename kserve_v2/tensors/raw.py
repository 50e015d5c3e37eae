"""Tensors as raw bytes: little-endian, row-major, without padding; in both protocols the same."""

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BYTES, Array, datatype_of
from kserve_v2.tensors.strings import decode_bytes_tensor, encode_bytes_tensor

if sys.byteorder != "little":
    raise ImportError(
        "kserve_v2 runs on little-endian machines only: the protocol's tensors are little-endian"
    )

_ALIGNMENT = 64

# To copy as little takes less time than to make a view.
_COPIED_BYTES = 64 * 1024


def decode_raw_tensor(announced: AnnouncedInput, data: bytes | memoryview) -> Array:
    """An array over `data`, without a copy except for BYTES, and where `array_over` makes one. Raises
    InvalidArgumentError if size and shape disagree.
    """
    datatype = announced.datatype
    if datatype is BYTES:
        return decode_bytes_tensor(announced, data)
    expected = announced.element_count() * datatype.item_size
    if len(data) != expected:
        raise announced.size_mismatch(expected, len(data))
    return array_over(data, datatype.dtype, announced.shape)


def aligned_memory(size: int, *, aligned_at: int) -> memoryview:
    """New memory of `size` bytes, in which the byte at `aligned_at` is as aligned as any kernel may want it: models get
    tensors that begin there, or end there, as they are. It is not cleared, so it costs nothing before it is written.
    """
    memory = np.empty(size + _ALIGNMENT, np.uint8).data
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    start = -(address + aligned_at) % _ALIGNMENT
    return memory[start : start + size]


def array_over(data: bytes | memoryview, dtype: "np.dtype[Any]", shape: Sequence[int]) -> Array:
    """An array over bytes of the right size, without a copy unless they are unaligned: numpy and ONNX Runtime would
    cope with that, but not every kernel does.
    """
    array: Array = np.ndarray(tuple(shape), dtype, data)
    return array if array.flags.aligned else array.copy()


def encode_raw_tensor(array: Array) -> bytes | memoryview:
    """The wire form of an output: if it is large, a view of its bytes where that is possible."""
    if datatype_of(array) is BYTES:
        return encode_bytes_tensor(array.reshape(-1))
    if array.nbytes <= _COPIED_BYTES:
        return array.tobytes()
    # By way of uint8: ml_dtypes' bfloat16 exports no buffer of its own.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
