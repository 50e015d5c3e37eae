"""Large bodies of v1, read in slices: lists of numbers as `json_data.lists` has them, and many small rows of numbers by
name, be they instances or examples, which are cut between rows. Each piece is JSON of its own, and what it has of an
input is put into an array.
"""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.broken import BrokenError, or_error
from kserve_v2.json_data.large import parse_large, put_back
from kserve_v2.json_data.lists import loaded, numbers_of
from kserve_v2.json_data.tensors import Numbers, types_of
from kserve_v2.json_data.text import parse_json
from kserve_v2.json_data.values import flatten_nested
from kserve_v2.rest.codec import Body
from kserve_v2.scheduling.slices import SLICE_BYTES, Room, Slices
from kserve_v2.v1.codec import EXAMPLES, INPUTS, INSTANCES, Columns

# The first row, as far as its first name. All begin with the same bytes, or are left to those who read them in one go.
_FIRST_ROW = {
    member: re.compile(
        rb'"%b"[ \t\r\n]*:[ \t\r\n]*(\[)[ \t\r\n]*(\{[ \t\r\n]*"[^"\\]{1,256}"[ \t\r\n]*:)' % member.encode()
    )
    for member in (INSTANCES, EXAMPLES)
}
_MOST_BEFORE = 64 * 1024

# Rows that are longer than so many slices are not many.
_MOST_SLICES = 4
_MOST_BLANKS = 64
_MOST_DEPTH = 16

# With more, a piece would be too many arrays.
_MOST_NAMES = 256


def values(document: Any) -> Iterable[tuple[dict[str, Any], str]]:
    """The places for large lists of numbers; see `json_data.large.Places`."""
    if isinstance(document, dict):
        yield from ((document, name) for name in (INSTANCES, INPUTS, EXAMPLES))
        if isinstance(inputs := document.get(INPUTS), dict):
            yield from ((inputs, name) for name in inputs)


def parse_values(body: Body, room: Room, slice_bytes: int = SLICE_BYTES) -> Slices[Any]:
    """The document in a body, with Numbers or Columns in the place of large lists, or the error if it is no JSON. None
    where it is to be read in one go; see `json_data.large.parse_large`.
    """
    document = yield from parse_large(body, slice_bytes, room, values)
    return document or (yield from or_error(_parse_rows(body, INSTANCES, room, slice_bytes)))


def parse_examples(body: Body, room: Room, slice_bytes: int = SLICE_BYTES) -> Slices[Any]:
    """As `parse_values`, with Columns in the place of many examples."""
    return (yield from or_error(_parse_rows(body, EXAMPLES, room, slice_bytes)))


def _parse_rows(text: Body, member: str, room: Room, slice_bytes: int) -> Slices[Any]:
    if isinstance(text, memoryview):
        return None
    found = _FIRST_ROW[member].search(text, 0, _MOST_BEFORE)
    if found is None:
        return None
    begin, count, columns = found.start(1), 0, dict[str, _Column]()
    # It may be cut off.
    end = text.rfind(b"]", begin) + 1 or len(text) + 1
    if end - begin <= slice_bytes:
        return None
    whole = memoryview(text).toreadonly()[begin:end]
    for at, piece in _pieces(text, begin + 1, end - 1, bytes(found[2]), slice_bytes):
        rows = _rows(piece)
        columns = columns or {name: _Column(whole, 0, None, {}, [], name) for row in rows[:1] for name in row}
        if not rows:
            raise BrokenError(text, at, (text[: begin + 1], b"0," if count else b""))
        if any(row.keys() != columns.keys() for row in rows):
            return None
        if not all(each.add([row[name] for row in rows], room) for name, each in columns.items()):
            return None
        count += len(rows)
        yield
    mark = secrets.token_hex(16)
    before = (text[:begin], b'["%b"]' % mark.encode())
    return put_back(text, end, before, {mark: Columns(whole, columns, count)}, values)


def _pieces(
    text: bytes | bytearray, at: int, end: int, head: bytes, slice_bytes: int
) -> Iterable[tuple[int, bytes]]:
    """The rows, cut at commas before rows that begin with `head`, and where they begin; nothing more, b"", where there
    is no such comma.
    """
    while at < end:
        row = text.find(head, at + slice_bytes, at + _MOST_SLICES * slice_bytes)
        before = bytes(text[max(at, row - _MOST_BLANKS) : row]).rstrip() if row >= 0 else b","
        cut = end if row < 0 else row - 1
        if not before.endswith(b",") or (row < 0 and end - at > _MOST_SLICES * slice_bytes):
            yield at, b""
            return
        while row >= 0 and text[cut : cut + 1] != b",":
            cut -= 1
        yield at, bytes(text[at:cut])
        at = cut + 1


def _rows(piece: bytes) -> list[dict[str, Any]]:
    """The rows in a piece; none if it is no JSON, or there is something else in it."""
    try:
        rows = loaded(b"[%b]" % piece)
    except (InvalidArgumentError, ValueError):
        return []
    return rows if set(map(type, rows)) == {dict} and len(rows[0]) <= _MOST_NAMES else []


@dataclass(eq=False)
class _Column(Numbers):
    """What the rows that were read have of the input `name`. `text`: all rows."""

    name: str

    def add(self, values: list[Any], room: Room) -> bool:
        """Add that of further rows. Returns whether it is numbers of the same shape, and there is room for them."""
        try:
            elements, (rows, *row) = flatten_nested(values, "")
        except InvalidArgumentError:
            return False
        before, *same = self.sizes or (0, *row)
        types = types_of(elements)
        numbers = numbers_of(list(elements), types) if row == same and len(row) < _MOST_DEPTH else None
        if numbers is None or not room(numbers.nbytes):
            return False
        for kind in types - self.types:
            number, first = next((number, each) for number, each in enumerate(elements) if type(each) is kind)
            self.firsts[kind] = self.count + number, first
        self.pieces.append(numbers)
        self.count += len(numbers)
        self.sizes = (before + rows, *row)
        return bool not in self.types or len(self.types) == 1

    def lists(self) -> list[Any]:
        return [row[self.name] for row in parse_json(self.text)]
