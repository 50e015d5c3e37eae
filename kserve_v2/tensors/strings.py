"""BYTES tensors on the wire: for every element a 4-byte little-endian length, then the bytes."""

import struct
from collections.abc import Iterable, Sequence

import numpy as np

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import Array

_LENGTH = struct.Struct("<I")
_LENGTH_BYTES = _LENGTH.size
_length_at = _LENGTH.unpack_from

# Elements are cut out of pieces of this size, which are copied first: to cut them out of a view takes three times as
# long.
_PIECE_BYTES = 64 * 1024


class CutOffError(Exception):
    """The data of a tensor ends within an element."""

    def __init__(self, available: int, length: int | None = None) -> None:
        """`available`: how many bytes there are, of 4 for a length or of an element of that `length`."""
        super().__init__(available, length)
        self._available = available
        self._length = length

    def about(self, announced: AnnouncedInput) -> InvalidArgumentError:
        """What the client is told, in Triton's words."""
        if self._length is None:
            return InvalidArgumentError(
                f"{announced.prefix}incomplete string length indicator for inference input '{announced.name}' "
                f"for model '{announced.model_name}', expecting 4 bytes but only {self._available} bytes available. "
                "Please make sure the string length indicator is in one buffer."
            )
        return InvalidArgumentError(
            f"incomplete string data for inference input '{announced.name}', "
            f"expecting string of length {self._length} but only {self._available} bytes available"
        )


def read_elements(data: bytes | memoryview, at: int, elements: list[bytes]) -> int:
    """Add the elements that begin at `at`: those that end within a piece of the data, at least one. Returns where the
    next one begins. Raises CutOffError.
    """
    piece = bytes(data if len(data) <= _PIECE_BYTES and not at else data[at : at + _PIECE_BYTES])
    size, offset = len(piece), 0
    last = size - _LENGTH_BYTES
    while offset <= last:
        start = offset + _LENGTH_BYTES
        end = start + _length_at(piece, offset)[0]
        if end > size:
            break
        elements.append(piece[start:end])
        offset = end
    return at + offset if offset else _read_element(data, at, elements)


def _read_element(data: bytes | memoryview, at: int, elements: list[bytes]) -> int:
    """Add one that is larger than a piece, or cut off."""
    start = at + _LENGTH_BYTES
    if start > len(data):
        raise CutOffError(len(data) - at)
    length: int = _length_at(data, at)[0]
    if length > len(data) - start:
        raise CutOffError(len(data) - start, length)
    elements.append(bytes(data[start : start + length]))
    return start + length


def decode_bytes_tensor(announced: AnnouncedInput, data: bytes | memoryview) -> Array:
    """Read the announced elements into an object array of `bytes`.

    Raises InvalidArgumentError, with Triton's texts, for data that is cut off or has another number of
    elements.
    """
    size = len(data)
    if size >= _LENGTH_BYTES and _length_at(data)[0] == size - _LENGTH_BYTES:
        # The usual case in one go: one text.
        return bytes_array(announced, [bytes(data[_LENGTH_BYTES:])])
    elements: list[bytes] = []
    at = 0
    try:
        while at < size:
            at = read_elements(data, at, elements)
    except CutOffError as error:
        raise error.about(announced) from None
    return bytes_array(announced, elements)


def bytes_array(announced: AnnouncedInput, elements: list[bytes] | Array) -> Array:
    """An object array of `elements`, which may be a flat one already, in the announced shape. Raises
    InvalidArgumentError for another number of elements.
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
    flat = elements if isinstance(elements, np.ndarray) else flat_bytes(elements)
    return flat.reshape(announced.shape)


def flat_bytes(elements: Sequence[bytes]) -> Array:
    """A flat BYTES tensor of as many elements."""
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array


def encode_bytes_tensor(elements: Iterable[bytes]) -> bytes:
    """The wire form of a flat BYTES tensor."""
    pack = _LENGTH.pack
    return b"".join([part for element in elements for part in (pack(len(element)), element)])
