"""Conversions for the tensors that ONNX Runtime's Python interface does not take as they are."""

import ctypes

import ml_dtypes
import numpy as np
import onnxruntime as ort

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.datatypes import BF16, Array

# TensorProto.DataType.BFLOAT16 of the ONNX specification.
_ONNX_BFLOAT16 = 16


def decode_strings(name: str, array: Array) -> Array:
    """Input BYTES as the `str` that ONNX Runtime wants: given `bytes`, it would take their `repr`.

    Raises InvalidArgumentError for an element that is no UTF-8, which the ONNX specification prescribes for
    strings.
    """
    decoded = np.empty(array.size, dtype=np.object_)
    try:
        decoded[:] = [element.decode() for element in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(
            f"input '{name}': ONNX strings must be UTF-8, got {error.object[:20]!r}"
        ) from error
    return decoded.reshape(array.shape)


def encode_strings(array: Array) -> Array:
    """Output strings as BYTES."""
    encoded = np.empty(array.size, dtype=np.object_)
    encoded[:] = [element.encode() for element in array.ravel().tolist()]
    return encoded.reshape(array.shape)


def to_ort_value(array: Array) -> ort.OrtValue:
    """Any array but one of strings. BF16 goes in as its bits, since numpy has no such type of its own."""
    if array.dtype == BF16.dtype:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _ONNX_BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


def from_ort_value(value: ort.OrtValue) -> Array:
    """Any tensor on the CPU. BF16 is copied out of its memory, since ONNX Runtime exports it in no other
    way."""
    if value.data_type() == "tensor(bfloat16)":
        bits = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
        return np.frombuffer(bits, ml_dtypes.bfloat16).reshape(value.shape())
    array: Array = value.numpy()
    return array
