"""Large JSON, read and written in slices. Nearly all of it are numbers, in `data`: those are cut into pieces at commas,
and each piece is JSON of its own. What is of any other form, right or wrong, is left to those who read it in one go.
"""

import re
import secrets
from typing import Any

import numpy as np
import orjson

from kserve_v2.rest.json_tensor import JSON_DTYPES, Numbers, flatten, with_literals
from kserve_v2.rest.json_text import check_depth
from kserve_v2.scheduling.slices import SLICE_BYTES, Room, Slices, any_room
from kserve_v2.tensors.datatypes import Array

_KEY = b'"data"'
# What stands before and behind a key. What matches in text that is JSON is the key of an object, not part of a string.
_BEFORE = re.compile(rb"[{,][ \t\r\n]*\Z")
_BEHIND = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*\[")
_MOST_BLANKS = 64
_BLANKS = b" \t\r\n"

# Numbers in a slice of an answer: each takes some ten bytes.
_SLICE_NUMBERS = SLICE_BYTES // 8

# So many keys with short lists, or none, are passed over in a slice.
_SLICE_KEYS = 256

# Deeper lists are for those who know how deep they may be.
_MOST_DEPTH = 16

# No number is longer, with the blanks around it.
_MOST_NUMBER_BYTES = 4096

_EXACT = (np.dtype(np.int64), np.dtype(np.float64))


def parse_large(
    text: bytes | bytearray | memoryview, slice_bytes: int = SLICE_BYTES, room: Room = any_room
) -> Slices[Any]:
    """The document in `text`, with Numbers in the place of large lists of numbers that are the `data` of an input. None
    where that cannot be had in slices, or there is no `room` for them. `slice_bytes`: the size of lists that are large,
    and of a slice.
    """
    text = memoryview(text).cast("B").toreadonly()
    if isinstance(text.obj, bytes) and len(text.obj) == len(text):
        whole = text.obj
    elif room(len(text)):
        whole = bytes(text)
    else:
        return None
    mark = secrets.token_hex(16)
    rest: list[bytes | memoryview] = []
    found: dict[str, Numbers] = {}
    copied = at = keys = 0
    while (at := whole.find(_KEY, at)) >= 0:
        place = at
        at += len(_KEY)
        keys += 1
        if keys % _SLICE_KEYS == 0:
            yield
        begin = _list_behind(whole, place)
        end = _end_of_numbers(whole, begin) if begin else 0
        if end - begin < slice_bytes:
            continue
        yield
        numbers = yield from _numbers(text[begin - 1 : end + 1], slice_bytes, room)
        if numbers is None:
            return None
        name = f"{mark}{len(found)}"
        found[name] = numbers
        rest += (text[copied : begin - 1], b'"%b"' % name.encode())
        copied = at = end + 1
    if not found:
        return None
    yield
    small = b"".join((*rest, text[copied:]))
    try:
        document = orjson.loads(small)
    except orjson.JSONDecodeError:
        return None
    check_depth(document, small)
    return document if _put_back(document, found) else None


def _list_behind(text: bytes, at: int) -> int:
    """Where the list begins, behind its bracket, that belongs to the key there; 0 if it is none."""
    if not _BEFORE.search(text[max(0, at - _MOST_BLANKS) : at]):
        return 0
    behind = _BEHIND.match(text, at + len(_KEY), at + len(_KEY) + _MOST_BLANKS)
    return behind.end() if behind else 0


def _end_of_numbers(text: bytes, begin: int) -> int:
    """Where the closing bracket of a list stands that has no texts or objects in it; before `begin` if nowhere."""
    text_begins = text.find(b'"', begin)
    most = text_begins if text_begins >= 0 else len(text)
    # Not beyond: where there are many lists, each would be searched for to the end of all.
    object_ends = text.find(b"}", begin, most)
    return text.rfind(b"]", begin, object_ends if object_ends >= 0 else most)


def _numbers(text: memoryview, slice_bytes: int, room: Room) -> Slices[Numbers | None]:
    """The numbers of a list, given with its brackets; None if it is not one, or has something else in it, or there is
    no room for them.
    """
    pieces: list[Array] = []
    types: set[type] = set()
    depth = at = 0
    while at < len(text):
        end = at + slice_bytes
        # Up to a comma, which goes with neither.
        comma = bytes(text[end : end + _MOST_NUMBER_BYTES]).find(b",")
        end = end + comma if comma >= 0 else len(text)
        if end - at > slice_bytes + _MOST_NUMBER_BYTES:
            return None
        piece = bytes(text[at:end])
        before, depth = depth, depth + piece.count(b"[") - piece.count(b"]")
        ends_well = 0 <= depth < _MOST_DEPTH and (depth == 0) == (end == len(text))
        if not ends_well or _lacks_an_element(piece, first=at == 0, last=end == len(text)):
            return None
        parsed = _parsed(b"[" * before + piece + b"]" * depth)
        if parsed is None or not room(parsed[0].nbytes):
            return None
        pieces.append(parsed[0])
        types |= parsed[1]
        at = end + 1
        yield
    return Numbers(text, pieces, types)


def _lacks_an_element(piece: bytes, *, first: bool, last: bool) -> bool:
    """Whether there is nothing next to a comma that a piece was cut at. Brackets would make an empty list of that."""
    bare = piece.strip(_BLANKS)
    return (not first and bare[:1] in (b"", b"]")) or (not last and bare[-1:] in (b"", b"["))


def _parsed(text: bytes) -> tuple[Array, set[type]] | None:
    """The flat array of a list of numbers, and the types of its elements. None if something else is in it."""
    try:
        elements, types = flatten(orjson.loads(text))
        numbers = np.array(elements) if elements else np.empty(0, np.int64)
    except (OverflowError, ValueError):
        return None
    return (numbers, types) if types <= {int, float} and numbers.dtype in _EXACT else None


def _put_back(document: Any, found: dict[str, Numbers]) -> bool:
    """Put the numbers where their marks stand. Returns whether all of them were `data` of an input."""
    inputs = document.get("inputs") if type(document) is dict else None
    for item in inputs if type(inputs) is list else ():
        data = item.get("data") if type(item) is dict else None
        if type(data) is str and data in found:
            item["data"] = found.pop(data)
    return not found


def is_large(array: Array) -> bool:
    """Whether an output takes many slices to write."""
    return array.dtype in JSON_DTYPES and array.size > 2 * _SLICE_NUMBERS


def written(array: Array) -> Slices[list[bytes]]:
    """A flat list of numbers, as `with_literals` has it, in pieces: nobody copies them together."""
    flat = array.reshape(-1)
    pieces: list[bytes] = []
    for at in range(0, len(flat), _SLICE_NUMBERS):
        part = flat[at : at + _SLICE_NUMBERS]
        text = orjson.dumps(part, option=orjson.OPT_SERIALIZE_NUMPY)
        if b"null" in text:
            text = orjson.dumps(with_literals(part))
        pieces.append((b",%b" if at else b"[%b") % text[1:-1])
        yield
    pieces.append(b"]")
    return pieces


class Gaps:
    """Where large lists stand in a text that is written without them."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(16)
        self._pieces: list[list[bytes]] = []

    def gap(self, pieces: list[bytes]) -> orjson.Fragment:
        """What stands for a list, in the order of the text."""
        self._pieces.append(pieces)
        return orjson.Fragment(self._mark)

    @property
    def _mark(self) -> bytes:
        return b'"%b"' % self._name.encode()

    def fill(self, text: bytes) -> list[bytes]:
        """The text with the lists."""
        first, *more = text.split(self._mark)
        parts = [first]
        for pieces, behind in zip(self._pieces, more, strict=True):
            parts += (*pieces, behind)
        return parts
