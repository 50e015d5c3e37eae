"""Header blocks: HPACK (RFC 7541), and what a request's fields have to be (RFC 9113, sections 8.2 and 8.3).

Clients that ask the same again and again send the same few bytes each time, so what a block means is remembered. It
depends on the block and on the dynamic table: the memory is emptied with every change of the table, and a block that
changes the table is not remembered.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from hpack import Decoder, HeaderTuple, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from kserve_v2.http2.budget import Budget
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode, StreamFaultError
from kserve_v2.http2.limits import Http2Limits

Field = tuple[bytes, bytes]
Head = TypeVar("Head")

FIELD_OVERHEAD_BYTES = 32
"""What a field counts for in the size of a header list, beside its name and value."""

_MAX_REMEMBERED = 64
_MAX_REMEMBERED_BYTES = 4096

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
_REQUIRED = frozenset({b":method", b":scheme", b":path"})
_OF_HTTP_1 = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAME_BYTES = bytes(set(range(0x21, 0x7F)) - set(b'ABCDEFGHIJKLMNOPQRSTUVWXYZ:"(),/;<=>?@[\\]{}'))


class _Table(HeaderTable):
    """A dynamic table that counts its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return super().maxsize

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.changes += 1
        # The only way to set a property of the base class.
        HeaderTable.maxsize.fset(self, size)  # type: ignore[attr-defined]


class _TooManyFieldsError(HPACKError):
    """A header block has more fields than it may have: the rest is not decoded."""


class _CountingDecoder(Decoder):
    """Decodes a block in which there may be too many fields, up to the one that is too many."""

    def __init__(self, max_list_bytes: int, max_fields: int) -> None:
        super().__init__(max_list_bytes)
        self._max_fields = max_fields
        self._fields = 0

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        self._fields = 0
        return super().decode(data, raw)

    def _count(self) -> None:
        self._fields += 1
        if self._fields > self._max_fields:
            raise _TooManyFieldsError(f"a header block of more than {self._max_fields} fields")

    def _decode_indexed(self, data: bytes | memoryview) -> tuple[HeaderTuple, int]:
        self._count()
        return super()._decode_indexed(data)

    def _decode_literal(self, data: bytes | memoryview, should_index: bool) -> tuple[HeaderTuple, int]:
        self._count()
        return super()._decode_literal(data, should_index)

    def _update_encoding_context(self, data: bytes | memoryview) -> int:
        # A block may begin with any number of size updates, of one byte each.
        self._count()
        return super()._update_encoding_context(data)


class HeaderBlocks(Generic[Head]):
    """Decodes the header blocks of one connection."""

    def __init__(
        self, read_head: Callable[[Sequence[Field]], Head], limits: Http2Limits, budget: Budget
    ) -> None:
        """`read_head` makes of a valid request's fields what is remembered; it depends on nothing else."""
        self._read_head = read_head
        self._limits = limits
        self._budget = budget
        self._table = _Table()
        self._decoder = Decoder(limits.max_header_block_bytes)
        # For blocks long enough for too many fields: each takes at least one byte.
        self._counting = _CountingDecoder(limits.max_header_block_bytes, limits.max_header_fields)
        for decoder in (self._decoder, self._counting):
            decoder.header_table = self._table
            decoder.max_allowed_table_size = limits.header_table_bytes
        # The meaning of each known block.
        self.remembered: dict[bytes, Head] = {}

    def request(self, block: bytes) -> Head:
        """What the block of a request means. Raises ConnectionFaultError if it cannot be decoded, StreamFaultError if
        it is no request's.
        """
        head = self.remembered.get(block)
        if head is not None:
            return head
        changes = self._table.changes
        fields = self._decode(block)
        check_request(fields)
        head = self._read_head(fields)
        if self._table.changes == changes and len(block) <= _MAX_REMEMBERED_BYTES:
            if len(self.remembered) >= _MAX_REMEMBERED:
                self.remembered.clear()
            self.remembered[block] = head
        return head

    def skip(self, block: bytes) -> None:
        """Decode a block that nobody is interested in, for what it does to the table. Raises ConnectionFaultError."""
        self._decode(block)

    def trailers(self, block: bytes) -> None:
        """Decode and check trailers, which nobody is interested in. Raises as `request`."""
        for name, value in self._decode(block):
            if name.startswith(b":"):
                raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "a pseudo-header field in trailers")
            _check_field(name, value)

    def _decode(self, block: bytes) -> list[Field]:
        changes = self._table.changes
        limits = self._limits
        decoder = self._decoder if len(block) <= limits.max_header_fields else self._counting
        try:
            fields: list[Field] = list(decoder.decode(block, raw=True))
        except (OversizedHeaderListError, _TooManyFieldsError) as error:
            raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from None
        except HPACKError as error:
            raise ConnectionFaultError(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        finally:
            if self._table.changes != changes:
                self.remembered.clear()
        if len(fields) > limits.usual_header_fields:
            self._budget.header_fields(len(fields) - limits.usual_header_fields)
        return fields


def check_request(fields: Iterable[Field]) -> None:
    """Raise StreamFaultError unless the fields are those of a request."""
    found: set[bytes] = set()
    regular = False
    for name, value in fields:
        if name[:1] == b":":
            if regular or name in found or name not in _PSEUDO:
                raise _malformed(f"misplaced pseudo-header field {name!r}")
            found.add(name)
            _check_value(value)
        else:
            regular = True
            _check_field(name, value)
    if not found >= _REQUIRED:
        raise _malformed("a pseudo-header field is missing")


def _check_field(name: bytes, value: bytes) -> None:
    if not name or name.translate(None, _NAME_BYTES) or name in _OF_HTTP_1:
        raise _malformed(f"header field {name!r} is not allowed in HTTP/2")
    if name == b"te" and value != b"trailers":
        raise _malformed("header field te is not trailers")
    _check_value(value)


def _check_value(value: bytes) -> None:
    if b"\0" in value or b"\n" in value or b"\r" in value or value.strip(b" \t") != value:
        raise _malformed("a header field's value has bytes that no value may have")


def _malformed(message: str) -> StreamFaultError:
    return StreamFaultError(ErrorCode.PROTOCOL_ERROR, message)


def list_bytes(fields: Iterable[Field]) -> int:
    """The size of a header list, as SETTINGS_MAX_HEADER_LIST_SIZE counts it."""
    return sum(len(name) + len(value) + FIELD_OVERHEAD_BYTES for name, value in fields)


# --- what is sent: without the dynamic table, so that the same bytes do for every stream ---------------------------

DEFAULT_TABLE_BYTES = 4096
"""The size of a dynamic table unless a setting says otherwise."""

NO_TABLE = b"\x20"
"""What stands before a block when the dynamic table is given up: an update of its size to 0."""

# Entries of the static table (RFC 7541, appendix A) that answers use: whole fields, and names.
_INDEXED = {
    (b":status", b"200"): 8,
    (b":status", b"204"): 9,
    (b":status", b"400"): 12,
    (b":status", b"404"): 13,
}
_NAMES = {b":status": 8, b"allow": 22, b"content-length": 28, b"content-type": 31}


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
