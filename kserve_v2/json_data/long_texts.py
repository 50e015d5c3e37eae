"""Long texts in JSON, such as files in base64: they are cut out before the rest is parsed, and read in slices. Where
that cannot be done, right or wrong, all of it is left to those who read it in one go.
"""

import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.base64_texts import BASE64, CONTENT_TYPE, Decoded, NoBase64, decoded_in_slices
from kserve_v2.json_data.broken import BrokenError
from kserve_v2.json_data.tensors import Texts
from kserve_v2.json_data.text import check_depth, letters_of
from kserve_v2.json_data.values import B64, LongText, flatten_nested
from kserve_v2.net.limits import MAX_ID_CHARACTERS, id_too_long
from kserve_v2.scheduling.slices import SLICE_BYTES, Room, Slices, room_for
from kserve_v2.tensors.strings import flat_bytes

SHORT_BYTES = SLICE_BYTES // 4
"""A longer text is cut out."""

# With each character as an escape.
_LONGEST_ID_BYTES = 6 * MAX_ID_CHARACTERS

# So many others are passed over in a slice.
_SLICE_TEXTS = 256

# What may stand in a text.
_IN_TEXT = re.compile(
    rb'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)

Found = dict[str, memoryview]
"""Long texts as they were sent, without quotes, by the marks in their places."""

Fill = Callable[[dict[str, Any], Found, Room], Slices[bool]]
"""Puts what long texts are where their marks stand in a document, and takes those out. Returns whether that could be
done.
"""


def parse_long_texts(
    text: bytes | bytearray, room: Room, fill: Fill, short_bytes: int = SHORT_BYTES
) -> Slices[Any]:
    """The document in `text`, if nearly all of it are long texts. None for any other, or where there is no `room` for
    what is made of them, or some are left. Raises BrokenError for what seems to be no JSON.
    """
    cut = yield from _cut_out(text, short_bytes)
    if cut is None:
        return None
    rest, found, at = cut
    without = b"".join((*rest, text[at:]))
    try:
        document = orjson.loads(without)
    except orjson.JSONDecodeError as error:
        at, before = _before(error, rest, found)
        raise BrokenError(text, at, before, only_texts=True) from None
    if type(document) is not dict or not (yield from fill(document, found, room)) or found:
        return None
    check_depth(document, without)
    return document


def _before(
    error: orjson.JSONDecodeError, rest: list[bytes | memoryview], found: Found
) -> tuple[int, list[bytes | memoryview]]:
    """Where the last long text before an error ends, and what stands for all as far as there."""
    left, at, parts = len(error.doc[: error.pos].encode()), 0, 0
    for number, each in enumerate(found.values()):
        before, mark = rest[2 * number : 2 * number + 2]
        left -= len(before) + len(mark)
        if left < 0:
            break
        at += len(before) + len(each) + 2
        parts += 2
    return at, rest[:parts]


def _cut_out(
    text: bytes | bytearray, short_bytes: int
) -> Slices[tuple[list[bytes | memoryview], Found, int] | None]:
    """The text in parts, with a mark in the place of each long text; these, by their marks; and where the last of them
    ends. None where there is none, or too much else.
    """
    view, mark = memoryview(text).toreadonly(), secrets.token_hex(16)
    rest: list[bytes | memoryview] = []
    found: Found = {}
    begin, copied, others, number = text.find(b'"'), 0, 0, 0
    while begin >= 0 and others + begin - copied <= SLICE_BYTES:
        end, number = begin + 1, number + 1
        if number % _SLICE_TEXTS == 0:
            yield
        while text[end : end + 1] != b'"':
            looked_at = _IN_TEXT.match(text, end, end + SLICE_BYTES)
            if looked_at is None or looked_at.end() == end:
                raise BrokenError(text, end, (*rest, view[copied : begin + 1]), only_texts=True)
            end = looked_at.end()
            if end - begin > SLICE_BYTES:
                yield
        if end - begin - 1 > short_bytes:
            name = f"{mark}{len(found)}"
            found[name] = view[begin + 1 : end]
            rest += (view[copied:begin], b'"%b"' % name.encode())
            others += begin - copied
            copied = end + 1
        begin = text.find(b'"', end + 1)
    if not found or others + len(text) - copied > SLICE_BYTES:
        return None
    return rest, found, copied


# --- what they are ------------------------------------------------------------------------------------------------


def values(places: Callable[[Any], Any], *, coded: bool, alone: bool = False) -> Fill:
    """Reads elements of lists in `places`, see `json_data.large.Places`, and what is base64 in members called "b64".
    `coded`: whether parameters beside a list can say that it is base64. `alone`: whether there may be an element
    without a list.
    """

    def fill(document: dict[str, Any], found: Found, room: Room) -> Slices[bool]:
        long_id = found.get(str(document.get("id")))
        if long_id is not None and len(long_id) > _LONGEST_ID_BYTES:
            raise id_too_long(f"{len(long_id)} bytes")
        for container, key in places(document):
            value = container.get(key)
            listed = type(value) is list or (alone and type(value) is str and key != "id")
            if listed and not (yield from _fill_list(container, key, found, room, coded=coded)):
                return False
        return (yield from _fill_objects(document, found, room))

    return fill


def _fill_list(container: dict[str, Any], key: str, found: Found, room: Room, *, coded: bool) -> Slices[bool]:
    """Read a list of texts with marks among them, or one without a list. Returns whether that could be done; there may
    be none.
    """
    try:
        elements, sizes = flatten_nested(container[key], "")
    except InvalidArgumentError:
        return False
    if (
        not isinstance(elements, list)
        or set(map(type, elements)) != {str}
        or found.keys().isdisjoint(elements)
    ):
        return True
    parameters = container.get("parameters")
    coded = coded and type(parameters) is dict and parameters.get(CONTENT_TYPE) == BASE64
    read: list[bytes] = []
    wrong: tuple[int, NoBase64] | None = None
    for number, each in enumerate(elements):
        text = found.pop(each, None)
        text = memoryview(orjson.dumps(each)[1:-1]) if text is None else text
        element = yield from (decoded_in_slices if coded else _encoded)(letters_of(text), len(text), room)
        if element is None:
            return False
        if isinstance(element, NoBase64):
            wrong = wrong or (number, element)
        else:
            read.append(element)
    array = flat_bytes(read)
    container[key] = (
        Decoded(array, wrong) if coded else Texts(memoryview(b""), len(read), sizes, {str: (0, "")}, array)
    )
    return True


def _fill_objects(document: dict[str, Any], found: Found, room: Room) -> Slices[bool]:
    """Put what is base64 where its marks stand, as far as that is in members called "b64". Returns whether all of it is
    text.
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
                text = found.pop(value)
                decoded = yield from decoded_in_slices(letters_of(text), len(text), room)
                if decoded is None:
                    return False
                each[B64] = LongText(text, decoded)
            left += each.values()
    return True


def _encoded(letters: Iterator[str], most: int, room: Room) -> Slices[bytes | None]:
    """A text in UTF-8. None if it is no such text, or there is no room for it."""
    if not room(most):
        return None
    whole = room_for(most)
    try:
        for piece in letters:
            whole.write(piece.encode())
            yield
    except ValueError:
        return None
    whole.truncate()
    return whole.getvalue()
