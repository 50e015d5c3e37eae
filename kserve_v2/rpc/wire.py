"""As much of protobuf's wire format as inference messages need where they are read and written without protobuf."""

from collections.abc import Iterator
from typing import NamedTuple

from kserve_v2.rpc.calls import Serialized

LENGTH_DELIMITED = 2

# By their wire types.
_FIXED_BYTES = {1: 8, 5: 4}


def varint(number: int) -> bytes:
    """A number that is not negative."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(data: Serialized, position: int) -> tuple[int, int]:
    """The number at `position`, and where it ends. Raises IndexError where it is cut off; one that is longer than any
    number of protobuf may come out too large.
    """
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 63:
            raise IndexError


def tag(field: int) -> int:
    """The byte before a length-delimited field with a number below 16."""
    return field << 3 | LENGTH_DELIMITED


def head(field: int, length: int) -> bytes:
    """What stands before the `length` bytes of a length-delimited field."""
    if length < 0x80:
        return bytes((field << 3 | LENGTH_DELIMITED, length))
    return bytes((tag(field),)) + varint(length)


def text(field: int, value: str) -> bytes:
    """A string field; nothing for "", as in proto3."""
    if not value:
        return b""
    encoded = value.encode()
    return head(field, len(encoded)) + encoded


class Part(NamedTuple):
    """A length-delimited field: its number, and where its length and its content are."""

    field: int
    length_at: int
    start: int
    end: int


def is_short(data: Serialized, part: Part) -> bool:
    """Whether the length before a part takes no more bytes than it needs; else it is protobuf's to judge."""
    return data[part.length_at - 1 : part.start] == head(part.field, part.end - part.start)


def parts(data: Serialized, max_parts: int) -> list[Part] | None:
    """The fields of a message. None if it has more than `max_parts`, or others than length-delimited ones with numbers
    below 16, or is no message.
    """
    found: list[Part] = []
    position, size = 0, len(data)
    while position < size:
        byte = data[position]
        if byte & 0x87 != LENGTH_DELIMITED or len(found) == max_parts:
            return None
        length_at = position + 1
        try:
            length, start = read_varint(data, length_at)
        except IndexError:
            return None
        position = start + length
        if position > size:
            return None
        found.append(Part(byte >> 3, length_at, start, position))
    return found


def fields(data: Serialized) -> Iterator[tuple[int, int, int]]:
    """All fields of a message: the number of each, and where its content begins and ends, which are 0 if it is not
    length-delimited. Those in groups are among them. Where it is no message any more, there are no others.
    """
    position, size = 0, len(data)
    try:
        while position < size:
            # Nearly always it is a byte.
            key, position = data[position], position + 1
            if key >= 0x80:
                key, position = read_varint(data, position - 1)
            kind, start = key & 7, 0
            if kind == LENGTH_DELIMITED:
                length, start = data[position], position + 1
                if length >= 0x80:
                    length, start = read_varint(data, position)
                position = start + length
            elif kind == 0:
                _, position = read_varint(data, position)
            else:
                position += _FIXED_BYTES.get(kind, 0)
            yield key >> 3, start, position if start else 0
    except IndexError:
        return
