"""BYTES tensors in JSON as base64, where the parameters of a tensor say `"content_type": "base64"`: what is not UTF-8
has no other form there. The name is MLServer's.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
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


# Padding, and all that follows it but for a letter. More padding than that is as wrong, or right.
_PADDED = re.compile(r"(={1,8})=*([^=]?).*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NoBase64:
    """A text that is none. `reason`: in Python's words. `begins`: its first characters."""

    reason: str
    begins: str

    def error(self, name: str, number: int) -> InvalidArgumentError:
        """Of element `number` of input `name`."""
        prefix = "; leave out what stands before the comma" if self.begins.startswith("data:") else ""
        return InvalidArgumentError(
            f"input '{name}': element {number} is no base64: {self.reason}; it begins with {self.begins!r}{prefix}"
        )


@dataclass(frozen=True, slots=True)
class Decoded:
    """Data that has been decoded. `elements`: flat; as far as the one that is `wrong`, with its number."""

    elements: Array
    wrong: tuple[int, NoBase64] | None = None


def decode_base64_data(announced: AnnouncedInput, data: Any) -> Array:
    """The elements of `data`. Raises InvalidArgumentError that names the input, and the element that is no base64."""
    name = announced.name
    if announced.datatype is not BYTES:
        raise InvalidArgumentError(
            f"input '{name}': parameter '{CONTENT_TYPE}' is '{BASE64}', which is for BYTES, got "
            f"{announced.datatype.name}"
        )
    if isinstance(data, Decoded):
        if data.wrong is not None:
            number, wrong = data.wrong
            raise wrong.error(name, number)
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
        raise NoBase64(str(error), text[:_SHOWN]).error(name, number) from None


def decoded_in_slices(
    letters: Iterator[str], most: int, room: Room, *, lines: bool = True
) -> Slices[bytes | NoBase64 | None]:
    """The bytes of a long element, which comes in pieces, with `most` letters together, or what is wrong with it.
    `lines`: whether there may be blanks in it. None if it is no text, or there is no room for them.
    """
    if not room(most * 3 // 4):
        return None
    whole, left, begins, wrong = room_for(most * 3 // 4), "", "", ""
    try:
        for piece in letters:
            begins = begins or piece[:_SHOWN]
            # Whatever else is wrong, it is said first that a text is not ASCII, which blanks may be the reason for.
            if not wrong or not piece.isascii():
                left += "".join(piece.split()) if lines and piece.isascii() else piece
                left, wrong = _decode_most(left, whole)
            yield
    except ValueError:
        return None
    if not wrong:
        wrong = _decode_last(left, whole)
    if wrong:
        return NoBase64(wrong, begins)
    whole.truncate()
    return whole.getvalue()


def _decode_most(text: str, whole: BytesIO) -> tuple[str, str]:
    """Decode what is before any padding. Returns what is left, and what is wrong."""
    now = len(text.partition("=")[0]) // 4 * 4 if text.isascii() else len(text)
    try:
        whole.write(base64.b64decode(text[:now], validate=True))
    except ValueError as error:
        return "", str(error)
    # Of what is behind padding, it is known that it is wrong.
    return _PADDED.sub(r"\1\2", text[now:]), ""


def _decode_last(left: str, whole: BytesIO) -> str:
    """Decode the end. Returns what is wrong."""
    before = whole.tell()
    # Four letters stand for all that were decoded.
    stand = "AAAA" if before else ""
    try:
        whole.write(base64.b64decode(stand + left, validate=True)[len(stand) * 3 // 4 :])
    except ValueError as error:
        return str(error).replace("(5)", f"({before // 3 * 4 + 1})") if stand else str(error)
    return ""


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
