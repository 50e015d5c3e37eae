"""Header blocks: what is remembered, what no request may have, how answers are encoded."""

from collections.abc import Sequence

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.http2 import headers
from kserve_v2.http2.budget import Budget
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode, StreamFaultError
from kserve_v2.http2.fields import Field
from kserve_v2.http2.headers import HeaderBlocks
from kserve_v2.http2.limits import Http2Limits
from tests.http2.peer import GET


class Reads:
    """Counts how often fields are interpreted."""

    def __init__(self, limits: Http2Limits | None = None) -> None:
        self.count = 0
        self.nbytes = 0
        limits = limits or Http2Limits()
        self.blocks = HeaderBlocks(self._read, limits, Budget(limits, lambda: 0.0))

    def _read(
        self, fields: Sequence[Field], nbytes: int, begun: tuple[Field, ...] | None = None, count: int = 0
    ) -> tuple[Field, ...]:
        assert begun is None or begun == tuple(fields[:count])
        self.count += 1
        self.nbytes = nbytes
        return tuple(fields)


# The first example of RFC 7541, appendix C.3, and the same with its authority from the table.
FIELDS = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
FIRST = bytes.fromhex("828684410f7777772e6578616d706c652e636f6d")
INDEXED = bytes.fromhex("828684be")


def test_a_block_that_changes_the_table_is_not_remembered() -> None:
    """Sent twice, it adds its authority twice: index 62 and 63 are then the same."""
    reads = Reads()
    for _ in range(3):
        assert reads.blocks.request(FIRST) == tuple(FIELDS)
    assert not reads.blocks.remembered
    assert reads.blocks.request(bytes.fromhex("828684bf")) == tuple(FIELDS)


def test_a_block_is_remembered_at_its_second_time_until_the_table_changes() -> None:
    reads = Reads()
    reads.blocks.request(FIRST)
    for _ in range(5):
        assert reads.blocks.request(INDEXED) == tuple(FIELDS)
    assert reads.count == 3
    # Now index 62 is another field.
    other = bytes.fromhex("828684") + b"\x41\x05other"
    assert reads.blocks.request(other)[-1] == (b":authority", b"other")
    assert reads.blocks.request(INDEXED) == (*FIELDS[:3], (b":authority", b"other"))


def remembering() -> HeaderBlocks[tuple[Field, ...]]:
    """Blocks of which one is remembered."""
    reads = Reads()
    for block in (FIRST, INDEXED, INDEXED, INDEXED):
        assert reads.blocks.request(block) == tuple(FIELDS)
    assert reads.count == 3
    return reads.blocks


def test_trailers_change_the_table_too() -> None:
    blocks = remembering()
    blocks.trailers(b"\x40\x01a\x01b")
    assert blocks.request(INDEXED) == (*FIELDS[:3], (b"a", b"b"))


def test_a_smaller_table_has_no_longer_what_was_remembered() -> None:
    blocks = remembering()
    blocks.skip(b"\x20")
    with pytest.raises(ConnectionFaultError) as caught:
        blocks.request(INDEXED)
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR


VALUES = st.binary(max_size=40).map(lambda data: bytes(97 + byte % 26 for byte in data))


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"te-x"]), VALUES), max_size=6), st.data())
def test_what_is_remembered_is_what_would_be_decoded(pool: list[Field], data: st.DataObject) -> None:
    """Whatever a client's table does, ours reads what it means."""
    encoder, reads = Encoder(), Reads()
    for _ in range(12):
        fields = [*GET, *data.draw(st.lists(st.sampled_from(pool), max_size=4) if pool else st.just([]))]
        if data.draw(st.booleans()):
            encoder.header_table_size = data.draw(st.integers(0, 200))
        block = encoder.encode(fields, huffman=data.draw(st.booleans()))
        before = reads.count
        assert list(reads.blocks.request(block)) == fields
        # What is remembered is not interpreted again.
        assert reads.count == before or reads.nbytes == sum(32 + len(name + value) for name, value in fields)


def test_the_memory_is_bounded_and_nothing_is_kept_at_first_sight() -> None:
    blocks = Reads().blocks
    for number in range(1000):
        blocks.request(headers.encode([*GET, (b"n", str(number).encode())]))
    assert blocks.remembered.nbytes == 0
    for number in range(1000):
        for _ in range(2):
            blocks.request(headers.encode([*GET, (b"n", str(number).encode())]))
    assert 0 < blocks.remembered.nbytes <= 64 * 1024
    for _ in range(2):
        blocks.request(headers.encode([*GET, (b"n", b"x" * 50_000)]))
    assert blocks.remembered.nbytes <= 64 * 1024


