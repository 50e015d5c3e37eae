"""Header blocks: what those of requests mean, and how those of answers are encoded."""

from collections.abc import Iterable
from typing import Generic

from kserve_v2.http2.beginnings import Beginnings
from kserve_v2.http2.budget import Budget
from kserve_v2.http2.errors import ErrorCode, StreamFaultError
from kserve_v2.http2.fields import OF_REQUEST, REQUIRED, Field, Head, ReadHead
from kserve_v2.http2.hpack import NOTHING, STATIC, Decoder, Fields
from kserve_v2.http2.limits import Http2Limits
from kserve_v2.memory.remembered import Remembered

# Of what one connection's blocks mean, and how many that came once are told apart from new ones.
_MAX_REMEMBERED_BYTES = 64 * 1024
_MAX_MARKS = 64
_OVERHEAD_BYTES = 512


class HeaderBlocks(Generic[Head]):
    """Decodes the header blocks of one connection.

    Clients that ask the same again and again send the same few bytes each time, so what a block means is remembered
    when it comes again. It depends on the block and on the dynamic table: with every change of the table all is
    forgotten, and a block that changes the table is not remembered. Where requests differ in a few fields, what their
    blocks begin with is remembered: see `Beginnings`.
    """

    def __init__(self, read_head: ReadHead[Head], limits: Http2Limits, budget: Budget) -> None:
        """`read_head` makes of a request's fields what is remembered."""
        self._read_head = read_head
        self._usual_fields = limits.usual_header_fields
        self._budget = budget
        self._decoder = Decoder(
            limits.header_table_bytes, limits.max_header_block_bytes, limits.max_header_fields
        )
        self._beginnings = Beginnings(self._decoder, read_head)
        self.remembered: Remembered[bytes, Head] = Remembered(_MAX_REMEMBERED_BYTES, _MAX_MARKS)

    def request(self, block: bytes) -> Head:
        """What the block of a request means. Raises ConnectionFaultError if it cannot be decoded, StreamFaultError if
        it is no request's.
        """
        remembered = self.remembered[block]
        if remembered is not None:
            return remembered
        decoder = self._decoder
        changes = decoder.changes
        known = self._beginnings.of(block)
        found = None if known is None else known.recall(block, decoder)
        if found is None:
            found = self._decode(block, NOTHING if known is None else known.held)
            if found[2] & OF_REQUEST != REQUIRED:
                raise StreamFaultError(
                    ErrorCode.PROTOCOL_ERROR, "these are not the header fields of a request"
                )
            if known is not None and len(found[0]) <= self._usual_fields:
                known.note(block)
        elif decoder.changes != changes:
            self.remembered.forget_all()
        fields, nbytes, _ = found
        if known is None or known.head is None:
            head = self._read_head(fields, nbytes)
        elif len(fields) == len(known.held[0]):
            head = known.head
        else:
            head = self._read_head(fields, nbytes, known.head, len(known.held[0]))
        if decoder.changes == changes and self.remembered.is_seen_again(block):
            self.remembered.keep(block, head, len(block) + nbytes + _OVERHEAD_BYTES)
        return head

    def skip(self, block: bytes) -> None:
        """Decode a block that nobody is interested in, for what it does to the table. Raises ConnectionFaultError."""
        self._decode(block)

    def trailers(self, block: bytes) -> None:
        """Decode and check trailers, which nobody is interested in. Raises as `request`."""
        if self._decode(block)[2]:
            raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "these are not the header fields of trailers")

    def _decode(self, block: bytes, begun: Fields = NOTHING) -> Fields:
        """See `Decoder.decode`."""
        changes = self._decoder.changes
        found = self._decoder.decode(block, begun)
        if self._decoder.changes != changes:
            self.remembered.forget_all()
        if len(found[0]) > self._usual_fields:
            self._budget.header_fields.spend("header fields", len(found[0]) - self._usual_fields)
        return found


# --- what is sent: without the dynamic table, so that the same bytes do for every stream ---------------------------

DEFAULT_TABLE_BYTES = 4096
"""The size of a dynamic table unless a setting says otherwise."""

NO_TABLE = b"\x20"
"""What stands before a block when the dynamic table is given up: an update of its size to 0."""

# The static table, by its fields, and by their names: the first of each.
_INDEXED = {field: index for index, (field, _, _) in STATIC.items()}
_NAMES = {name: index for (name, _), index in reversed(_INDEXED.items())}


def encode(fields: Iterable[Field]) -> bytes:
    """A header block that says nothing about the dynamic table."""
    return b"".join(_encode_field(*field) for field in fields)


def _encode_field(name: bytes, value: bytes) -> bytes:
    index = _INDEXED.get((name, value))
    if index is not None:
        return _integer(index, 7, 0x80)
    index = _NAMES.get(name)
    head = b"\0" + _string(name) if index is None else _integer(index, 4, 0)
    return head + _string(value)


def _string(text: bytes) -> bytes:
    return _integer(len(text), 7, 0) + text


def _integer(value: int, prefix_bits: int, flags: int) -> bytes:
    """An integer of RFC 7541, section 5.1."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes((flags | value,))
    encoded = bytearray((flags | limit,))
    value -= limit
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
