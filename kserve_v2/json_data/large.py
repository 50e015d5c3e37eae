"""Large JSON, read and written in slices. Nearly all of it are numbers or texts, in lists. What is of any other form,
right or wrong, is left to those who read it in one go.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.base64_texts import base64_pieces, encode_base64
from kserve_v2.json_data.broken import BrokenError, list_may_follow, or_error
from kserve_v2.json_data.lists import loaded, read_list
from kserve_v2.json_data.long_texts import parse_long_texts, values
from kserve_v2.json_data.structure import check_structure
from kserve_v2.json_data.tensors import LargeList, no_utf8, with_literals
from kserve_v2.json_data.text import check_depth, whole_characters
from kserve_v2.json_data.values import B64, as_lists
from kserve_v2.memory import large_texts
from kserve_v2.scheduling.slices import LARGE_BYTES, SLICE_BYTES, Room, Slices, any_room, copied
from kserve_v2.tensors.datatypes import BYTES, Array
from kserve_v2.tensors.json_request import text_or_base64

# Numbers in a slice of an answer: each takes some ten bytes.
_SLICE_NUMBERS = SLICE_BYTES // 8
# To look whether all are finite takes so much less.
_FINITE_NUMBERS = 64 * _SLICE_NUMBERS

# So many short lists, or none, are passed over in a slice.
_SLICE_LISTS = 256

# Lists that looked as if they could be large: each takes as long as a slice.
_MOST_SMALL_LISTS = 64
_BEGINS_WITH_TEXT = re.compile(rb'\[[\[ \t\r\n]*"')

Places = Callable[[Any], Iterable[tuple[dict[str, Any], str]]]
"""Where a document may have large lists: members of objects in it."""


def data_of_inputs(document: Any) -> Iterable[tuple[dict[str, Any], str]]:
    """The places for data in requests to infer."""
    inputs = document.get("inputs") if type(document) is dict else None
    return ((item, "data") for item in (inputs if type(inputs) is list else ()) if type(item) is dict)


def parse_large(
    text: bytes | bytearray | memoryview,
    slice_bytes: int = SLICE_BYTES,
    room: Room = any_room,
    places: Places = data_of_inputs,
    *,
    limited: bool = False,
    alone: bool = False,
) -> Slices[Any]:
    """The document in `text`, with a LargeList for each large list in `places`, or the error if it is no JSON. None
    where that cannot be had in slices, or there is no `room` for them. `slice_bytes`: the size of lists that are large,
    and of a slice. `limited`: raise as `check_structure` rather than leave much structure to be parsed in one go.
    `alone`: whether a text may be in the place of a list; a long one is Texts, too, with sizes ().
    """
    if isinstance(text, memoryview):
        if not room(len(text)):
            return None
        text = yield from copied(text)
    document = yield from or_error(_parse(text, slice_bytes, room, places, limited=limited, alone=alone))
    if document is None and limited:
        yield from check_structure(text)
    return document


def _parse(
    text: bytes | bytearray, slice_bytes: int, room: Room, places: Places, *, limited: bool, alone: bool
) -> Slices[Any]:
    """As `parse_large`. Raises BrokenError."""
    fill = values(places, coded=places is data_of_inputs, alone=alone)
    document = yield from parse_long_texts(text, room, fill)
    if document is not None:
        return document
    view = memoryview(text).toreadonly()
    mark = secrets.token_hex(16)
    rest: list[bytes | memoryview] = []
    found: dict[str, LargeList] = {}
    behind = at = lists = small = 0
    while (begin := text.find(b"[", at)) >= 0:
        lists += 1
        if lists % _SLICE_LISTS == 0:
            yield
        at = _behind_numbers(text, begin)
        of_texts = _BEGINS_WITH_TEXT.match(text, begin, begin + slice_bytes)
        if (at - begin <= slice_bytes and not of_texts) or small > _MOST_SMALL_LISTS:
            continue
        yield
        end, depth, each = yield from read_list(text, begin, slice_bytes, room)
        if end - begin <= slice_bytes:
            # It, or what is in the way of reading it, is soon over.
            small += 1
            at = max(end, begin + 1)
            continue
        if each is None:
            if end - begin > LARGE_BYTES and not depth:
                raise InvalidArgumentError(
                    f"a list of {end - begin} bytes in the JSON has nothing but empty lists in it"
                )
            before = (*rest, view[behind:begin])
            if depth and list_may_follow(before):
                raise BrokenError(text, end, (*before, b"[" * depth, b"0,"))
            return None
        name = f"{mark}{len(found)}"
        found[name] = each
        # In a text this would be the end of that, and no JSON be left.
        rest += (view[behind:begin], b'["%b"]' % name.encode())
        behind = at = end
    if not found:
        # It may be wrong at its beginning.
        raise BrokenError(text, 0)
    if limited:
        yield from check_structure(b"".join((*rest, view[behind:])))
    yield
    return put_back(text, behind, rest, found, places)


def _behind_numbers(text: bytes | bytearray, begin: int) -> int:
    """Where the first text or the end of an object is, behind a bracket: there are only numbers before it."""
    text_begins = text.find(b'"', begin)
    most = text_begins if text_begins >= 0 else len(text)
    object_ends = text.find(b"}", begin, most)
    return max(object_ends if object_ends >= 0 else most, begin + 1)


def put_back(
    text: bytes | bytearray,
    at: int,
    before: Sequence[bytes | bytearray | memoryview],
    found: dict[str, Any],
    places: Places,
) -> Any:
    """The document in a text, with what was `found` in the place of lists with marks. These are in `before`, which
    stands for all that is before the place `at`. None for a text that has them elsewhere than in `places`. Raises
    BrokenError.
    """
    short = b"".join((*before, memoryview(text)[at:]))
    try:
        document = loaded(short)
    except (InvalidArgumentError, ValueError):
        raise BrokenError(text, at, before) from None
    check_depth(document, short)
    for container, key in places(document):
        value = container.get(key)
        if type(value) is list and len(value) == 1 and type(value[0]) is str and value[0] in found:
            container[key] = found.pop(value[0])
    return None if found else document


def slice_rows(numbers: int) -> int:
    """How many rows are written in a slice, of so many numbers each."""
    return max(1, _SLICE_NUMBERS // max(1, numbers))


def is_large(array: Array) -> bool:
    """Whether an output takes many slices to write."""
    if array.dtype.hasobject:
        return large_texts.is_large(array) or sum(map(len, array.flat)) >= LARGE_BYTES
    return array.size > 2 * _SLICE_NUMBERS


class InJson(NamedTuple):
    """What an element of BYTES is in JSON. `element`: makes that of a short one; raises UnicodeDecodeError. `texts`:
    whether it is a text, if it is UTF-8. `around`: what stands around the base64 of any other; None for an error.
    """

    element: Callable[[bytes], Any]
    texts: bool
    around: tuple[bytes, bytes] | None


_OBJECT = (b'{"%b":"' % B64.encode(), b'"}')
TEXTS = InJson(bytes.decode, texts=True, around=None)
TEXTS_OR_BASE64 = InJson(text_or_base64, texts=True, around=_OBJECT)
BASE64_OBJECTS = InJson(lambda element: {B64: encode_base64(element)}, texts=False, around=_OBJECT)
BASE64_TEXTS = InJson(encode_base64, texts=False, around=(b'"', b'"'))


def shown(array: Array, name: str, gaps: "Gaps", as_json: InJson = TEXTS_OR_BASE64) -> Slices[Any]:
    """What stands in a document for an output, or a part of one, in lists in lists. Raises as `written`."""
    if is_large(array):
        return gaps.gap((yield from written(array, name, as_json)))
    return shown_at_once(array, name, as_json)


def shown_at_once(array: Array, name: str, as_json: InJson) -> Any:
    """What `shown` returns for an array that is not large. To make a generator takes longer than a few numbers do."""
    try:
        lists = as_lists(array, as_json.element)
    except UnicodeDecodeError:
        raise no_utf8(name) from None
    if array.dtype.kind != "f":
        return lists
    text = orjson.dumps(lists, option=orjson.OPT_SERIALIZE_NUMPY)
    # Where orjson writes null for NaN and the infinities: other numbers have no such letter.
    return with_literals(lists) if b"n" in text else orjson.Fragment(text)


def written(array: Array, name: str, as_json: InJson = TEXTS) -> Slices[list[bytes]]:
    """Lists in lists of numbers, as `with_literals` has them, or of BYTES, in pieces: nobody copies them together.
    `name`: of the output. Raises InvalidArgumentError for what JSON cannot carry.
    """
    if array.dtype == BYTES.dtype:
        if not array.ndim:
            return (yield from written_text(array.item(), name, as_json))
        try:
            return (yield from _written_texts(array, name, as_json))
        except UnicodeDecodeError:
            raise no_utf8(name) from None
    literal, flat = False, array.reshape(-1)
    for at in range(0, 0 if array.dtype.kind in "biu" else array.size, _FINITE_NUMBERS):
        literal = literal or not np.isfinite(flat[at : at + _FINITE_NUMBERS]).all()
        yield
    return (yield from _written(array, literal))


def _written_texts(array: Array, name: str, as_json: InJson) -> Slices[list[bytes]]:
    """`array` has one or more elements."""
    pieces: list[bytes] = []
    # What stands before an element whose number is a multiple of a list's size, of the innermost lists first.
    levels = [prod(array.shape[axis:]) for axis in range(array.ndim)][::-1]
    begun = 0
    for part in large_texts.kept_parts(array):
        gaps, texts = Gaps(), list[Any]()
        for element in part:
            if len(element) > SLICE_BYTES:
                texts.append(gaps.gap((yield from written_text(element, name, as_json))))
            else:
                texts.append(as_json.element(element))
        pieces += gaps.fill(_nested(texts, begun, levels))
        begun += len(part)
        yield
    pieces.append(b"]" * array.ndim)
    return pieces


def written_text(element: bytes, name: str, as_json: InJson) -> Slices[list[bytes]]:
    """A long element of BYTES, in pieces. Raises as `written`."""
    if as_json.texts and (pieces := (yield from _utf8(element))) is not None:
        return pieces
    if as_json.around is None:
        raise no_utf8(name)
    before, behind = as_json.around
    return [before, *(yield from base64_pieces(element)), behind]


def _utf8(element: bytes) -> Slices[list[bytes] | None]:
    """The JSON of a text; None if it is not UTF-8."""
    pieces, at = [b'"'], 0
    while at < len(element):
        piece = element[at : at + SLICE_BYTES]
        piece = whole_characters(piece) if at + len(piece) < len(element) else piece
        try:
            pieces.append(orjson.dumps(piece.decode())[1:-1])
        except UnicodeDecodeError:
            return None
        at += len(piece)
        yield
    return [*pieces, b'"']


def _nested(texts: list[Any], begun: int, levels: list[int]) -> bytes:
    """Elements with the brackets and commas before each. `begun`: how many were written before."""
    parts: list[bytes] = []
    row = levels[0]
    at = 0
    while at < len(texts):
        number = begun + at
        opens = sum(number % level == 0 for level in levels)
        before = b"[" * len(levels) if not number else b"]" * opens + b"," + b"[" * opens
        end = min(len(texts), at + row - number % row)
        parts += (before, orjson.dumps(texts[at:end])[1:-1])
        at = end
    return b"".join(parts)


def _written(array: Array, literal: bool) -> Slices[list[bytes]]:
    """Numbers, cut along the first dimension: each part is as large as a slice may be, or a row."""
    pieces: list[bytes] = []
    rows = slice_rows(array[0].size)
    for begin in range(0, len(array), rows):
        part = array[begin : begin + rows]
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
    return orjson.dumps(as_lists(array), option=orjson.OPT_SERIALIZE_NUMPY)


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
