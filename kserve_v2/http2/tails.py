"""What the header blocks of one connection end with, where they differ only in the values of a few fields."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import Struct

from kserve_v2.http2.fields import CR, FIELD_OVERHEAD_BYTES, LF, NUL, Field, mark
from kserve_v2.http2.hpack import Decoder, literal_at

# A tail is decoded each time if it is larger, or has more fields than this.
_MAX_BYTES = 2048
_MAX_FIELDS = 8
_MAX_DESCRIBED_BYTES = 512


@dataclass(slots=True)
class Tail:
    """Fields that are spelled out, all but their values. These have no more to them than bytes, and a fixed size each;
    so where the same descriptions stand at the same places, the same is said of other values.
    """

    split: Callable[[bytes], Sequence[bytes]]
    described: tuple[bytes, ...]
    names: tuple[bytes, ...]
    # Their size as a list, of the names and values.
    nbytes: int
    # Of the fields that are put into the table: which, and as how many bytes they count.
    kept: tuple[tuple[int, int], ...]

    def read(self, tail: bytes, decoder: Decoder) -> list[Field] | None:
        """The fields of a tail of the same size, when the table has been told of them; None if it has to be decoded."""
        parts = self.split(tail)
        if parts[::2] != self.described:
            return None
        fields = []
        for name, value in zip(self.names, parts[1::2]):  # noqa: B905 - as many, by the size of the tail
            if NUL in value or LF in value or CR in value or value.strip(b" \t") != value:
                return None
            fields.append((name, value))
        for place, size in self.kept:
            decoder.keep((fields[place], size, 0))
        return fields


_ANOTHER = Tail(lambda _: (), (b"",), (), 0, ())
"""What no tail is like."""


def tail_of(tail: bytes) -> Tail:
    """What is fixed in the tail of a block that has been decoded. Nothing is like it if a value is in Huffman code, a
    name is one of the dynamic table, or a field has a mark of its own.
    """
    described: list[bytes] = []
    sizes: list[int] = []
    names: list[bytes] = []
    kept: list[tuple[int, int]] = []
    position = nbytes = 0
    while position < len(tail):
        literal = literal_at(tail, position)
        if literal is None:
            return _ANOTHER
        name, value_at, end, keeps = literal
        size = len(name) + end - value_at + FIELD_OVERHEAD_BYTES
        if mark(name, b"") or len(names) == _MAX_FIELDS:
            return _ANOTHER
        if keeps:
            kept.append((len(names), size))
        names.append(name)
        described.append(tail[position:value_at])
        sizes += (value_at - position, end - value_at)
        position, nbytes = end, nbytes + size
    if len(tail) > _MAX_BYTES or sum(map(len, described)) > _MAX_DESCRIBED_BYTES:
        return _ANOTHER
    split = Struct("".join(f"{size}s" for size in sizes)).unpack
    return Tail(split, tuple(described), tuple(names), nbytes, tuple(kept))
