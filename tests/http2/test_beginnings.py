"""What blocks begin and end with: requests that differ in a few values are read without decoding all of them again, and
as the `hpack` package reads them, whatever a client's table does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.http2.beginnings import Beginnings
from kserve_v2.http2.budget import Budget
from kserve_v2.http2.errors import ConnectionFaultError, StreamFaultError
from kserve_v2.http2.fields import FIELD_OVERHEAD_BYTES, OF_REQUEST, REQUIRED, Field, mark
from kserve_v2.http2.headers import HeaderBlocks
from kserve_v2.http2.hpack import Decoder
from kserve_v2.http2.limits import Http2Limits
from kserve_v2.http2.tails import tail_of

LIMITS = Http2Limits(max_header_block_bytes=20_000, max_header_fields=40)
USUAL = [
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a.B/C"), (b":authority", b"127.0.0.1:8001"),
    (b"content-type", b"application/grpc"), (b"te", b"trailers"),
]  # fmt: skip
TRACE, DEADLINE, ID = b"traceparent", b"grpc-timeout", b"x-request-id"
ADDED, PLAIN, NEVER = 0x40, 0x00, 0x10

Meaning = tuple[tuple[Field, ...], int]


def string(text: bytes) -> bytes:
    return (bytes([len(text)]) if len(text) < 127 else bytes([127, len(text) - 127])) + text


def spelled(name: bytes, value: bytes, kind: int = ADDED) -> bytes:
    return bytes([kind]) + string(name) + string(value)


@dataclass(frozen=True)
class Sent:
    """A field of a client's."""

    field: Field
    kind: int = ADDED


class Client:
    """Sends by their numbers what is in its table, which is the oracle's, and spells out all else."""

    def __init__(self) -> None:
        self.oracle = hpack.Decoder(10**6)

    def block(self, fields: Sequence[Sent], table_bytes: int | None = None) -> tuple[bytes, list[Field]]:
        """A block, and what it means."""
        pieces, meaning = [], []
        if table_bytes is not None:
            pieces.append(
                bytes([0x20 | table_bytes]) if table_bytes < 31 else b"\x3f" + _more(table_bytes - 31)
            )
            self.oracle.decode(pieces[0])
        for sent in fields:
            found = self.oracle.header_table.search(*sent.field)
            if found is not None and found[2] is not None:
                piece = bytes([0x80 | found[0]]) if found[0] < 127 else b"\xff" + _more(found[0] - 127)
            else:
                piece = spelled(*sent.field, sent.kind)
            pieces.append(piece)
            meaning += self.read(piece)
        return b"".join(pieces), meaning

    def read(self, block: bytes) -> list[Field]:
        return [(bytes(name), bytes(value)) for name, value in self.oracle.decode(block, raw=True)]


