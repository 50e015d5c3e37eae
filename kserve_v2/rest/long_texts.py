"""Long texts in JSON, such as files in base64: they are cut out before the rest is parsed, and read in slices. Where
that cannot be done, right or wrong, all of it is left to those who read it in one go.
"""

import re
import secrets
from typing import Any

import orjson

from kserve_v2.rest.base64_tensor import BASE64, CONTENT_TYPE, Decoded, decoded_in_slices
from kserve_v2.rest.json_tensor import Texts
from kserve_v2.rest.json_text import check_depth
from kserve_v2.rest.json_values import B64, LongText
from kserve_v2.scheduling.slices import SLICE_BYTES, Room, Slices, room_for
from kserve_v2.tensors.strings import flat_bytes

# A text is cut out if a whole block of this size lies in it.
_BLOCK_BYTES = SLICE_BYTES // 4
_BLOCKS_IN_A_SLICE = 64

# What stands before a text, as far as one looks.
_BEFORE_BYTES = 16
_BEFORE_TEXT = (b":", b",", b"[")

# A byte of a character that is not its first one.
GOES_ON = re.compile(rb"[\x80-\xbf]")


def parse_long_texts(
    text: bytes | bytearray, room: Room, *, of_infer: bool, block_bytes: int = _BLOCK_BYTES
) -> Slices[Any]:
    """The document in `text`, if nearly all of it are long texts: those that are members called "b64", and, in requests
    to infer, elements of data. None for any other, or where there is no `room` for what is made of them.
    """
    rest, found = yield from _cut_out(text, block_bytes)
    if not found or sum(map(len, rest)) > SLICE_BYTES:
        return None
    without = b"".join(rest)
    try:
        document = orjson.loads(without)
    except orjson.JSONDecodeError:
        return None
    if type(document) is not dict:
        return None
    if of_infer and not (yield from _fill_inputs(document, found, room)):
        return None
    if not (yield from _fill(document, found, room)) or found:
        return None
    check_depth(document, without)
    return document


def _cut_out(
    text: bytes | bytearray, block_bytes: int
) -> Slices[tuple[list[bytes | memoryview], dict[str, memoryview]]]:
    """The text in parts, with a mark in the place of each long text; and these, by their marks.

    Whatever is cut out by mistake, between two texts, leaves something that is no JSON: a mark without quotes.
    """
    view, mark = memoryview(text).toreadonly(), secrets.token_hex(16)
    rest: list[bytes | memoryview] = []
    found: dict[str, memoryview] = {}
    behind = copied = 0
    for number, block in enumerate(range(0, len(text), block_bytes)):
        if number % _BLOCKS_IN_A_SLICE == 0:
            yield
        if block < behind or text.find(b'"', block, block + block_bytes) >= 0:
            continue
        begin, end = text.rfind(b'"', behind, block), text.find(b'"', block + block_bytes)
        if end < 0:
            break
        behind = end
        before = bytes(text[max(0, begin - _BEFORE_BYTES) : max(0, begin)]).rstrip(b" \t\r\n")
        # Escapes are left to the parser.
        if before.endswith(_BEFORE_TEXT) and text.find(b"\\", begin, end) < 0:
            name = f"{mark}{len(found)}"
            found[name] = view[begin + 1 : end]
            rest += (view[copied:begin], b'"%b"' % name.encode())
            behind = copied = end + 1
    return [*rest, view[copied:]], found


def _fill(document: dict[str, Any], found: dict[str, memoryview], room: Room) -> Slices[bool]:
    """Put what is base64 where its marks stand, as far as that is in members called "b64". Returns whether all of it is
    base64.
    """
    # In objects that are inputs by name, "b64" is the name of one.
    by_name = [document, document.get("inputs")]
    left: list[Any] = [document]
    while left:
        each = left.pop()
        if type(each) is list:
            left += each
        elif type(each) is dict:
            value = each.get(B64) if len(each) == 1 and not any(each is other for other in by_name) else None
            if type(value) is str and value in found:
                coded = found.pop(value)
                decoded = yield from decoded_in_slices(coded, room)
                if decoded is None:
                    return False
                each[B64] = LongText(coded, decoded)
            left += each.values()
    return True


def _fill_inputs(document: dict[str, Any], found: dict[str, memoryview], room: Room) -> Slices[bool]:
    """Read the data of inputs that have marks in it. Returns whether they could be read."""
    inputs = document.get("inputs")
    for item in inputs if type(inputs) is list else ():
        data = item.get("data") if type(item) is dict else None
        if type(data) is not list or set(map(type, data)) != {str} or found.keys().isdisjoint(data):
            continue
        parameters = item.get("parameters")
        coded = type(parameters) is dict and parameters.get(CONTENT_TYPE) == BASE64
        elements: list[bytes] = []
        for each in data:
            view = found.pop(each, None)
            view = memoryview(each.encode()) if view is None else view
            element = yield from (decoded_in_slices(view, room) if coded else _text(view, room))
            if element is None:
                return False
            elements.append(element)
        array = flat_bytes(elements)
        item["data"] = (
            Decoded(array)
            if coded
            else _Read(memoryview(b""), len(data), (len(data),), {str: (0, data[0])}, array)
        )
    return True


class _Read(Texts):
    """A flat list of texts."""

    def lists(self) -> list[Any]:
        return [element.decode() for element in self.elements]


def _text(view: memoryview, room: Room) -> Slices[bytes | None]:
    """A text in JSON without escapes. None if it is no such text, or there is no room for it."""
    if not room(len(view)):
        return None
    whole, at = room_for(len(view)), 0
    while at < len(view):
        piece = bytes(view[at : at + SLICE_BYTES + 4])
        if len(piece) > SLICE_BYTES:
            # At most three bytes of a character follow its first one.
            begins = (
                each for each in range(SLICE_BYTES, SLICE_BYTES - 4, -1) if not GOES_ON.match(piece, each)
            )
            piece = piece[: next(begins, SLICE_BYTES)]
        try:
            orjson.loads(b'"%b"' % piece)
        except orjson.JSONDecodeError:
            return None
        whole.write(piece)
        at += len(piece)
        yield
    return whole.getvalue()
