"""Large JSON, read and written in slices. Nearly all of it are numbers, in lists: those are cut into pieces at commas,
and each piece is JSON of its own. What is of any other form, right or wrong, is left to those who read it in one go.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterable
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.rest.json_tensor import JSON_DTYPES, Numbers, flatten
from kserve_v2.rest.json_text import check_depth, parse_unusual_json
from kserve_v2.scheduling.slices import COPIED_BYTES, SLICE_BYTES, Room, Slices, any_room, joined
from kserve_v2.tensors.datatypes import Array

_BLANKS = b" \t\r\n"

# Numbers in a slice of an answer: each takes some ten bytes.
_SLICE_NUMBERS = SLICE_BYTES // 8
# To look whether all are finite takes so much less.
_FINITE_NUMBERS = 64 * _SLICE_NUMBERS

# So many short lists, or none, are passed over in a slice.
_SLICE_LISTS = 256

# Deeper lists are for those who know how deep they may be.
_MOST_DEPTH = 16

# No number is longer, with the blanks around it.
_MOST_NUMBER_BYTES = 4096

# What a list of numbers is without its numbers, and the first letters of those that only Python's parser knows.
_NO_STRUCTURE = bytes(set(range(256)) - set(b"[],"))
_LITERAL = re.compile(rb"[NI]")

_EXACT = (np.dtype(np.int64), np.dtype(np.float64), np.dtype(np.bool_))

Places = Callable[[Any], Iterable[tuple[dict[str, Any], str]]]
"""Where a document may have large lists of numbers: members of objects in it."""


def data_of_inputs(document: Any) -> Iterable[tuple[dict[str, Any], str]]:
    """The places for numbers in requests to infer."""
    inputs = document.get("inputs") if type(document) is dict else None
    return ((item, "data") for item in (inputs if type(inputs) is list else ()) if type(item) is dict)


def parse_large(
    text: bytes | bytearray | memoryview,
    slice_bytes: int = SLICE_BYTES,
    room: Room = any_room,
    places: Places = data_of_inputs,
) -> Slices[Any]:
    """The document in `text`, with Numbers in `places` that have large lists of numbers. None where that cannot be had
    in slices, or there is no `room` for them. `slice_bytes`: the size of lists that are large, and of a slice.
    """
    if isinstance(text, memoryview):
        if not room(len(text)):
            return None
        text = yield from joined(text[at : at + COPIED_BYTES] for at in range(0, len(text), COPIED_BYTES))
    view = memoryview(text).toreadonly()
    mark = secrets.token_hex(16)
    rest: list[bytes | memoryview] = []
    found: dict[str, Numbers] = {}
    copied = at = lists = 0
    while (begin := text.find(b"[", at)) >= 0:
        lists += 1
        if lists % _SLICE_LISTS == 0:
            yield
        end, at = _numbers_behind(text, begin)
        if end - begin <= slice_bytes:
            continue
        yield
        numbers = yield from _numbers(view[begin:end], slice_bytes, room)
        if numbers is None:
            return None
        name = f"{mark}{len(found)}"
        found[name] = numbers
        # In a text it would be the end of that, and no JSON be left.
        rest += (view[copied:begin], b'"%b"' % name.encode())
        copied = at = end
    if not found:
        return None
    yield
    small = b"".join((*rest, view[copied:]))
    try:
        document = orjson.loads(small)
    except orjson.JSONDecodeError:
        return None
    if not put_back(places(document), found):
        return None
    check_depth(document, small)
    return document


def _numbers_behind(text: bytes | bytearray, begin: int) -> tuple[int, int]:
    """Where a list ends, behind its closing bracket, if it begins there and has no texts or objects in it; and where to
    look for the next one if it is not large. No byte is looked at for two lists.
    """
    text_begins = text.find(b'"', begin)
    most = text_begins if text_begins >= 0 else len(text)
    object_ends = text.find(b"}", begin, most)
    most = object_ends if object_ends >= 0 else most
    return text.rfind(b"]", begin, most) + 1, max(most, begin + 1)


def _numbers(text: memoryview, slice_bytes: int, room: Room) -> Slices[Numbers | None]:
    """The numbers of a list, given with its brackets; None if it is not one, or has something else in it, or there is
    no room for them.
    """
    pieces: list[Array] = []
    types: set[type] = set()
    structure: list[bytes] = []
    depth = at = 0
    while at < len(text):
        end = at + slice_bytes
        # Up to a comma, which goes with neither.
        comma = bytes(text[end : end + _MOST_NUMBER_BYTES]).find(b",")
        end = end + comma if comma >= 0 else len(text)
        if end - at > slice_bytes + _MOST_NUMBER_BYTES:
            return None
        piece = bytes(text[at:end])
        structure.append(piece.translate(None, _NO_STRUCTURE))
        before, depth = depth, depth + piece.count(b"[") - piece.count(b"]")
        ends_well = 0 <= depth < _MOST_DEPTH and (depth == 0) == (end == len(text))
        if not ends_well or _lacks_an_element(piece, first=at == 0, last=end == len(text)):
            return None
        parsed = _parsed(b"[" * before + piece + b"]" * depth)
        if parsed is None or not room(parsed[0].nbytes + len(structure[-1])):
            return None
        pieces.append(parsed[0])
        types |= parsed[1]
        if bool in types and len(types) > 1:
            return None
        at = end + 1
        yield
    count = sum(map(len, pieces))
    return Numbers(text, pieces, types, _sizes(b",".join(structure), count)) if count else None


def _sizes(structure: bytes, count: int) -> tuple[int, ...] | None:
    """The sizes of the lists of each level, of brackets and commas between `count` elements; None if those of one level
    differ.
    """
    depth = len(structure) - len(structure.lstrip(b"["))
    lists, sizes = b"", list[int]()
    for level in range(1, depth + 1):
        # The first list of the level, innermost first, has as many as fit into it.
        size, left = divmod(structure.find(b"]" * level) + level - (depth - level) - 1, len(lists) + 1)
        if size < 1 or left:
            return None
        lists = b"[%b%b]" % ((lists + b",") * (size - 1), lists)
        sizes.insert(0, size)
    return tuple(sizes) if lists == structure and prod(sizes) == count else None


def _lacks_an_element(piece: bytes, *, first: bool, last: bool) -> bool:
    """Whether there is nothing next to a comma that a piece was cut at. Brackets would make an empty list of that."""
    bare = piece.strip(_BLANKS)
    return (not first and bare[:1] in (b"", b"]")) or (not last and bare[-1:] in (b"", b"["))


def _parsed(text: bytes) -> tuple[Array, set[type]] | None:
    """The flat array of a list of numbers, and the types of its elements. None if something else is in it."""
    try:
        elements, types = flatten(loaded(text))
    except (InvalidArgumentError, ValueError):
        return None
    numbers = numbers_of(elements, types)
    return None if numbers is None else (numbers, types)


def numbers_of(elements: list[Any], types: set[type]) -> Array | None:
    """A flat array of 64-bit integers, doubles or booleans; None if something else is among the elements."""
    if not (types <= {int, float} or types == {bool}):
        return None
    try:
        numbers = np.array(elements) if elements else np.empty(0, np.int64)
    except OverflowError:
        return None
    return numbers if numbers.dtype in _EXACT else None


def loaded(text: bytes) -> Any:
    """What is in a piece of a text. Raises ValueError or InvalidArgumentError if it is no JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if _LITERAL.search(text) is None:
            raise
        return parse_unusual_json(text, error)


