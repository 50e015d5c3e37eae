"""BYTES tensors on the wire: for every element a 4-byte little-endian length, then the bytes."""

import struct
from collections.abc import Iterable, Sequence

import numpy as np

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import Array

_LENGTH = struct.Struct("<I")


def decode_bytes_tensor(announced: AnnouncedInput, data: bytes | memoryview) -> Array:
    """Read the announced elements into an object array of `bytes`.

    Raises InvalidArgumentError, with Triton's texts, for data that is cut off or has another number of
    elements.
    """
    elements: list[bytes] = []
    offset, size = 0, len(data)
    while offset < size:
        start = offset + _LENGTH.size
        if start > size:
            raise InvalidArgumentError(
                f"{announced.prefix}incomplete string length indicator for inference input '{announced.name}' "
                f"for model '{announced.model_name}', expecting 4 bytes but only {size - offset} bytes available. "
                "Please make sure the string length indicator is in one buffer."
            )
        (length,) = _LENGTH.unpack_from(data, offset)
        offset = start + length
        if offset > size:
            raise InvalidArgumentError(
                f"incomplete string data for inference input '{announced.name}', "
                f"expecting string of length {length} but only {size - start} bytes available"
            )
        elements.append(bytes(data[start:offset]))
    return bytes_array(announced, elements)


def bytes_array(announced: AnnouncedInput, elements: list[bytes]) -> Array:
    """An object array of `elements` in the announced shape. Raises InvalidArgumentError for another number of
    elements.
    """
    count = announced.element_count()
    name, model_name = announced.name, announced.model_name
    if len(elements) < count:
        raise InvalidArgumentError(
            f"{announced.prefix}expected {count} string elements for inference input '{name}' "
            f"for model '{model_name}', got {len(elements)}"
        )
    if len(elements) > count:
        raise InvalidArgumentError(
            f"{announced.prefix}unexpected number of string elements {len(elements)} for inference input '{name}' "
            f"for model '{model_name}', expecting {count}"
        )
    return flat_bytes(elements).reshape(announced.shape)


def flat_bytes(elements: Sequence[bytes]) -> Array:
    """A flat BYTES tensor of as many elements."""
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array


def encode_bytes_tensor(elements: Iterable[bytes]) -> bytes:
    """The wire form of a flat BYTES tensor."""
    pack = _LENGTH.pack
    return b"".join([part for element in elements for part in (pack(len(element)), element)])
