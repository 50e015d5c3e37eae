"""HPACK: the examples of RFC 7541, the `hpack` package as an oracle, and blocks that are made to cost much."""

from collections.abc import Sequence

import hpack
import pytest
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.http2 import headers, huffman
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode
from kserve_v2.http2.fields import Field
from kserve_v2.http2.hpack import Decoder
from tests.http2.peer import GET

MAX_LIST_BYTES = 2000


def decoder(
    max_table_bytes: int = 4096, max_list_bytes: int = MAX_LIST_BYTES, max_fields: int = 20
) -> Decoder:
    return Decoder(max_table_bytes, max_list_bytes, max_fields)


def code_of(block: bytes, at: Decoder | None = None) -> tuple[ErrorCode, str]:
    """Why a block ends the connection."""
    with pytest.raises(ConnectionFaultError) as caught:
        (at or decoder()).decode(block)
    return caught.value.code, str(caught.value)


# --- RFC 7541, appendix C -----------------------------------------------------------------------------------------

FIRST = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
SECOND = [*FIRST, (b"cache-control", b"no-cache")]
THIRD = [
    (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"),
    (b":authority", b"www.example.com"), (b"custom-key", b"custom-value"),
]  # fmt: skip
ANSWERS = [
    [(b":status", status), (b"cache-control", b"private"), (b"date", date), (b"location", b"https://www.example.com"), *more]
    for status, date, more in (
        (b"302", b"Mon, 21 Oct 2013 20:13:21 GMT", []),
        (b"307", b"Mon, 21 Oct 2013 20:13:21 GMT", []),
        (b"200", b"Mon, 21 Oct 2013 20:13:22 GMT", [
            (b"content-encoding", b"gzip"),
            (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
        ]),
    )
]  # fmt: skip

# By the example: the size of the table, blocks on one connection and what they mean, and the table's entries at the end.
EXAMPLES: dict[str, tuple[int, list[str], list[list[Field]], list[Field]]] = {
    "C.2.1": (4096, ["400a637573746f6d2d6b65790d637573746f6d2d686561646572"], [[(b"custom-key", b"custom-header")]], [(b"custom-key", b"custom-header")]),
    "C.2.2": (4096, ["040c2f73616d706c652f70617468"], [[(b":path", b"/sample/path")]], []),
    "C.2.3": (4096, ["100870617373776f726406736563726574"], [[(b"password", b"secret")]], []),
    "C.2.4": (4096, ["82"], [[(b":method", b"GET")]], []),
    "C.3": (
        4096,
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        [FIRST, SECOND, THIRD],
        [THIRD[4], SECOND[4], FIRST[3]],
    ),
    "C.4": (
        4096,
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
        [FIRST, SECOND, THIRD],
        [THIRD[4], SECOND[4], FIRST[3]],
    ),
    "C.5": (
        256,
        [
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e17"
            "68747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d41"
            "53444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
        ],
        ANSWERS,
        [ANSWERS[2][5], ANSWERS[2][4], ANSWERS[2][2]],
    ),
    "C.6": (
        256,
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8"
            "e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b39"
            "60d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ],
        ANSWERS,
        [ANSWERS[2][5], ANSWERS[2][4], ANSWERS[2][2]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_rfc(name: str) -> None:
    size, blocks, expected, kept = EXAMPLES[name]
    found = decoder(size)
    assert [found.decode(bytes.fromhex(block))[0] for block in blocks] == expected
    # Index 62 is the first of the table, and there are no more than these.
    assert found.decode(bytes(0xBE + place for place in range(len(kept))))[0] == kept
    assert code_of(bytes([0xBE + len(kept)]), found)[0] is ErrorCode.COMPRESSION_ERROR


@pytest.mark.parametrize(
    ("number", "encoded"), [(10, "2a"), (31, "3f00"), (1337, "3f9a0a"), (1337, "3f9a8a00"), (4096, "3fe11f")]
)
def test_numbers(number: int, encoded: str) -> None:
    """In 5 bits, as in C.1, of an update of the table's size; bytes that add nothing are allowed."""
    decoder(number).decode(bytes.fromhex(encoded))
    assert code_of(bytes.fromhex(encoded), decoder(number - 1))[0] is ErrorCode.COMPRESSION_ERROR


def test_the_static_table() -> None:
    table = HeaderTable.STATIC_TABLE
    every = bytes(0x80 | index for index in range(1, len(table) + 1))
    assert decoder(max_list_bytes=10_000, max_fields=100).decode(every)[0] == list(table)


# --- as the oracle has it -----------------------------------------------------------------------------------------


def ours(at: Decoder, block: bytes) -> list[Field] | ErrorCode:
    try:
        return at.decode(block)[0]
    except ConnectionFaultError as error:
        return error.code


def theirs(at: hpack.Decoder, block: bytes) -> list[Field] | ErrorCode:
    try:
        fields = [(bytes(name), bytes(value)) for name, value in at.decode(block, raw=True)]
    except hpack.OversizedHeaderListError:
        return ErrorCode.ENHANCE_YOUR_CALM
    except hpack.HPACKError:
        return ErrorCode.COMPRESSION_ERROR
    return fields


def check_agreement(blocks: Sequence[bytes]) -> None:
    """Both read the same of all blocks, up to one that both refuse."""
    found, oracle = decoder(max_fields=10_000), hpack.Decoder(MAX_LIST_BYTES)
    for block in blocks:
        expected = theirs(oracle, block)
        got = ours(found, block)
        if isinstance(expected, ErrorCode) or isinstance(got, ErrorCode):
            # A block may be too large and wrong; and a number in more bytes than any takes is no number for us.
            assert isinstance(got, ErrorCode)
            assert isinstance(expected, ErrorCode) or b"\x80\x80\x80\x80" in block
            return
        assert got == expected


NAMES = st.sampled_from([b"a", b":path", b"te", b"traceparent", b"content-type", b"x-" + b"n" * 40])
FIELDS = st.lists(
    st.tuples(NAMES, st.one_of(st.binary(max_size=60), st.sampled_from([b"one", b"two"])), st.booleans()),
    max_size=8,
)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Blocks as the oracle encodes them for one table, which changes its size."""
    encoder = hpack.Encoder()
    blocks = []
    for fields in draw(st.lists(FIELDS, max_size=8)):
        for size in draw(st.lists(st.sampled_from([0, 40, 80, 200, 4096]), max_size=2)):
            encoder.header_table_size = size
        tuples = [
            hpack.NeverIndexedHeaderTuple(name, value) if secret else hpack.HeaderTuple(name, value)
            for name, value, secret in fields
        ]
        blocks.append(encoder.encode(tuples, huffman=draw(st.booleans())))
    return blocks


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(conversations())
def test_what_the_oracle_encodes(blocks: list[bytes]) -> None:
    check_agreement(blocks)


@st.composite
def damaged(draw: st.DrawFn) -> list[bytes]:
    """The same with some bytes changed, and an end cut off."""
    blocks = draw(conversations())
    for place, block in enumerate(blocks):
        changed = bytearray(block)
        for at, byte in draw(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=2)):
            if at < len(changed):
                changed[at] = byte
        blocks[place] = bytes(changed[: draw(st.sampled_from([None, None, None, -1, -3]))])
    return blocks


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(damaged())
def test_what_is_damaged(blocks: list[bytes]) -> None:
    check_agreement(blocks)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.lists(st.binary(max_size=30), max_size=4))
def test_any_bytes(blocks: list[bytes]) -> None:
    check_agreement(blocks)


def read(data: bytes) -> bytes | None:
    try:
        return huffman.decode(data)
    except ValueError:
        return None


def read_by_oracle(data: bytes) -> bytes | None:
    try:
        return decode_huffman(data)
    except hpack.HPACKDecodingError:
        return None


def test_all_symbols() -> None:
    """Each between all others, so that its code begins at each bit."""
    coder = hpack.Encoder().huffman_coder
    for first in range(256):
        text = bytes(each for pair in ((first, other) for other in range(0, 256, 5)) for each in pair)
        assert huffman.decode(coder.encode(text)) == text


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(st.lists(st.one_of(st.just(0xFF), st.just(0xFE), st.integers(0, 255)), max_size=8).map(bytes))
def test_any_bytes_as_a_string(data: bytes) -> None:
    """Ones above all: of such are padding, the longest codes, and the end that no string may hold."""
    assert read(data) == read_by_oracle(data)


# --- what may not be decoded --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block",
    [
        "be", "80", "ff" * 20, "828684410f77", "7f", "418cf1e3c2e5f23a6ba0ab90f4", "00", "0001", "000161", "00016101", "0f",
        "0f80", "ff80808080808000", "8220", "3fe21f", "0f2f00", "7f00",
    ],
)  # fmt: skip
def test_blocks_that_cannot_be_decoded(block: str) -> None:
    """An index beyond the table, an end too early, a number that never ends, the table's size too late or too large."""
    assert code_of(bytes.fromhex(block))[0] is ErrorCode.COMPRESSION_ERROR


def test_an_entry_that_does_not_fit_empties_the_table() -> None:
    found = decoder(100)
    found.decode(b"\x40\x01a\x01b")
    assert found.decode(b"\xbe" + b"\x40\x01a\x44" + b"x" * 68)[0] == [(b"a", b"b"), (b"a", b"x" * 68)]
    assert code_of(b"\xbe", found)[0] is ErrorCode.COMPRESSION_ERROR


def test_an_entry_may_have_the_name_of_the_one_whose_place_it_takes() -> None:
    """RFC 7541, section 4.4."""
    found = decoder(70)
    found.decode(b"\x40\x04name\x01a")
    assert found.decode(b"\x7e\x01b\xbe")[0] == [(b"name", b"b")] * 2


def test_a_header_list_bomb() -> None:
    """One field of 4 kB in the table, then a byte for each time that it is meant."""
    bomb = headers.encode(GET) + b"\x40\x01a" + headers._string(b"x" * 4000) + b"\xbe" * 255
    assert code_of(bomb, decoder(max_list_bytes=128 * 1024, max_fields=300))[0] is ErrorCode.ENHANCE_YOUR_CALM


def test_the_bound_of_a_list() -> None:
    block = b"\x00\x01a\x00" * 10
    assert decoder(max_list_bytes=330).decode(block)[1] == 330
    assert code_of(block, decoder(max_list_bytes=329))[0] is ErrorCode.ENHANCE_YOUR_CALM


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
    """The block goes on with an error, which would be another one. Each block has the bound for itself."""
    found = decoder()
    allowed = ONE_FIELD[form] * 20
    for _ in range(3):
        found.decode(allowed)
    code, message = code_of(allowed + ONE_FIELD[form] + NO_FIELD * 1000, found)
    assert (code, message) == (ErrorCode.ENHANCE_YOUR_CALM, "a header block of more than 20 fields")


def test_a_table_that_is_always_full_does_not_grow() -> None:
    """A field of its own in each block, as with identifiers of traces."""
    found = decoder()
    for number in range(1000):
        found.decode(b"\x40\x01a\x04" + b"%04d" % number)
    kept = 4096 // 37
    assert found.decode(b"\xff" + bytes([61 + kept - 127]))[0] == [(b"a", b"%04d" % (1000 - kept))]
    assert code_of(b"\xff" + bytes([62 + kept - 127]), found)[0] is ErrorCode.COMPRESSION_ERROR