def _more(number: int) -> bytes:
    """What is left of a number that does not fit into its first byte."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])


class Server:
    """A connection, and how often the meaning of a beginning was known."""

    def __init__(self) -> None:
        self.begun = 0
        self.blocks = HeaderBlocks(self._read, LIMITS, Budget(LIMITS, lambda: 0.0))

    def _read(
        self, fields: Sequence[Field], nbytes: int, begun: Meaning | None = None, count: int = 0
    ) -> Meaning:
        if begun is not None:
            assert begun == meant(fields[:count])
            self.begun += 1
        return tuple(fields), nbytes

    def read(self, block: bytes) -> Meaning | str:
        try:
            return self.blocks.request(block)
        except StreamFaultError:
            return "stream"
        except ConnectionFaultError:
            return "connection"


def meant(fields: Sequence[Field]) -> Meaning:
    return tuple(fields), sum(FIELD_OVERHEAD_BYTES + len(name + value) for name, value in fields)


def expected(fields: Sequence[Field]) -> Meaning | str:
    """What a server has to make of the fields of a request."""
    marks = 0
    for place, field in enumerate(fields):
        of_field = mark(*field)
        if of_field and (of_field & marks or place != marks.bit_count()):
            return "stream"
        marks |= of_field
    return meant(fields) if marks & OF_REQUEST == REQUIRED else "stream"


def request(number: int, kind: int, first: bytes = TRACE, second: bytes = ID) -> list[Sent]:
    return [
        *map(Sent, USUAL),
        Sent((first, b"%055d" % number), kind),
        Sent((second, b"%036d" % number), kind),
    ]


@pytest.mark.parametrize("kind", [ADDED, PLAIN, NEVER])
def test_traced_requests_are_read_by_what_they_have_in_common(kind: int) -> None:
    """Those that are added to the table push the usual fields out of it now and then, which are then sent again."""
    client, server = Client(), Server()
    for number in range(200):
        block, fields = client.block(request(number, kind))
        assert server.read(block) == meant(fields)
    assert server.begun > 150


@pytest.mark.parametrize("kind", [ADDED, PLAIN, NEVER])
def test_the_tail_is_not_decoded(kind: int) -> None:
    """What is recalled is what is decoded, and the table is the same after both."""
    client, decoder = Client(), Decoder(4096, 10**6, 100)
    beginnings: Beginnings[Meaning] = Beginnings(
        decoder, lambda fields, nbytes, begun=None, count=0: meant(fields)
    )
    recalled = 0
    for number in range(200):
        block, fields = client.block(request(number, kind))
        known = beginnings.of(block)
        found = None if known is None else known.recall(block, decoder)
        recalled += found is not None
        if found is None:
            found = decoder.decode(block)
            if known is not None:
                known.note(block)
        assert (found[0], found[2] & OF_REQUEST) == (fields, REQUIRED)
        assert [entry[0] for entry in decoder._table] == list(client.oracle.header_table.dynamic_entries)
    assert recalled > 150


WRONG_VALUES = [b"%054d\n", b"%054d\0", b"%054d\r", b" %054d", b"%054d\t", b"\t%054d", b"%027d\n%027d"]


@pytest.mark.parametrize("value", WRONG_VALUES)
@pytest.mark.parametrize("kind", [ADDED, PLAIN])
def test_a_value_that_no_field_may_have_is_found_among_those_that_are_known(value: bytes, kind: int) -> None:
    client, server = Client(), Server()
    for number in range(8):
        block, fields = client.block(request(number, kind))
        assert server.read(block) == meant(fields)
    wrong = value % ((0,) * value.count(b"%"))
    block, _ = client.block([*map(Sent, USUAL), Sent((TRACE, wrong), kind), Sent((ID, b"%036d" % 0), kind)])
    assert server.read(block) == "stream"
    # It has been added all the same.
    block, fields = client.block(request(9, kind))
    assert server.read(block) == meant(fields)


@pytest.mark.parametrize(
    ("first", "second"),
    [(name, ID) for name in (b"traceparenT", b"traceparens", b"te", b":path", b"upgrade", b"content-typ")]
    + [(TRACE, name) for name in (b"x-request-iD", b"x-request-ie", b"x-request", b"content-type")],
)
def test_another_name_is_not_taken_for_the_one_that_is_known(first: bytes, second: bytes) -> None:
    """Whether or not the sizes are the same."""
    client, server = Client(), Server()
    for number in range(8):
        server.read(client.block(request(number, PLAIN))[0])
    block, fields = client.block(request(9, PLAIN, first, second))
    assert server.read(block) == expected(fields)
    assert server.read(block) == expected(fields)


def check_same(client: Client, server: Server, block: bytes) -> None:
    """Some bytes of an earlier block mean what the oracle takes them for, whatever that is by now."""
    try:
        fields = client.read(block)
    except hpack.HPACKError:
        assert server.read(block) == "connection"
        return
    assert server.read(block) == expected(fields)


@pytest.mark.parametrize("added", [*range(6), *range(58, 72)])
@pytest.mark.parametrize("value_bytes", [0, 3000, 3600, 3700, 3780, 3840, 4060, 5000])
@pytest.mark.parametrize("moved", ["", "on", "around"])
def test_what_is_known_has_to_be_in_the_table_still(added: int, value_bytes: int, moved: str) -> None:
    """All of it; and after as many fields as make the same place of the same number, another field may be meant.
    `moved`: by their numbers now, the same fields are meant, in the table or not; around: or those that have come to
    their places since.
    """
    client, server = Client(), Server()
    for _ in range(4):
        block, fields = client.block([*map(Sent, USUAL), Sent((b"a", b"b"), PLAIN)])
        assert server.read(block) == meant(fields)
    for number in range(added):
        filling = spelled(b"n", b"%d" % number)
        client.read(filling)
        server.blocks.skip(filling)
    if value_bytes:
        filling = b"\x40\x01n\x7f" + _more(value_bytes - 127) + b"x" * value_bytes
        client.read(filling)
        server.blocks.skip(filling)
    by = added + bool(value_bytes)
    if moved == "on":
        block = block.translate(bytes(min(byte + by * (byte > 0xBD), 0xFE) for byte in range(256)))
    elif moved == "around":
        ages = (0xBE + (age + by) % 64 for age in range(64))
        block = block.translate(bytes([*range(0xBE), *ages, 0xFE, 0xFF]))
    check_same(client, server, block)


def test_a_whole_block_is_forgotten_when_a_tail_is_added() -> None:
    client, server = Client(), Server()
    for number in range(12):
        for _ in range(3):
            block, fields = client.block([*map(Sent, USUAL)])
            assert server.read(block) == meant(fields)
        traced, fields = client.block([*map(Sent, USUAL), Sent((TRACE, b"%055d" % number))])
        assert server.read(traced) == meant(fields)
        check_same(client, server, block)


@pytest.mark.parametrize(
    "tail",
    [
        b"\xbe", b"\x20", spelled(b"te", b"trailers"), spelled(b":path", b"/"), spelled(b"upgrade", b"h2c"),
        b"\x40\x01a\x81\x1f", b"\x7e\x01a", b"\x0f\x2f\x01a", spelled(b"a", b"b") + b"\xbe", spelled(b"a", b"b") * 9,
        spelled(b"a", b"b" * 254) * 8 + spelled(b"a", b""), b"\x04\x01/",
    ],
)  # fmt: skip
def test_tails_that_are_decoded_each_time(tail: bytes) -> None:
    """Numbers, the table's size, marks, Huffman code, names by the dynamic table, too many and too large ones."""
    decoder = Decoder(4096, 10**6, 100)
    decoder.decode(spelled(b"a", b"b"))
    try:
        found = tail_of(tail).read(tail, decoder)
    except ValueError:
        found = None
    assert found is None
    assert decoder.added == 1


