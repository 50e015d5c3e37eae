"""BYTES tensors on the wire: for every element a 4-byte little-endian length, then the bytes."""

import struct
from collections.abc import Iterable

import numpy as np

from kserve_v2.datatypes import Array
from kserve_v2.errors import InvalidArgumentError

_LENGTH = struct.Struct("<I")


def decode_bytes_tensor(
    data: bytes | memoryview, count: int, name: str, model_name: str, prefix: str = ""
) -> Array:
    """Read exactly `count` elements into a flat object array of `bytes`.

    Raises InvalidArgumentError, with Triton's texts, for data that is cut off or has another number of elements. `prefix` is
    put before the text.
    """
    elements: list[bytes] = []
    offset, size = 0, len(data)
    while offset < size:
        start = offset + 4
        if start > size:
            raise InvalidArgumentError(
                f"{prefix}incomplete string length indicator for inference input '{name}' for model '{model_name}', "
                f"expecting 4 bytes but only {size - offset} bytes available. "
                "Please make sure the string length indicator is in one buffer."
            )
        (length,) = _LENGTH.unpack_from(data, offset)
        offset = start + length
        if offset > size:
            raise InvalidArgumentError(
                f"{prefix}incomplete string data for inference input '{name}', "
                f"expecting string of length {length} but only {size - start} bytes available"
            )
        elements.append(bytes(data[start:offset]))
    return bytes_array(elements, count, name, model_name, prefix)


def bytes_array(elements: list[bytes], count: int, name: str, model_name: str, prefix: str = "") -> Array:
    """A flat object array of `elements`. Raises InvalidArgumentError if there are not exactly `count`."""
    if len(elements) < count:
        raise InvalidArgumentError(
            f"{prefix}expected {count} string elements for inference input '{name}' for model '{model_name}', "
            f"got {len(elements)}"
        )
    if len(elements) > count:
        raise InvalidArgumentError(
            f"{prefix}unexpected number of string elements {len(elements)} for inference input '{name}' "
            f"for model '{model_name}', expecting {count}"
        )
    array = np.empty(count, dtype=np.object_)
    array[:] = elements
    return array


def encode_bytes_tensor(elements: Iterable[bytes]) -> bytes:
    """The wire form of a flat BYTES tensor."""
    pack = _LENGTH.pack
    return b"".join([part for element in elements for part in (pack(len(element)), element)])
