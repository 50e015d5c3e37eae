"""BYTES tensors in JSON as base64, where the parameters of a tensor say `"content_type": "base64"`: what is not UTF-8
has no other form there. The name is MLServer's.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.tensors import Texts, flatten
from kserve_v2.scheduling.slices import SLICE_BYTES, Room, Slices, room_for
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BYTES, Array, datatype_of
from kserve_v2.tensors.strings import bytes_array

CONTENT_TYPE = "content_type"
BASE64 = "base64"

_SHOWN = 24

# Of what is encoded: a multiple of three, which needs no padding.
_SLICE_BYTES = 3 * SLICE_BYTES


@dataclass(frozen=True, slots=True)
class Decoded:
    """Data that has been decoded. `elements`: flat."""

    elements: Array


def decode_base64_data(announced: AnnouncedInput, data: Any) -> Array:
    """The elements of `data`. Raises InvalidArgumentError that names the input, and the element that is no base64."""
    name = announced.name
    if announced.datatype is not BYTES:
        raise InvalidArgumentError(
            f"input '{name}': parameter '{CONTENT_TYPE}' is '{BASE64}', which is for BYTES, got "
            f"{announced.datatype.name}"
        )
    if isinstance(data, Decoded):
        return bytes_array(announced, data.elements)
    flat, types = flatten(data) if isinstance(data, list) else ([], {type(None)})
    if isinstance(data, Texts):
        flat, types = [element.decode() for element in data.elements.tolist()], {str}
    if not types <= {str}:
        raise InvalidArgumentError(
            f"input '{name}': expected a list of texts in 'data', because parameter '{CONTENT_TYPE}' is '{BASE64}'"
        )
    return bytes_array(announced, [decode_base64(text, name, number) for number, text in enumerate(flat)])


def decode_base64(text: str, name: str, number: int) -> bytes:
    """The bytes of element `number` of input `name`. Raises InvalidArgumentError if it is no base64."""
    try:
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            # Many programs break lines.
            return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        # Not only of binascii: the text may not be ASCII.
        prefix = "; leave out what stands before the comma" if text.startswith("data:") else ""
        raise InvalidArgumentError(
            f"input '{name}': element {number} is no base64: {error}; it begins with {text[:_SHOWN]!r}{prefix}"
        ) from None


def decoded_in_slices(
    letters: Iterator[str], most: int, room: Room, *, lines: bool = True
) -> Slices[bytes | None]:
    """The bytes of a long element, which comes in pieces, with `most` letters together. `lines`: whether there may be
    blanks in it. None if it is no base64, or there is no room for them.
    """
    if not room(most * 3 // 4):
        return None
    whole, left = room_for(most * 3 // 4), ""
    try:
        for piece in letters:
            # What stands behind its end is judged with it.
            if "=" in left:
                return None
            left += "".join(piece.split()) if lines else piece
            now = len(left) // 4 * 4 if "=" not in left else 0
            whole.write(base64.b64decode(left[:now], validate=True))
            left = left[now:]
            yield
        whole.write(base64.b64decode(left, validate=True))
    except ValueError:
        return None
    whole.truncate()
    return whole.getvalue()


def raw_base64(source: str, name: str) -> InvalidArgumentError:
    """Of an input whose bytes come as they are."""
    return InvalidArgumentError(
        f"input '{name}': parameter '{CONTENT_TYPE}' is '{BASE64}', which is for texts in 'data', got '{source}'"
    )


def check_bytes(array: Array, name: str) -> None:
    """Raise InvalidArgumentError if the elements of an output are not BYTES."""
    if datatype_of(array) is not BYTES:
        raise InvalidArgumentError(
            f"output '{name}': parameter '{CONTENT_TYPE}' is '{BASE64}', which is for BYTES, but it is "
            f"{datatype_of(array).name}"
        )


def encode_base64(element: bytes) -> str:
    """The base64 of a short element."""
    return base64.b64encode(element).decode()


def base64_pieces(element: bytes) -> Slices[list[bytes]]:
    """That of a long one."""
    view, pieces = memoryview(element), list[bytes]()
    for at in range(0, len(view), _SLICE_BYTES):
        pieces.append(base64.b64encode(view[at : at + _SLICE_BYTES]))
        yield
    return pieces
