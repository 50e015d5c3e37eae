"""Large bodies of v1, read in slices: lists of numbers as `rest.large_json` has them, and many small rows of numbers by
name, be they instances or examples, which are cut between rows. Each piece is JSON of its own, and what it has of an
input is put into an array.
"""

import re
import secrets
from collections.abc import Iterable
from typing import Any

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.rest.codec import Body
from kserve_v2.rest.json_tensor import Numbers, types_of
from kserve_v2.rest.json_text import check_depth, parse_json
from kserve_v2.rest.json_values import flatten_nested
from kserve_v2.rest.large_json import parse_large, put_back
from kserve_v2.rest.large_lists import loaded, numbers_of
from kserve_v2.rest.v1.codec import EXAMPLES, INPUTS, INSTANCES, Columns
from kserve_v2.scheduling.slices import SLICE_BYTES, Room, Slices
from kserve_v2.tensors.datatypes import Array

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
    """The places for large lists of numbers; see `large_json.Places`."""
    if isinstance(document, dict):
        yield document, INSTANCES
        yield document, INPUTS
        if isinstance(inputs := document.get(INPUTS), dict):
            yield from ((inputs, name) for name in inputs)


def parse_values(body: Body, room: Room, slice_bytes: int = SLICE_BYTES) -> Slices[Any]:
    """The document in a body, with Numbers or Columns in the place of large lists. None where it is to be read in one
    go; see `large_json.parse_large`.
    """
    document = yield from parse_large(body, slice_bytes, room, values)
    if document is None and not isinstance(body, memoryview):
        document = yield from _parse_rows(body, INSTANCES, room, slice_bytes)
    return document


def parse_examples(body: Body, room: Room, slice_bytes: int = SLICE_BYTES) -> Slices[Any]:
    """The document in a body, with Columns in the place of many examples. None where it is to be read in one go."""
    if isinstance(body, memoryview):
        return None
    return (yield from _parse_rows(body, EXAMPLES, room, slice_bytes))


def _parse_rows(text: bytes | bytearray, member: str, room: Room, slice_bytes: int) -> Slices[Any]:
    found = _FIRST_ROW[member].search(text, 0, _MOST_BEFORE)
    end = text.rfind(b"]") + 1
    if found is None or end - found.start(1) <= slice_bytes:
        return None
    begin = found.start(1)
    gathered: dict[str, _Gathered] = {}
    for piece in _pieces(text, begin + 1, end - 1, bytes(found[2]), slice_bytes):
        if piece is None or not _gather(piece, gathered, room):
            return None
        yield
    whole = memoryview(text).toreadonly()[begin:end]
    mark = secrets.token_hex(16)
    by_name = {name: _Column(whole, name, each) for name, each in gathered.items()}
    columns = Columns(whole, by_name, next(iter(gathered.values())).rows)
    small = b"".join((text[:begin], b'"%b"' % mark.encode(), text[end:]))
    try:
        document = loaded(small)
    except (InvalidArgumentError, ValueError):
        return None
    if not isinstance(document, dict) or not put_back([(document, member)], {mark: columns}):
        return None
    check_depth(document, small)
    return document


def _pieces(
    text: bytes | bytearray, at: int, end: int, head: bytes, slice_bytes: int
) -> Iterable[bytes | None]:
    """The rows, cut at commas before rows that begin with `head`; None where there is no such comma."""
    while at < end:
        row = text.find(head, at + slice_bytes, at + _MOST_SLICES * slice_bytes)
        before = bytes(text[max(at, row - _MOST_BLANKS) : row]).rstrip() if row >= 0 else b","
        cut = end if row < 0 else row - 1
        if not before.endswith(b",") or (row < 0 and end - at > _MOST_SLICES * slice_bytes):
            yield None
            return
        while row >= 0 and text[cut : cut + 1] != b",":
            cut -= 1
        yield bytes(text[at:cut])
        at = cut + 1


class _Gathered:
    """What the rows that were read have of one input."""

    def __init__(self) -> None:
        self.pieces: list[Array] = []
        self.types: set[type] = set()
        self.sizes: tuple[int, ...] | None = None
        self.rows = 0

    def add(self, values: list[Any], room: Room) -> bool:
        """Add that of further rows. Returns whether it is numbers of the same shape, and there is room for them."""
        try:
            elements, (rows, *sizes) = flatten_nested(values, "")
        except InvalidArgumentError:
            return False
        if (
            not isinstance(elements, list)
            or len(sizes) >= _MOST_DEPTH
            or self.sizes not in (None, tuple(sizes))
        ):
            return False
        numbers = numbers_of(elements, types_of(elements))
        if numbers is None or not room(numbers.nbytes):
            return False
        self.pieces.append(numbers)
        self.types |= types_of(elements)
        self.sizes = tuple(sizes)
        self.rows += rows
        return bool not in self.types or len(self.types) == 1


def _gather(piece: bytes, gathered: dict[str, _Gathered], room: Room) -> bool:
    """Add the rows in a piece. Returns whether they are rows, of the names that the first one has."""
    try:
        rows = loaded(b"[%b]" % piece)
    except (InvalidArgumentError, ValueError):
        return False
    if not rows or type(rows[0]) is not dict or len(rows[0]) > _MOST_NAMES:
        return False
    if not gathered:
        gathered.update((name, _Gathered()) for name in rows[0])
    names = gathered.keys()
    if any(type(row) is not dict or row.keys() != names for row in rows):
        return False
    return all(each.add([row[name] for row in rows], room) for name, each in gathered.items())


class _Column(Numbers):
    """What all rows have of one input."""

    def __init__(self, rows: memoryview, name: str, gathered: _Gathered) -> None:
        sizes = (gathered.rows, *(gathered.sizes or ()))
        super().__init__(rows, gathered.pieces, gathered.types, sizes)
        self._name = name

    def lists(self) -> list[Any]:
        return [row[self._name] for row in parse_json(self._text)]
