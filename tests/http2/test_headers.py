"""Header blocks: the examples of RFC 7541, what is remembered, what no request may have."""

from collections.abc import Sequence

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.http2 import headers
from kserve_v2.http2.budget import Budget
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode, StreamFaultError
from kserve_v2.http2.headers import Field, HeaderBlocks
from kserve_v2.http2.limits import Http2Limits
from tests.http2.peer import GET


class Reads:
    """Counts how often fields are interpreted."""

    def __init__(self, limits: Http2Limits | None = None) -> None:
        self.count = 0
        limits = limits or Http2Limits()
        self.blocks = HeaderBlocks(self._read, limits, Budget(limits, lambda: 0.0))

    def _read(self, fields: Sequence[Field]) -> tuple[Field, ...]:
        self.count += 1
        return tuple(fields)


FIRST = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
SECOND = [*FIRST, (b"cache-control", b"no-cache")]
THIRD = [
    (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"),
    (b":authority", b"www.example.com"), (b"custom-key", b"custom-value"),
]  # fmt: skip

# RFC 7541, appendices C.3 and C.4: three requests on one connection, the dynamic table growing.
PLAIN = [
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
]
HUFFMAN = [
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
]


@pytest.mark.parametrize("examples", [PLAIN, HUFFMAN], ids=["C.3", "C.4"])
def test_the_examples_of_the_rfc(examples: list[str]) -> None:
    blocks = Reads().blocks
    assert [list(blocks.request(bytes.fromhex(block))) for block in examples] == [FIRST, SECOND, THIRD]


def test_a_block_that_changes_the_table_is_not_remembered() -> None:
    """C.3.1 sent twice adds its authority twice: index 62 and 63 are then the same."""
    reads = Reads()
    block = bytes.fromhex(PLAIN[0])
    assert reads.blocks.request(block) == reads.blocks.request(block) == tuple(FIRST)
    assert reads.count == 2
    assert reads.blocks.request(bytes.fromhex("828684bf")) == tuple(FIRST)


def test_a_block_is_remembered_until_the_table_changes() -> None:
    reads = Reads()
    reads.blocks.request(bytes.fromhex(PLAIN[0]))
    indexed = bytes.fromhex("828684be")
    for _ in range(5):
        assert reads.blocks.request(indexed) == tuple(FIRST)
    assert reads.count == 2
    # Now index 62 is another field.
    other = bytes.fromhex("828684") + b"\x41\x05other"
    assert reads.blocks.request(other)[-1] == (b":authority", b"other")
    assert reads.blocks.request(indexed) == (*FIRST[:3], (b":authority", b"other"))


def remembering() -> HeaderBlocks[tuple[Field, ...]]:
    """Blocks of which one is remembered: the first example, with its authority from the table."""
    blocks = Reads().blocks
    blocks.request(bytes.fromhex(PLAIN[0]))
    assert blocks.request(bytes.fromhex("828684be")) == tuple(FIRST)
    return blocks


def test_trailers_change_the_table_too() -> None:
    blocks = remembering()
    blocks.trailers(b"\x40\x01a\x01b")
    assert blocks.request(bytes.fromhex("828684be")) == (*FIRST[:3], (b"a", b"b"))


def test_a_smaller_table_has_no_longer_what_was_remembered() -> None:
    blocks = remembering()
    blocks.skip(b"\x20")
    with pytest.raises(ConnectionFaultError) as caught:
        blocks.request(bytes.fromhex("828684be"))
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
        assert list(reads.blocks.request(encoder.encode(fields, huffman=data.draw(st.booleans())))) == fields


def test_the_memory_is_bounded() -> None:
    reads = Reads()
    for number in range(1000):
        reads.blocks.request(headers.encode([*GET, (b"n", str(number).encode())]))
    assert len(reads.blocks.remembered) <= 64
    long = headers.encode([*GET, (b"n", b"x" * 5000)])
    reads.blocks.request(long)
    assert long not in reads.blocks.remembered


# --- bombs ------------------------------------------------------------------------------------------------------


def test_a_header_list_bomb() -> None:
    """One field of 4 kB in the table, then a byte for each time that it is meant."""
    blocks = Reads().blocks
    bomb = headers.encode(GET) + b"\x40\x01a" + headers._string(b"x" * 4000) + b"\xbe" * 10_000
    with pytest.raises(ConnectionFaultError) as caught:
        blocks.request(bomb)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


NO_FIELD = b"\x80"
"""An index that is none: an error if it is decoded."""

ONE_FIELD = {
    "indexed": b"\x90",
    "named by the table": b"\x0f\x04\x00",
    "literal": b"\x00\x01a\x00",
    "never indexed": b"\x10\x01a\x00",
    "for the table": b"\x40\x01a\x00",
    "size of the table": b"\x20",
}


@pytest.mark.parametrize("form", ONE_FIELD)
def test_no_field_is_decoded_beyond_the_bound(form: str) -> None:
    """The block goes on with an error, which would be another one."""
    blocks = Reads(Http2Limits(max_header_fields=20)).blocks
    allowed = ONE_FIELD[form] * 20
    blocks.skip(allowed)
    with pytest.raises(ConnectionFaultError, match="a header block of more than 20 fields") as caught:
        blocks.skip(allowed + ONE_FIELD[form] + NO_FIELD * 1000)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_each_block_has_the_bound_for_itself() -> None:
    blocks = Reads(Http2Limits(max_header_fields=20)).blocks
    for _ in range(3):
        blocks.skip(ONE_FIELD["literal"] * 20)


def test_a_table_larger_than_announced() -> None:
    with pytest.raises(ConnectionFaultError) as caught:
        Reads(Http2Limits(header_table_bytes=4096)).blocks.request(b"\x3f\xe2\x1f")
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR


@pytest.mark.parametrize("block", ["be", "80", "ff" * 20, "828684410f77", "7f", "418cf1e3c2e5f23a6ba0ab90f4"])
def test_blocks_that_cannot_be_decoded(block: str) -> None:
    with pytest.raises(ConnectionFaultError) as caught:
        Reads().blocks.request(bytes.fromhex(block))
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR


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


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests(name: str) -> None:
    with pytest.raises(StreamFaultError) as caught:
        headers.check_request(MALFORMED[name])
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "fields", [GET, GET[:3], [*GET, (b"te", b"trailers")], [*GET, (b"a", b"")], [*GET, (b"a", b"x y\xff")]]
)
def test_requests_that_are_in_order(fields: list[Field]) -> None:
    headers.check_request(fields)


def test_trailers_have_no_pseudo_header_fields() -> None:
    with pytest.raises(StreamFaultError):
        Reads().blocks.trailers(headers.encode([(b":path", b"/")]))


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


def test_the_size_of_a_list() -> None:
    assert headers.list_bytes([(b"ab", b"c"), (b"", b"")]) == 32 + 3 + 32
