"""Header blocks as clients send them: HPACK (RFC 7541).

The tables hold fields that have been checked, so that a field which a client sends by its number is neither decoded nor
checked again.
"""

from collections import deque

from kserve_v2.http2 import huffman
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode
from kserve_v2.http2.fields import FIELD_OVERHEAD_BYTES, MALFORMED, Field, mark

_Entry = tuple[Field, int, int]
"""A field, what it counts for in the size of a list and of a table, and its mark."""


Fields = tuple[list[Field], int, int]
"""The fields of a block, or of its beginning, their size as a list, and their marks."""

NOTHING: Fields = ([], 0, 0)
"""What is known of a block of which nothing is known."""

# The bits of a representation's first byte (section 6), and of that of a string, that are of a number.
_INDEX, _TO_KEEP, _TABLE_BYTES, _NOT_TO_KEEP, _LENGTH = 0x7F, 0x3F, 0x1F, 0x0F, 0x7F
INDEXED = 0x80
"""The bit of a field that is given by its number."""
_HUFFMAN = 0x80

# The most bits of a number's that go before its last byte. Nothing here is nearly as large.
_MAX_SHIFT = 28


def _entry(name: bytes, value: bytes) -> _Entry:
    return (name, value), len(name) + len(value) + FIELD_OVERHEAD_BYTES, mark(name, value)


_STATIC_TABLE = """
:authority= :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200 :status=204
:status=206 :status=304 :status=400 :status=404 :status=500 accept-charset= accept-encoding=gzip,~deflate
accept-language= accept-ranges= accept= access-control-allow-origin= age= allow= authorization= cache-control=
content-disposition= content-encoding= content-language= content-length= content-location= content-range= content-type=
cookie= date= etag= expect= expires= from= host= if-match= if-modified-since= if-none-match= if-range=
if-unmodified-since= last-modified= link= location= max-forwards= proxy-authenticate= proxy-authorization= range=
referer= refresh= retry-after= server= set-cookie= strict-transport-security= transfer-encoding= user-agent= vary= via=
www-authenticate=
"""
STATIC = {
    index: _entry(*text.replace("~", " ").encode().split(b"=", 1))
    for index, text in enumerate(_STATIC_TABLE.split(), 1)
}
"""The fields of appendix A by their numbers."""

FIRST_DYNAMIC = len(STATIC) + 1
"""The number of the youngest field of the table."""


