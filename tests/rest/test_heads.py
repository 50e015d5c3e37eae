"""Heads that are read without the parser say what the parser finds in them, or are left to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kserve_v2.rest.endpoint import decode_path, parse_target
from kserve_v2.rest.heads import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_ORDER_BYTES,
    MAX_ORDERS,
    MAX_REMEMBERED_BYTES,
    InferHead,
    InferHeads,
)

URL = b"/v2/models/m/versions/3/infer"
LENGTH = b"Content-Length: 4"
USUAL = (b"Host: x", LENGTH)
MAX_BODY_BYTES = 100


def lines_of(*headers: bytes, url: bytes = URL) -> bytes:
    return b"\r\n".join([b"POST %b HTTP/1.1" % url, *headers, b"", b""])


def read(data: bytes) -> InferHead | None:
    return InferHeads(MAX_BODY_BYTES).read(data)


def said(head: InferHead) -> dict[str, object]:
    return {name: getattr(head, name) for name in ("target", "model_name", "version", "body_bytes", "json_bytes", "keep_alive", "all_headers")}  # fmt: skip


def test_what_a_head_says() -> None:
    lines = lines_of(*USUAL, b"X-Request-Id: 7", b"ACCEPT-ENCODING: gzip, br", b"Connection: Keep-Alive")
    head = read(lines + b"body" + lines)
    assert head is not None
    assert head.lines == lines
    assert said(head) == {
        "target": URL,
        "model_name": "m",
        "version": "3",
        "body_bytes": 4,
        "json_bytes": 0,
        "keep_alive": True,
        "all_headers": [
            (b"host", b"x"),
            (b"content-length", b"4"),
            (b"x-request-id", b"7"),
            (b"accept-encoding", b"gzip, br"),
            (b"connection", b"Keep-Alive"),
        ],
    }
    assert head.headers[b"accept-encoding"] == b"gzip, br"
    assert b"content-encoding" not in head.headers


@pytest.mark.parametrize(
    ("value", "json_bytes"), [(b"3", 3), (b"0", 0), (b"-1", 0), (b"1_0", 0), (b"x", 0), (b"9" * 5000, 0)]
)
def test_how_much_is_json(value: bytes, json_bytes: int) -> None:
    head = read(lines_of(*USUAL, b"Inference-Header-Content-Length: " + value))
    assert head is not None
    assert head.json_bytes == json_bytes


LEFT_TO_THE_PARSER = {
    "nothing": b"",
    "no head": b"\r\n\r\n",
    "part of a head": lines_of(*USUAL)[:-1],
    "empty lines before it": b"\r\n" + lines_of(*USUAL),
    "another method": lines_of(*USUAL).replace(b"POST", b"PUT"),
    "a method in lower case": lines_of(*USUAL).replace(b"POST", b"post"),
    "another version of HTTP": lines_of(*USUAL).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a target with a fragment": lines_of(*USUAL, url=URL + b"#infer"),
    "a target with its host": lines_of(*USUAL, url=b"http://x" + URL),
    "two spaces before the target": lines_of(*USUAL, url=b" " + URL),
    "another route": lines_of(*USUAL, url=b"/v2/models/m/generate"),
    "no name": lines_of(*USUAL, url=b"/v2/models//infer"),
    "no host": lines_of(LENGTH),
    "two hosts": lines_of(*USUAL, b"Host: x"),
    "no length": lines_of(b"Host: x"),
    "two lengths": lines_of(*USUAL, LENGTH),
    "two different lengths": lines_of(*USUAL, b"Content-Length: 5"),
    "lengths in one line": lines_of(b"Host: x", b"Content-Length: 4, 4"),
    "a signed length": lines_of(b"Host: x", b"Content-Length: +4"),
    "a length in hexadecimal": lines_of(b"Host: x", b"Content-Length: 0x4"),
    "a space behind a length": lines_of(b"Host: x", LENGTH + b" "),
    "a length that is too large": lines_of(b"Host: x", b"Content-Length: 101"),
    "a length of no number's size": lines_of(b"Host: x", b"Content-Length: " + b"0" * 30 + b"4"),
    "chunks": lines_of(*USUAL, b"Transfer-Encoding: chunked"),
    "a client that waits": lines_of(*USUAL, b"Expect: 100-continue"),
    "another protocol": lines_of(*USUAL, b"Connection: upgrade", b"Upgrade: h2c"),
    "another protocol, not asked for": lines_of(*USUAL, b"Upgrade: h2c"),
    "options of the connection": lines_of(*USUAL, b"Connection: keep-alive, te"),
    "the header of proxies": lines_of(*USUAL, b"Proxy-Connection: close"),
    "a compressed body": lines_of(*USUAL, b"Content-Encoding: gzip"),
    "an encoding said twice": lines_of(*USUAL, b"Accept-Encoding: gzip", b"Accept-Encoding: br"),
    "a folded line": lines_of(*USUAL, b"X: a", b" b"),
    "a line without a colon": lines_of(*USUAL, b"X"),
    "a space before a colon": lines_of(*USUAL, b"X : a"),
    "two spaces behind a colon": lines_of(*USUAL, b"X:  a"),
    "a tab behind a colon": lines_of(*USUAL, b"X:\ta"),
    "a space at the end": lines_of(*USUAL, b"X: a "),
    "no value": lines_of(*USUAL, b"X:"),
    "no name of a header": lines_of(*USUAL, b": a"),
    "line ends of one byte": lines_of(*USUAL).replace(b"\r\n", b"\n"),
    "one line end of one byte": lines_of(*USUAL, b"X: a\nY: b"),
    "a return in a value": lines_of(*USUAL, b"X: a\rb"),
    "a zero byte": lines_of(*USUAL, b"X: a\0b"),
    "no ASCII": lines_of(*USUAL, "X: ä".encode()),
    "a head that is too long": lines_of(*USUAL, b"X: " + b"a" * MAX_HEAD_BYTES),
    "too many headers": lines_of(*USUAL, *[b"X: a"] * MAX_HEADERS),
}


@pytest.mark.parametrize("name", LEFT_TO_THE_PARSER)
def test_what_goes_the_way_of_asgi(name: str) -> None:
    heads = InferHeads(MAX_BODY_BYTES)
    for _ in range(3):
        assert heads.read(LEFT_TO_THE_PARSER[name] + b"body") is None
        # And what was read before makes no difference.
        assert heads.read(lines_of(*USUAL) + b"body") is not None


def test_one_more_is_not_too_many() -> None:
    """The limits are where they are said to be."""
    assert read(lines_of(*USUAL, *[b"X: a"] * (MAX_HEADERS - 2))) is not None
    longest = lines_of(*USUAL, b"X: a")
    assert read(longest.replace(b"X: ", b"X: " + b"a" * (MAX_HEAD_BYTES - len(longest)))) is not None
    assert read(longest.replace(b"X: ", b"X: " + b"a" * (MAX_HEAD_BYTES - len(longest) + 1))) is None


def test_a_head_is_remembered_when_it_comes_again() -> None:
    heads = InferHeads(MAX_BODY_BYTES)
    first, second, third, fourth = (heads.read(lines_of(*USUAL) + b"body") for _ in range(4))
    assert first is not None and second is not None and third is not None
    assert first is not second
    assert second is third is fourth
    assert said(third) == said(first)
    # Those that are longer are not, and mean the same.
    long = lines_of(*USUAL, b"X: " + b"a" * 3000)
    assert all(heads.read(long) is not None for _ in range(4))
    assert long not in heads._known


def test_a_known_head_is_the_whole_head() -> None:
    """Neither what begins like it nor what ends like it."""
    heads = InferHeads(MAX_BODY_BYTES)
    for _ in range(3):
        heads.read(lines_of(*USUAL))
    for other in (
        lines_of(*USUAL, b"Connection: close"),
        lines_of(*USUAL).replace(b"x", b"y"),
        lines_of(*USUAL, url=URL + b"?q"),
    ):
        head = heads.read(other + b"body")
        assert head is not None
        assert (head.lines, head.keep_alive) == (other, b"close" not in other)
    assert heads.read(b"\r\n" + lines_of(*USUAL)) is None
    assert heads.read(lines_of(*USUAL)[:-1]) is None


def test_what_is_remembered_is_bounded() -> None:
    """And what is used stays."""
    heads = InferHeads(MAX_BODY_BYTES)
    usual = lines_of(*USUAL)
    for number in range(MAX_REMEMBERED_BYTES // 512):
        head = lines_of(*USUAL, url=b"/v2/models/m%d/infer" % number)
        for _ in range(2):
            assert heads.read(head) is not None
            assert heads.read(usual) is not None
    said = (b"/v2/models/m%d/infer" % number, b"Host", b"x")
    for remembered, key in ((heads._known, usual), (heads._said, said)):
        assert key in remembered
        assert MAX_REMEMBERED_BYTES / 3 < remembered.nbytes <= MAX_REMEMBERED_BYTES


def test_sizes_of_bodies_cost_no_place() -> None:
    """What a head means is remembered once, whatever its Content-Length is."""
    heads = InferHeads(MAX_BODY_BYTES)
    for number in range(400):
        head = heads.read(lines_of(b"Host: x", b"Content-Length: %d" % (number % 100), b"X-Id: %d" % number))
        assert head is not None
        assert head.body_bytes == number % 100
    assert list(heads._said) == [(URL, b"Host", b"x")]


class Eager(InferHeads):
    """Makes a pattern of each order of names at once."""

    learn_every = 1


def test_heads_of_a_known_order_are_read_by_its_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever their values are."""
    heads = InferHeads(MAX_BODY_BYTES)

    def read_one(number: int) -> InferHead | None:
        lines = (
            b"Host: x",
            b"X-Id: %d" % number,
            b"Content-Length: %d" % (number % 100),
            b"Accept-Encoding: br",
        )
        return heads.read(lines_of(*lines, url=b"/v2/models/m%d/infer" % (number % 7)))

    for number in range(heads.learn_every):
        assert not heads._orders
        assert read_one(number) is not None
    assert len(heads._orders) == 1
    monkeypatch.setattr("kserve_v2.rest.heads._HEAD", None)
    for number in range(1000, 1200):
        head = read_one(number)
        assert head is not None
        assert (head.model_name, head.body_bytes) == (f"m{number % 7}", number % 100)
        assert head.headers[b"accept-encoding"] == b"br"


