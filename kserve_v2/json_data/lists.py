"""Large lists in JSON, read in slices: numbers or texts, in lists of any nesting. They are cut into pieces at commas,
and each piece is JSON of its own.

A piece begins where an element does. If it is JSON up to a comma, that comma is in no text, so the next one begins
behind it.
"""

import re
from collections.abc import Iterator
from itertools import islice
from math import prod
from typing import Any, NamedTuple

import numpy as np
import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.json_data.tensors import LargeList, Numbers, Texts, flatten
from kserve_v2.json_data.text import parse_unusual_json
from kserve_v2.memory.large_texts import Gathered
from kserve_v2.scheduling.slices import COPIED_BYTES, Room, Slices
from kserve_v2.tensors.datatypes import Array

_BLANKS = b" \t\r\n"

# Deeper lists are for those who know how deep they may be.
_MOST_DEPTH = 16

# No number is longer, with the blanks around it; and how far from where a piece should end a text may.
_MOST_NUMBER_BYTES = 4096
_MOST_TEXT_BYTES = 64 * 1024

# Between texts, commas in texts are more frequent than any others: so many are tried.
_MOST_CUTS = 8
_BEHIND_TEXT = re.compile(rb'["\]][ \t\r\n]*(,)')

# Where shorter lists are, a piece is shorter, too.
_LIST_BYTES = 4

# What a list is without its elements, the texts among these, and texts and brackets outside of them.
_NO_STRUCTURE = bytes(set(range(256)) - set(b"[],"))
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_TEXT_OR_BRACKET = re.compile(_TEXT.pattern + rb"|([\[\]])", re.DOTALL)
_OPENS, _COMMA, _CLOSES = b"[,]"

# The first letters of numbers that only Python's parser knows.
_LITERAL = re.compile(rb"[NI]")

_EXACT = (np.dtype(np.int64), np.dtype(np.float64), np.dtype(np.bool_))


class _Piece(NamedTuple):
    """A part of a list. `end`: where it ends in the text. `structure`: its brackets and commas. `depth`: how many lists
    are open behind it; 0 for the last piece.
    """

    text: bytes
    end: int
    structure: bytes
    depth: int


def read_list(
    text: bytes | bytearray, begin: int, slice_bytes: int, room: Room
) -> Slices[tuple[int, int, LargeList | None]]:
    """The list that begins with the bracket at `begin`, behind where it ends, and 0. None if something else is in it,
    or is wrong with it, or there is no room for its elements; then the place is where that was found, behind a comma,
    and the number that of the lists that are open there.
    """
    gathered = _Elements(room)
    at, depth = begin, 0
    while True:
        # To make a list takes much longer than to make a number.
        lists = text.count(b"[", at, at + slice_bytes)
        size = slice_bytes if lists < slice_bytes // _LIST_BYTES else max(1, slice_bytes // _LIST_BYTES)
        piece = _next_piece(text, at, depth, size)
        if piece is None:
            return at, depth, None
        last = not piece.depth
        bare = piece.text.strip(_BLANKS)
        # Brackets would make an empty list of nothing next to a comma that a piece was cut at.
        if (at > begin and bare[:1] in (b"", b"]")) or (not last and bare[-1:] in (b"", b"[")):
            return at, depth, None
        if not gathered.add(b"[" * depth + piece.text + b"]" * piece.depth, piece.structure):
            return at, depth, None
        at, depth = piece.end + (not last), piece.depth
        if last:
            break
        yield
    found = yield from gathered.found(memoryview(text).toreadonly()[begin:at])
    return at, 0, found


def read_whole_list(text: bytes, slice_bytes: int, room: Room) -> Slices[LargeList | None]:
    """The list that a text is; None as `read_list`, and where the text is something else."""
    begin = len(text) - len(text.lstrip(_BLANKS))
    if text[begin : begin + 1] != b"[":
        return None
    end, _, found = yield from read_list(text, begin, slice_bytes, room)
    return None if text[end:].strip(_BLANKS) else found


def _next_piece(text: bytes | bytearray, at: int, depth: int, slice_bytes: int) -> _Piece | None:
    """The piece from `at` on; None where there is none that can be parsed."""
    for cut in _cuts(text, at + slice_bytes):
        piece = bytes(text[at : len(text) if cut is None else cut])
        # What is behind a quote that no other one belongs to is in a text.
        bare, unended, _ = _TEXT.sub(b"0", piece).partition(b'"') if b'"' in piece else (piece, b"", b"")
        structure = bare.translate(None, _NO_STRUCTURE)
        depths = depth + np.cumsum(_steps(structure))
        if depths.size and depths.max() >= _MOST_DEPTH:
            return None
        over = np.flatnonzero(depths <= 0)
        if over.size:
            end = _place_of_bracket(piece, int(over[0])) + 1
            bare = _TEXT.sub(b"0", piece[:end])
            found = _Piece(piece[:end], at + end, bare.translate(None, _NO_STRUCTURE), 0)
        elif cut is None:
            return None
        elif unended:
            continue
        else:
            found = _Piece(piece, cut, structure, int(depths[-1]) if depths.size else depth)
        return None if b"{" in bare or b":" in bare else found
    return None