class Decoder:
    """Decodes the blocks of one side of a connection, in their order. `changes`: how often its table has changed;
    `added`: how many fields have been put into it.
    """

    def __init__(self, max_table_bytes: int, max_list_bytes: int, max_fields: int) -> None:
        """`max_table_bytes`: as announced to the other side. The other limits are those of one block; updates of the
        table's size count as fields.
        """
        self.changes = self.added = 0
        self._max_table_bytes = max_table_bytes
        self._max_list_bytes = max_list_bytes
        self._max_fields = max_fields
        # The youngest entry is first.
        self._table: deque[_Entry] = deque()
        self._table_limit = max_table_bytes
        self._table_bytes = 0

    def __repr__(self) -> str:
        return f"<Decoder {len(self._table)} fields, {self._table_bytes} of {self._table_limit} bytes>"

    def decode(self, block: bytes, begun: Fields = NOTHING) -> Fields:
        """What the block holds. `begun`: what is known to be at its beginning, if those are fields that are given by
        their numbers, each in one byte. Raises ConnectionFaultError: both sides' tables have to stay the same, so there
        is no way to go on after a block that is too much, or wrong.
        """
        fields, nbytes, marks = begun
        fields = fields[:]
        position = len(fields)
        left, end = self._max_fields - position, len(block)
        try:
            while position < end:
                left -= 1
                if left < 0:
                    raise _too_much(f"a header block of more than {self._max_fields} fields")
                first = block[position]
                if first & INDEXED:
                    index, position = first & _INDEX, position + 1
                    if index == _INDEX:
                        index, position = _integer(block, position - 1, _INDEX)
                    entry = STATIC[index] if index < FIRST_DYNAMIC else self._table[index - FIRST_DYNAMIC]
                elif first & 0x40:
                    entry, position = self._literal(block, position, _TO_KEEP)
                    self.keep(entry)
                elif first & 0x20:
                    position = self._resize(block, position, allowed=not fields)
                    continue
                else:
                    entry, position = self._literal(block, position, _NOT_TO_KEEP)
                field, size, field_mark = entry
                if field_mark:
                    # Pseudo-header fields come first, and each of them once.
                    if field_mark & marks or len(fields) != marks.bit_count():
                        field_mark |= MALFORMED
                    marks |= field_mark
                fields.append(field)
                nbytes += size
        except LookupError:
            raise _wrong("a header block is cut off, or has an index beyond the table") from None
        except ValueError as error:
            raise _wrong(str(error)) from None
        if nbytes > self._max_list_bytes:
            raise _too_much(f"a header list larger than {self._max_list_bytes} bytes")
        return fields, nbytes, marks

    def holds(self, number: int) -> bool:
        """Whether the field that was put into the table as so manieth is still there, and so all that came later."""
        return self.added - number < len(self._table)

    def _literal(self, block: bytes, position: int, mask: int) -> tuple[_Entry, int]:
        """A field whose value, at least, is spelled out, and where it ends."""
        index, position = block[position] & mask, position + 1
        if index == mask:
            index, position = _integer(block, position - 1, mask)
        if not index:
            name, position = _string(block, position)
        elif index < FIRST_DYNAMIC:
            name = STATIC[index][0][0]
        else:
            name = self._table[index - FIRST_DYNAMIC][0][0]
        value, position = _string(block, position)
        return _entry(name, value), position

    def keep(self, entry: _Entry) -> None:
        """Put a field into the table, in the place of the oldest ones if there is no room. All go for one that is too
        large itself (section 4.4).
        """
        self.changes += 1
        self.added += 1
        self._table.appendleft(entry)
        nbytes = self._table_bytes + entry[1]
        while nbytes > self._table_limit:
            nbytes -= self._table.pop()[1]
        self._table_bytes = nbytes

    def _resize(self, block: bytes, position: int, *, allowed: bool) -> int:
        """An update of the table's size, which goes before all fields (section 6.3). Returns where it ends."""
        size, position = _integer(block, position, _TABLE_BYTES)
        if not allowed or size > self._max_table_bytes:
            raise ValueError("an update of the table's size that is larger than announced, or after a field")
        self.changes += 1
        self._table_limit = size
        while self._table_bytes > size:
            self._table_bytes -= self._table.pop()[1]
        return position


def literal_at(block: bytes, position: int) -> tuple[bytes, int, int, bool] | None:
    """Of the field at this place in a block that has been decoded: its name, where the value begins and ends, and
    whether it is put into the table. None if it is not spelled out in plain text, or named by the dynamic table.
    """
    first = block[position]
    if first & INDEXED or first & 0x60 == 0x20:
        return None
    keeps = first & 0x40 != 0
    index, position = _integer(block, position, _TO_KEEP if keeps else _NOT_TO_KEEP)
    if index >= FIRST_DYNAMIC:
        return None
    if index:
        name = STATIC[index][0][0]
    else:
        name, position = _string(block, position)
    if block[position] & _HUFFMAN:
        return None
    length, position = _integer(block, position, _LENGTH)
    return name, position, position + length, keeps


def _integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    """A number whose first bits are those of `mask` (section 5.1), and where it ends."""
    number, position = block[position] & mask, position + 1
    if number < mask:
        return number, position
    for shift in range(0, _MAX_SHIFT + 1, 7):
        byte, position = block[position], position + 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("a number that is too large")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    """A string (section 5.2), and where it ends."""
    first = block[position]
    length, start = first & _LENGTH, position + 1
    if length == _LENGTH:
        length, start = _integer(block, position, _LENGTH)
    end = start + length
    if end > len(block):
        raise ValueError("a header block is cut off")
    return (huffman.decode(block[start:end]) if first & _HUFFMAN else block[start:end]), end


def _wrong(message: str) -> ConnectionFaultError:
    return ConnectionFaultError(ErrorCode.COMPRESSION_ERROR, message)


def _too_much(message: str) -> ConnectionFaultError:
    return ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM, message)
