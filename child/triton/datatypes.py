"""Datatypes, configuration and texts, as `triton_python_backend_utils` has functions for them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import TritonModelException

bfloat16: Any
try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None

TRITON_STRING_TO_NUMPY: dict[str, Any] = {
    "TYPE_BOOL": bool,
    "TYPE_UINT8": np.uint8,
    "TYPE_UINT16": np.uint16,
    "TYPE_UINT32": np.uint32,
    "TYPE_UINT64": np.uint64,
    "TYPE_INT8": np.int8,
    "TYPE_INT16": np.int16,
    "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64,
    "TYPE_FP16": np.float16,
    "TYPE_FP32": np.float32,
    "TYPE_FP64": np.float64,
    "TYPE_STRING": np.object_,
}
"""By the name of a datatype in a configuration."""

_BY_NUMBER = dict(enumerate(TRITON_STRING_TO_NUMPY.values(), start=1))
if bfloat16 is not None:
    TRITON_STRING_TO_NUMPY["TYPE_BF16"] = bfloat16
    _BY_NUMBER[14] = bfloat16

_NUMBERS = {np.dtype(scalar): number for number, scalar in _BY_NUMBER.items()}


def triton_to_numpy_type(data_type: int) -> Any:
    """numpy's type, by the number of one of Triton's."""
    return _BY_NUMBER[data_type]


def numpy_to_triton_type(data_type: Any) -> int:
    """The number of Triton's type."""
    return _NUMBERS[np.dtype(data_type)]


def triton_string_to_numpy(triton_type_string: str) -> Any:
    """numpy's type, by the name of one in a configuration."""
    return TRITON_STRING_TO_NUMPY[triton_type_string]


def is_supported(dtype: np.dtype[Any]) -> bool:
    """Whether a tensor may be of it."""
    return (dtype in _NUMBERS and dtype.isnative) or dtype.kind == "S"


def wire_array(name: str, array: Any) -> Any:
    """The array of a tensor as the server has it: texts are `bytes`; everything else is as it is."""
    if array.dtype.kind not in "OS":
        return array
    texts = np.empty(array.size, np.object_)
    for index, element in enumerate(array.ravel().tolist()):
        if isinstance(element, bytes):
            texts[index] = element
        else:
            try:
                texts[index] = str(element).encode()
            except UnicodeEncodeError:
                raise TritonModelException(f"tensor '{name}' has a text that has no form in UTF-8") from None
    return texts.reshape(array.shape)


def serialize_byte_tensor(input_tensor: Any) -> bytes | None:
    """The elements of an array of texts, each behind its length: as they are on the wire."""
    if input_tensor.size == 0:
        return b""
    if input_tensor.dtype != np.object_ and input_tensor.dtype.kind != "S":
        return None
    parts: list[bytes] = []
    for element in input_tensor.ravel().tolist():
        text = element if isinstance(element, bytes) else str(element).encode()
        parts += struct.pack("<I", len(text)), text
    return b"".join(parts)


def deserialize_bytes_tensor(encoded_tensor: bytes) -> Any:
    """The opposite: a flat array of `bytes`."""
    texts: list[bytes] = []
    start = 0
    while start < len(encoded_tensor):
        (length,) = struct.unpack_from("<I", encoded_tensor, start)
        start += 4
        if length > len(encoded_tensor) - start:
            raise ValueError(
                f"an element of {length} bytes does not fit into the {len(encoded_tensor)} bytes"
            )
        texts.append(bytes(encoded_tensor[start : start + length]))
        start += length
    array = np.empty(len(texts), np.object_)
    array[:] = texts
    return array


def get_input_config_by_name(model_config: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """What a configuration says of an input; None if there is none of that name."""
    return _by_name(model_config, "input", name)


def get_output_config_by_name(model_config: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """What a configuration says of an output; None if there is none of that name."""
    return _by_name(model_config, "output", name)


def _by_name(model_config: Mapping[str, Any], kind: str, name: str) -> dict[str, Any] | None:
    for entry in model_config.get(kind, ()):
        if entry["name"] == name:
            found: dict[str, Any] = entry
            return found
    return None


def using_decoupled_model_transaction_policy(model_config: Mapping[str, Any]) -> bool:
    """Whether the model gives any number of responses to a request."""
    return bool(model_config.get("model_transaction_policy", {}).get("decoupled", False))