def put_back(places: Iterable[tuple[dict[str, Any], str]], found: dict[str, Any]) -> bool:
    """Put the numbers where their marks stand. Returns whether all of them were in `places`."""
    for container, key in places:
        value = container.get(key)
        if type(value) is str and value in found:
            container[key] = found.pop(value)
    return not found


def slice_rows(numbers: int) -> int:
    """How many rows are written in a slice, of so many numbers each."""
    return max(1, _SLICE_NUMBERS // max(1, numbers))


def is_large(array: Array) -> bool:
    """Whether an output takes many slices to write."""
    return array.dtype in JSON_DTYPES and array.size > 2 * _SLICE_NUMBERS


def written(array: Array) -> Slices[list[bytes]]:
    """Lists in lists of numbers, as `with_literals` has them, in pieces: nobody copies them together."""
    literal, flat = False, array.reshape(-1)
    for at in range(0, array.size if array.dtype.kind == "f" else 0, _FINITE_NUMBERS):
        literal = literal or not np.isfinite(flat[at : at + _FINITE_NUMBERS]).all()
        yield
    return (yield from _written(array, literal))


def _parts(array: Array) -> Iterable[Array]:
    """An array of numbers cut along its first dimension, each part as large as a slice may be, or a row."""
    rows = slice_rows(array[0].size)
    bounds = pairwise([*range(0, len(array), rows), len(array)])
    return (array[begin:end] for begin, end in bounds)


def _written(array: Array, literal: bool) -> Slices[list[bytes]]:
    pieces: list[bytes] = []
    for part in _parts(array):
        if part.size > _SLICE_NUMBERS:
            inner = yield from _written(part[0], literal)
        else:
            inner = [_text(part, literal)[1:-1]]
            yield
        inner[0] = (b",%b" if pieces else b"[%b") % inner[0]
        pieces += inner
    pieces.append(b"]")
    return pieces


def _text(array: Array, literal: bool) -> bytes:
    if literal:
        return json.dumps(array.tolist(), separators=(",", ":")).encode()
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)


class Gaps:
    """Where large lists stand in a text that is written without them, in any order."""

    def __init__(self) -> None:
        self._mark = b""
        self._pieces: list[list[bytes]] = []

    def gap(self, pieces: list[bytes]) -> orjson.Fragment:
        """What stands for a list, once in the text."""
        self._mark = self._mark or b'"%b' % secrets.token_hex(16).encode()
        self._pieces.append(pieces)
        return orjson.Fragment(b'%b%d"' % (self._mark, len(self._pieces) - 1))

    def fill(self, text: bytes) -> list[bytes]:
        """The text with the lists."""
        if not self._pieces:
            return [text]
        first, *more = text.split(self._mark)
        parts = [first]
        for each in more:
            number, _, behind = each.partition(b'"')
            parts += (*self._pieces[int(number)], behind)
        return parts
