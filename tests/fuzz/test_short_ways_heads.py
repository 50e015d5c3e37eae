"""What a header block means to gRPC does not depend on what has come before on its connection, but for HPACK's table.

A connection that has seen all earlier blocks, some of which it remembers, is compared with one that knows nothing: the
`hpack` package reads the fields, what RFC 9113 says of them is written down here once more, and the head is made of
those fields alone.
"""

from collections.abc import Sequence

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.http2.budget import Budget
from kserve_v2.http2.errors import ConnectionFaultError, StreamFaultError
from kserve_v2.http2.fields import Field
from kserve_v2.http2.headers import HeaderBlocks
from kserve_v2.http2.limits import Http2Limits
from kserve_v2.rpc.calls import Direct
from kserve_v2.rpc.transport.head import HeadReader, RequestHead

PATHS = (b"/a.B/C", b"/a.B/D")
RPCS = {path: Direct(path.decode(), lambda data, context: (data,), lambda data: None) for path in PATHS}
LIMITS = Http2Limits(max_header_block_bytes=4000, max_header_fields=40)
MAX_METADATA_BYTES = 700

Meaning = tuple[object, ...] | str
"""What a block means, or which end it puts to its stream or connection."""


def meaning(head: RequestHead) -> Meaning:
    return head.terms, head.timeout_s, head.metadata


def reader() -> HeadReader:
    return HeadReader(RPCS, MAX_METADATA_BYTES, "low")


class Acquainted:
    """A connection."""

    def __init__(self) -> None:
        self._blocks = HeaderBlocks(reader().read, LIMITS, Budget(LIMITS, lambda: 0.0))

    def read(self, block: bytes) -> Meaning:
        try:
            return meaning(self._blocks.request(block))
        except StreamFaultError:
            return "stream"
        except ConnectionFaultError:
            return "connection"


class Unacquainted:
    """Reads every block from the beginning; it has nothing but HPACK's table."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(LIMITS.max_header_block_bytes)

    def read(self, block: bytes) -> Meaning:
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except hpack.HPACKError:
            return "connection"
        if not is_request(fields):
            return "stream"
        return meaning(reader().read(fields, sum(32 + len(name + value) for name, value in fields)))


def is_request(fields: Sequence[Field]) -> bool:
    """RFC 9113, sections 8.2 and 8.3, of the fields that are drawn here."""
    pseudo = [name for name, _ in fields if name.startswith(b":")]
    return (
        pseudo == [name for name, _ in fields][: len(pseudo)]
        and len(set(pseudo)) == len(pseudo)
        and {b":method", b":scheme", b":path"} <= set(pseudo) <= {b":method", b":scheme", b":path", b":authority"}
        and not any(name in (b"connection", b"transfer-encoding") or name != name.lower() for name, _ in fields)
        and all(value == b"trailers" for name, value in fields if name == b"te")
        and not any(value[:1] in b" \t" or value[-1:] in b" \t" or set(value) & set(b"\0\r\n") for _, value in fields if value)
    )  # fmt: skip


def one_of(name: bytes, *values: bytes) -> st.SearchStrategy[Field]:
    return st.tuples(st.just(name), st.sampled_from(values))


USUAL = st.tuples(
    one_of(b":method", *[b"POST"] * 9, b"GET"),
    one_of(b":scheme", b"http", b"https"),
    one_of(b":path", *PATHS, *PATHS, b"/a.B/E"),
    one_of(b":authority", b"x", b"127.0.0.1:8001"),
    one_of(b"content-type", *[b"application/grpc"] * 9, b"application/grpc+proto", b"application/json"),
    one_of(b"te", *[b"trailers"] * 15, b"gzip"),
    one_of(b"user-agent", b"grpc-go/1.60.0", b"grpc-python/1.63.0"),
).map(list)

DIGITS = st.integers(0, 10**9).map(lambda number: b"%d" % number)
VARIED = st.one_of(
    st.tuples(st.just(b"grpc-timeout"), st.tuples(DIGITS, st.sampled_from([b"n", b"u", b"m", b"S", b"s"])).map(b"".join)),
    st.tuples(st.just(b"traceparent"), st.binary(min_size=24, max_size=24).map(lambda data: b"00-" + data.hex().encode())),
    st.tuples(st.just(b"authorization"), st.sampled_from([40, 300, 700]).map(lambda size: b"Bearer " + b"t" * size)),
    st.tuples(st.just(b"x-bin"), st.binary(max_size=9).map(lambda data: data.hex().encode())),
    st.tuples(st.just(b"x-request-id"), DIGITS),
    one_of(b"grpc-encoding", b"identity", b"gzip", b"br"),
    one_of(b"grpc-accept-encoding", b"gzip", b"identity,deflate"),
    one_of(b"content-type", b"application/grpc", b"text/plain"),
)  # fmt: skip
WRONG = st.sampled_from(
    [(b"connection", b"close"), (b"Upper", b"x"), (b"a", b"x\n"), (b"a", b" x"), (b":path", b"/"), (b":status", b"200"), (b"te", b"")]
)  # fmt: skip


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Blocks of one client: few kinds of requests, again and again, each with fields of its own, in any order and way of
    being encoded; and now and then the bytes of an earlier one, whatever they mean by then.
    """
    encoder = hpack.Encoder()
    kinds = draw(st.lists(USUAL, min_size=1, max_size=2))
    blocks: list[bytes] = []
    for _ in range(draw(st.integers(2, 15))):
        if blocks and draw(st.booleans()):
            blocks += [draw(st.sampled_from(blocks[-4:]))] * draw(st.integers(1, 3))
            continue
        fields = [
            *draw(st.sampled_from(kinds)),
            *draw(st.lists(VARIED, max_size=draw(st.sampled_from([0, 1, 3])))),
        ]
        disorder = draw(st.integers(0, 9))
        if disorder == 0:
            fields = draw(st.permutations(fields))
        elif disorder == 1:
            fields = [*fields[:4], *draw(st.permutations(fields[4:]))]
        elif disorder == 2:
            fields.insert(draw(st.integers(0, len(fields))), draw(WRONG))
        elif disorder == 3:
            del fields[draw(st.integers(0, len(fields) - 1))]
        if draw(st.integers(0, 4)) == 0:
            encoder.header_table_size = draw(st.sampled_from([0, 60, 200, 4096]))
        never = draw(
            st.sampled_from([frozenset(), frozenset({b"traceparent", b"authorization"}), frozenset(PATHS)])
        )
        blocks.append(
            encoder.encode(
                [
                    (hpack.NeverIndexedHeaderTuple if name in never else hpack.HeaderTuple)(name, value)
                    for name, value in fields
                ],
                huffman=draw(st.booleans()),
            )
        )
    return blocks


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(conversations())
def test_what_a_block_means(blocks: list[bytes]) -> None:
    acquainted, unacquainted = Acquainted(), Unacquainted()
    for block in blocks:
        expected = unacquainted.read(block)
        assert acquainted.read(block) == expected
        if expected == "connection":
            return