def test_patterns_are_few() -> None:
    """The one that was used last is tried first; a long order has none."""
    heads = Eager(MAX_BODY_BYTES)
    for number in range(3 * MAX_ORDERS):
        for _ in range(2):
            assert heads.read(lines_of(*USUAL, b"X-%d: a" % number)) is not None
    assert len(heads._orders) == MAX_ORDERS
    first = heads._orders[-1]
    assert heads.read(lines_of(*USUAL, b"X-%d: b" % (2 * MAX_ORDERS))) is not None
    assert heads._orders[0] is first
    assert heads.read(lines_of(*USUAL, b"X" * MAX_ORDER_BYTES + b": a")) is not None
    assert heads._orders[0] is first


# --- what the parser says -----------------------------------------------------------------------------------------


@dataclass
class Parsed:
    """What httptools finds, and after how many bytes."""

    url: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    heads: int = 0
    complete: int = 0
    keep_alive: bool | None = None

    def __post_init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.heads += 1
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


def check(data: bytes, *before: bytes) -> InferHead | None:
    """If the head is read here, the parser must read the very same request, and end it at the same byte. `before`: what
    comes before it, and makes no difference.
    """
    head = read(data)
    for heads in (InferHeads(MAX_BODY_BYTES), Eager(MAX_BODY_BYTES)):
        for each in (*before, data, data, data):
            again = heads.read(each)
        assert (again and said(again)) == (head and said(head))
    if head is None:
        return None
    found = Parsed()
    parser = found.parser
    parser.feed_data(head.lines[:-1])
    assert found.heads == 0
    parser.feed_data(head.lines[-1:])
    assert (found.heads, found.complete) == (1, int(head.body_bytes == 0))
    body = b"b" * head.body_bytes
    if body:
        parser.feed_data(body[:-1])
        assert found.complete == 0
        parser.feed_data(body[-1:])
        assert found.complete == 1
    assert (parser.get_method(), parser.get_http_version()) == (b"POST", "1.1")
    assert found.body == body
    assert found.url == head.target
    assert found.headers == head.all_headers
    assert found.keep_alive == head.keep_alive
    assert not parser.should_upgrade()
    said_once = dict(found.headers)
    assert [name for name, _ in found.headers].count(b"host") == 1
    assert head.headers.items() <= said_once.items()
    path = httptools.parse_url(found.url).path
    assert parse_target(decode_path(path)) == ("infer", head.model_name, head.version)
    return head