ODD = st.sampled_from([b"", b" ", b"a\n", b"a\0", b"x" * 130, b"\t%010d", b"trailers"])
VARIED = st.builds(
    Sent,
    st.tuples(
        st.sampled_from([TRACE, DEADLINE, ID, b"x-request-if", b"te"]),
        st.one_of(st.integers(0, 10**6).map(lambda number: b"%010d" % number), ODD),
    ),
    st.sampled_from([ADDED, ADDED, ADDED, PLAIN, NEVER]),
)
SIZES = st.sampled_from([None] * 12 + [0, 60, 200, 400, 4096])


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.data())
def test_conversations(data: st.DataObject) -> None:
    """Few kinds of requests, again and again, with values of their own; and the bytes of earlier ones, whatever they mean
    by then.
    """
    client, server = Client(), Server()
    kinds = data.draw(st.lists(st.lists(VARIED, max_size=3), min_size=1, max_size=3))
    blocks: list[bytes] = []
    for number in range(data.draw(st.integers(5, 60))):
        if blocks and data.draw(st.integers(0, 9)) == 0:
            block = data.draw(st.sampled_from(blocks[-6:]))
            try:
                fields = client.read(block)
            except hpack.HPACKError:
                assert server.read(block) == "connection"
                return
        else:
            if data.draw(st.integers(0, 9)) == 0:
                own = data.draw(st.lists(VARIED, max_size=3))
            else:
                # The same, but for the values.
                own = [
                    Sent((sent.field[0], b"%0*d" % (len(sent.field[1]), number)), sent.kind)
                    for sent in data.draw(st.sampled_from(kinds))
                ]
            block, fields = client.block([*map(Sent, USUAL), *own], data.draw(SIZES))
            blocks.append(block)
        assert server.read(block) == expected(fields)
