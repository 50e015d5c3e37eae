"""BYTES tensors on the way: for every element a 4-byte little-endian length, then the bytes."""

from __future__ import annotations

import struct

import numpy as np

from .messages import Array, MessageError, ProtocolError

_LENGTH = struct.Struct("<I")
_MAX_LENGTH = 2**32 - 1


def pack(name: str, array: Array) -> bytes:
    """The elements in C order. Raises MessageError, which names the tensor, for elements that are not bytes."""
    parts: list[bytes] = []
    length = _LENGTH.pack
    for index, element in enumerate(array.reshape(-1).tolist()):
        if not isinstance(element, bytes):
            raise MessageError(
                f"element {index} of tensor '{name}' is {type(element).__name__}, expected bytes: an array of objects "
                "is a BYTES tensor"
            )
        if len(element) > _MAX_LENGTH:
            raise MessageError(
                f"element {index} of tensor '{name}' has {len(element)} bytes, more than {_MAX_LENGTH}"
            )
        parts += (length(len(element)), element)
    return b"".join(parts)


# Of more elements it takes too long to say how long they are.
_FEW = 16


def pack_few(array: Array, room: int) -> bytes | None:
    """As `pack`; None for more than a few elements, or `room` bytes, or elements that are not bytes."""
    if array.size == 1:
        element = array.item()
        if type(element) is not bytes or len(element) > room:
            return None
        return _LENGTH.pack(len(element)) + element
    if array.size > _FEW:
        return None
    elements = array.reshape(-1).tolist()
    if any(type(each) is not bytes for each in elements) or sum(map(len, elements)) > room:
        return None
    return b"".join([part for each in elements for part in (_LENGTH.pack(len(each)), each)])


def unpack(name: str, data: bytes, count: int, shape: tuple[int, ...]) -> Array:
    """`data` is nobody else's, or what has been checked could change before it is used. Raises ProtocolError."""
    size, offset = len(data), 0
    if count == 1 and size >= 4 and _LENGTH.unpack_from(data)[0] == size - 4:
        # The usual case, in fewer steps.
        array = np.empty(1, object)
        array[0] = data[4:]
        return array.reshape(shape)
    if 4 * count > size:
        raise ProtocolError(f"tensor '{name}' has {count} elements in {size} bytes")
    elements: list[bytes] = []
    length_at = _LENGTH.unpack_from
    for _ in range(count):
        start = offset + 4
        if start > size:
            raise ProtocolError(f"tensor '{name}' is cut off in a length")
        offset = start + length_at(data, offset)[0]
        if offset > size:
            raise ProtocolError(f"tensor '{name}' is cut off in an element")
        elements.append(data[start:offset])
    if offset != size:
        raise ProtocolError(f"tensor '{name}' has {size - offset} bytes behind its last element")
    array = np.empty(count, object)
    array[:] = elements
    return array.reshape(shape)