# --- what a request may have: RFC 9113, sections 8.2 and 8.3 -----------------------------------------------------

MALFORMED: dict[str, list[Field]] = {
    "no-method": GET[1:],
    "no-path": [*GET[:2], GET[3]],
    "no-scheme": [GET[0], *GET[2:]],
    "twice": [*GET, GET[0]],
    "unknown-pseudo": [*GET, (b":protocol", b"x")],
    "of-answers": [*GET, (b":status", b"200")],
    "pseudo-after-regular": [*GET[:3], (b"a", b"b"), GET[3]],
    "upper-case": [*GET, (b"Accept", b"x")],
    "empty-name": [*GET, (b"", b"x")],
    "space-in-name": [*GET, (b"a b", b"x")],
    "colon-in-name": [*GET, (b"a:b", b"x")],
    "control-in-name": [*GET, (b"a\x7f", b"x")],
    "beyond-ascii-in-name": [*GET, (b"\xe4", b"x")],
    "connection": [*GET, (b"connection", b"close")],
    "keep-alive": [*GET, (b"keep-alive", b"1")],
    "proxy-connection": [*GET, (b"proxy-connection", b"1")],
    "transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "upgrade": [*GET, (b"upgrade", b"x")],
    "te": [*GET, (b"te", b"gzip")],
    "null": [*GET, (b"a", b"x\0y")],
    "line-end": [*GET, (b"a", b"x\ny")],
    "return": [*GET, (b"a", b"x\ry")],
    "space-before": [*GET, (b"a", b" x")],
    "tab-behind": [*GET, (b"a", b"x\t")],
    "null-in-path": [*GET[:2], (b":path", b"/\0"), GET[3]],
}


@pytest.mark.parametrize("huffman", [False, True])
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests(name: str, huffman: bool) -> None:
    """Whether their fields are spelled out or come from the table."""
    encoder, blocks = Encoder(), Reads().blocks
    for _ in range(2):
        with pytest.raises(StreamFaultError) as caught:
            blocks.request(encoder.encode(MALFORMED[name], huffman=huffman))
        assert caught.value.code is ErrorCode.PROTOCOL_ERROR
    assert blocks.request(encoder.encode(GET)) == tuple(GET)


@pytest.mark.parametrize(
    "fields", [GET, GET[:3], [*GET, (b"te", b"trailers")], [*GET, (b"a", b"")], [*GET, (b"a", b"x y\xff")]]
)
def test_requests_that_are_in_order(fields: list[Field]) -> None:
    encoder, blocks = Encoder(), Reads().blocks
    for _ in range(2):
        assert blocks.request(encoder.encode(fields)) == tuple(fields)


TRAILERS: list[tuple[Field, bool]] = [
    ((b":path", b"/"), False),
    ((b"te", b"gzip"), False),
    ((b"a", b"b"), True),
]


@pytest.mark.parametrize(("field", "allowed"), TRAILERS)
def test_trailers(field: Field, allowed: bool) -> None:
    blocks = Reads().blocks
    if allowed:
        blocks.trailers(headers.encode([field]))
        return
    with pytest.raises(StreamFaultError) as caught:
        blocks.trailers(headers.encode([field]))
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR


# --- what is sent -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b":status", b"content-type", b"x", b"grpc-message"]), st.binary(max_size=300)
        )
    )
)
def test_what_is_encoded_is_decoded_by_hpack_and_leaves_no_trace(fields: list[Field]) -> None:
    decoder = Decoder(10**6)
    assert [tuple(field) for field in decoder.decode(headers.encode(fields), raw=True)] == fields
    assert len(decoder.header_table.dynamic_entries) == 0


@pytest.mark.parametrize(
    ("value", "prefix_bits", "encoded"), [(10, 5, "0a"), (1337, 5, "1f9a0a"), (42, 8, "2a"), (127, 7, "7f00")]
)
def test_integers(value: int, prefix_bits: int, encoded: str) -> None:
    """The first three are of RFC 7541, appendix C.1."""
    assert headers._integer(value, prefix_bits, 0).hex() == encoded