_names = st.sampled_from(
    b"Host host Content-Length content-length Connection Transfer-Encoding Expect Content-Encoding Accept-Encoding "
    b"Inference-Header-Content-Length Upgrade X-Id TE traceparent Authorization Keep-Alive Proxy-Connection Trailer "
    b"!#$%&'*+-.^_`|~9".split()
)  # fmt: skip
_values = st.one_of(
    st.sampled_from([b"x", b"4", b"0", b"04", b"101", b"keep-alive", b"close", b"Close", b"chunked", b"gzip"])
    | st.sampled_from(
        [b"upgrade", b"100-continue", b"identity", b"a b", b"a,b", b'"a\\"', b"keep-alive, close"]
    ),
    st.binary(max_size=6),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12).map(str.encode),
)
_separators = st.sampled_from([b": "] * 8 + [b":", b":  ", b" : ", b":\t"])
_lines = st.tuples(_names, _separators, _values).map(b"".join)
_urls = st.one_of(
    st.sampled_from([URL, b"/v2/models/m/infer", b"/v2/models/m%2Fn/infer?a=b", b"/v2/models/m/infer?x#y"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=5).map(
        lambda text: b"/v2/models/%b/infer" % text.encode()
    ),
)
_edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 2), st.sampled_from([b"", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\0", b"\x80", b"a"])),
    max_size=2,
)  # fmt: skip


def edited(data: bytes, edits: Sequence[tuple[float, int, bytes]]) -> bytes:
    for where, removed, inserted in edits:
        at = int(where * len(data))
        data = data[:at] + inserted + data[at + removed :]
    return data


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(_urls, st.lists(_lines, max_size=5), st.permutations(USUAL), _edits)
@example(URL, [b"Content-Length: 4"], USUAL, [])
@example(b'/v2/models/a"<>\\^`{|}/infer', [], USUAL, [])
def test_it_means_the_same_to_the_parser(
    url: bytes, more: list[bytes], usual: Sequence[bytes], edits: list[tuple[float, int, bytes]]
) -> None:
    lines = lines_of(*usual, *more, url=url)
    check(edited(lines, edits), lines, lines_of(*usual, *more))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"x", b"close", b"gzip", b"keep-alive"]), st.booleans(), st.permutations(USUAL))
def test_heads_of_the_usual_form_are_read(value: bytes, last: bool, usual: Sequence[bytes]) -> None:
    """So that the test above is one."""
    head = check(lines_of(*usual, b"X-Id: " + value, *[b"Connection: close"] * last))
    assert head is not None
    assert head.keep_alive is not last
