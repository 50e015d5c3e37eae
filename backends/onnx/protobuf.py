"""The encoding of protobuf messages, as far as ONNX files need it to be read without another package."""

import re
from collections.abc import Iterator

# By tag: runs of fields 7 and 8, which are the numbers of an attribute. Old files do not pack them, and a forest of
# decision trees has millions.
_RUNS = {
    0x3D: re.compile(rb"(?:\x3d....)++", re.DOTALL),
    0x40: re.compile(rb"(?:\x40[\x80-\xff]*+[\x00-\x7f])++"),
}


def fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field of a message; its numbers are skipped.

    Raises IndexError where the message is malformed.
    """
    while start < end:
        tag, start_of_value = varint(data, start)
        match tag & 7:
            case 0 | 5 if run := _RUNS.get(tag):
                found = run.match(data, start, end)
                if found is None:
                    raise IndexError("a field is longer than its message")
                start = found.end()
            case 0:
                _, start = varint(data, start_of_value)
            case 1:
                start = start_of_value + 8
            case 2:
                length, start = varint(data, start_of_value)
                if start + length > end:
                    raise IndexError("a field is longer than its message")
                yield tag >> 3, start, start + length
                start += length
            case 5:
                start = start_of_value + 4
            case _:
                raise IndexError("unknown wire type")


def varint(data: bytes, start: int) -> tuple[int, int]:
    """The variable-length integer at `start`, and where it ends."""
    value = data[start]
    start += 1
    if value < 0x80:
        return value, start
    value &= 0x7F
    shift = 7
    while shift < 64:
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7
    raise IndexError("an integer has more than 64 bits")


def integers(data: bytes, start: int, end: int, wanted: int) -> Iterator[int]:
    """The values of field `wanted`, a repeated int64, packed or not."""
    while start < end:
        tag, start = varint(data, start)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, start = varint(data, start)
            if number == wanted:
                yield _signed(value)
        elif wire_type == 2:
            length, start = varint(data, start)
            stop = start + length
            while number == wanted and start < stop:
                value, start = varint(data, start)
                yield _signed(value)
            start = stop
        else:
            start += 8 if wire_type == 1 else 4


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def encode_field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content


def encode_varint(value: int) -> bytes:
    """A variable-length integer; a negative one takes ten bytes."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