def _cuts(text: bytes | bytearray, behind: int) -> Iterator[int | None]:
    """Commas `behind` a place that may be between two elements; None for the end of the text."""
    if behind >= len(text):
        yield None
        return
    near = bytes(text[behind : behind + _MOST_NUMBER_BYTES])
    if b'"' not in near and (comma := near.find(b",")) >= 0:
        yield behind + comma
    elif behind + len(near) == len(text) and b'"' not in near:
        yield None
        return
    more = bytes(text[behind : behind + _MOST_TEXT_BYTES])
    for found in islice(_BEHIND_TEXT.finditer(more), _MOST_CUTS):
        yield behind + found.start(1)
    if behind + len(more) == len(text):
        yield None


def _steps(structure: bytes) -> Array:
    """1 for each bracket that opens a list, -1 for each that closes one."""
    brackets = np.frombuffer(structure.replace(b",", b""), np.uint8)
    return np.where(brackets == _OPENS, 1, -1)


def _place_of_bracket(piece: bytes, number: int) -> int:
    """Where the bracket of a number is, of those that are in no text."""
    if b'"' not in piece:
        found = np.frombuffer(piece, np.uint8)
        return int(np.flatnonzero((found == _OPENS) | (found == _CLOSES))[number])
    brackets = (each.start(1) for each in _TEXT_OR_BRACKET.finditer(piece) if each[1])
    return next(islice(brackets, number, None))


class _Elements:
    """What the pieces of a list have in them."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._numbers: list[Array] = []
        self._texts: Gathered | None = None
        self._firsts: dict[type, tuple[int, Any]] = {}
        self._structure = bytearray()
        self._count = 0

    def add(self, text: bytes, structure: bytes) -> bool:
        """Add a piece, with the brackets around it. Returns whether it is JSON, and there is room for its elements."""
        try:
            elements, types = flatten(loaded(text))
            size = self._add(elements, types)
        except (InvalidArgumentError, ValueError):
            return False
        if size is None or not self._room(size + len(structure)):
            return False
        for kind in types - self._firsts.keys():
            number = next(number for number, each in enumerate(elements) if type(each) is kind)
            self._firsts[kind] = self._count + number, elements[number]
        if self._mixed:
            # There will be an error, and it takes no more than the first one of each type.
            self._numbers.clear()
            self._texts = None
        self._count += len(elements)
        self._structure += b",%b" % structure if self._structure else structure
        return True

    def _add(self, elements: list[Any], types: set[type]) -> int | None:
        """Add elements. Returns how many bytes they take; None if they cannot be had."""
        if types == {str}:
            self._texts = self._texts or Gathered()
            return self._texts.add([element.encode() for element in elements])
        if types <= {int, float} or types == {bool}:
            numbers = numbers_of(elements, types)
            if numbers is None:
                return None
            self._numbers.append(numbers)
            return numbers.nbytes
        return 0

    @property
    def _mixed(self) -> bool:
        types = self._firsts.keys()
        return not (types <= {int, float} or types in ({bool}, {str}))

    def found(self, text: memoryview) -> Slices[LargeList | None]:
        """The list, with the `text` that it was. None for one without elements."""
        if not self._count:
            return None
        sizes = yield from sizes_of(self._structure, self._count)
        if self._mixed:
            return LargeList(text, self._count, sizes, self._firsts)
        if self._texts is not None:
            return Texts(text, self._count, sizes, self._firsts, (yield from self._texts.in_one()))
        return Numbers(text, self._count, sizes, self._firsts, self._numbers)


def sizes_of(structure: bytes | bytearray, count: int) -> Slices[tuple[int, ...] | None]:
    """The sizes of the lists of each level, of brackets and commas between `count` elements; None if those of one level
    differ.
    """
    # The place of the first element, then of the first list of each level, innermost first.
    begin = end = _opening_brackets(structure)
    sizes = list[int]()
    for level in range(1, begin + 1):
        period = end - begin + 1
        begin -= 1
        closes = yield from _found(structure, b"]" * level, end - level + 1)
        end = closes + level
        # The list is the one before it, with a comma, again and again.
        size, left = divmod(end - begin - 1, period)
        if closes < 0 or size < 1 or left or (size > 1 and structure[begin + period] != _COMMA):
            return None
        for at in range(begin + 1, end - 1 - period, COPIED_BYTES):
            upto = min(at + COPIED_BYTES, end - 1 - period)
            if structure[at:upto] != structure[at + period : upto + period]:
                return None
            yield
        sizes.insert(0, size)
    return tuple(sizes) if end == len(structure) and prod(sizes) == count else None


def _opening_brackets(structure: bytes | bytearray) -> int:
    return next((at for at, each in enumerate(structure) if each != _OPENS), len(structure))


def _found(text: bytes | bytearray, wanted: bytes, begin: int) -> Slices[int]:
    """What `find` returns."""
    while begin < len(text):
        at = text.find(wanted, begin, begin + COPIED_BYTES)
        if at >= 0:
            return at
        begin += COPIED_BYTES - len(wanted) + 1
        yield
    return -1


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
