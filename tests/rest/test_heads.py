"""Heads that are recognised by their bytes say what the parser has found in them."""

import pytest

from kserve_v2.net.read_in_place import LARGE_BYTES
from kserve_v2.rest.heads import MAX_HEAD_BYTES, MAX_REMEMBERED_BYTES, InferHead, InferHeads

LINES = b"POST /v2/models/m/versions/3/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
HEADERS = [(b"host", b"x"), (b"content-length", b"4")]
URL = b"/v2/models/m/versions/3/infer"


def head_of(heads: InferHeads, url: bytes = URL, keep_alive: bool = True) -> InferHead:
    head = heads.read(url, HEADERS, keep_alive=keep_alive)
    assert head is not None
    return head


def noted(heads: InferHeads, data: bytes, head: InferHead) -> None:
    """Have a request noted as often as it takes."""
    for _ in range(3):
        heads.note(data, head)


def test_what_a_head_says() -> None:
    heads = InferHeads(100)
    head = head_of(heads)
    assert (head.model_name, head.version, head.body_bytes, head.json_bytes) == ("m", "3", 4, 0)
    assert head.headers == {b"content-length": b"4"}
    assert head_of(heads, url=b"/v2/models/n/infer").model_name == "n"


@pytest.mark.parametrize(
    ("value", "json_bytes"), [(b"3", 3), (b"0", 0), (b"-1", 0), (b"1_0", 0), (b"x", 0), (b"9" * 5000, 0)]
)
def test_how_much_is_json(value: bytes, json_bytes: int) -> None:
    head = InferHeads(100).read(URL, [*HEADERS, (b"inference-header-content-length", value)], keep_alive=True)
    assert head is not None
    assert head.json_bytes == json_bytes


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (b"/v2/models/m", HEADERS),
        (b"/v2/models/m/generate", HEADERS),
        (b"/v2/models//infer", HEADERS),
        (URL, HEADERS[:1]),
        (URL, [(b"content-length", b"101")]),
        (URL, [*HEADERS, (b"expect", b"100-continue")]),
        (URL, [*HEADERS, (b"transfer-encoding", b"chunked")]),
    ],
)
def test_what_goes_the_way_of_asgi(url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    heads = InferHeads(100)
    assert heads.read(url, headers, keep_alive=True) is None
    assert heads.read(url, headers, keep_alive=True) is None


def test_a_whole_request_with_a_known_head_is_recognised() -> None:
    heads = InferHeads(100)
    assert heads.recall(LINES + b"body") is None
    noted(heads, LINES + b"body", head_of(heads))
    assert heads.recall(LINES + b"BODY") == (head_of(heads), b"BODY")


def test_a_head_is_remembered_when_it_comes_again() -> None:
    heads = InferHeads(100)
    heads.note(LINES + b"body", head_of(heads))
    assert heads.recall(LINES + b"body") is None
    heads.note(LINES + b"body", head_of(heads))
    assert heads.recall(LINES + b"body") is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        LINES,
        LINES + b"bod",
        LINES + b"body more",
        b"\r\n" + LINES + b"body",
        LINES.replace(b"x", b"y") + b"body",
        LINES.replace(b": x", b":x") + b"body",
        LINES.replace(b"POST", b"post") + b"body",
    ],
)
def test_other_bytes_are_not(data: bytes) -> None:
    heads = InferHeads(100)
    noted(heads, LINES + b"body", head_of(heads))
    assert heads.recall(data) is None


NOT_THE_BYTES_OF_A_HEAD = {
    "empty lines before it": b"\r\n\r\n" + LINES,
    "the end of a head, and another one": b"\r\n\r\n" + LINES.replace(b"Length: 4", b"Length: 1048576"),
    "two heads": LINES.replace(b"\r\n\r\n", b"\n\n") + LINES,
    "another target": LINES.replace(b"/m/", b"/n/"),
    "another length": LINES.replace(b": 4", b": 5"),
    "a header more that matters": LINES.replace(b"Host: x", b"Host: x\r\nContent-Encoding: gzip"),
    "another version of HTTP": LINES.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "the last one of a connection": LINES.replace(b"Host: x", b"Host: x\r\nConnection: close"),
    "another protocol": LINES.replace(b"Host: x", b"Host: x\r\nConnection: upgrade\r\nUpgrade: h2c"),
    "no POST": LINES.replace(b"POST", b"PUT"),
    "no HTTP": b"hello\r\n\r\n",
    "a line that is none": LINES.replace(b"Host: x", b"Host"),
}


@pytest.mark.parametrize("name", NOT_THE_BYTES_OF_A_HEAD)
@pytest.mark.parametrize("body", [b"", b"body", b"b" * 100], ids=len)
def test_what_a_head_means_is_what_its_bytes_mean(name: str, body: bytes) -> None:
    """Whoever says that these bytes were the head of a request is not believed."""
    heads = InferHeads(2**20)
    for head in (head_of(heads), heads.read(URL, [(b"content-length", b"1048576")], keep_alive=True)):
        assert head is not None
        noted(heads, NOT_THE_BYTES_OF_A_HEAD[name] + body, head)
    assert len(heads._known) == 0


def test_a_large_request_is_recognised_by_its_first_part() -> None:
    heads = InferHeads(2 * LARGE_BYTES)
    size = b"%d" % (LARGE_BYTES + 4)
    head = heads.read(URL, [(b"host", b"x"), (b"content-length", size)], keep_alive=True)
    assert head is not None
    lines = LINES.replace(b": 4", b": " + size)
    noted(heads, lines + b"body", head)
    assert heads.recall(lines + b"BODY") == (head, b"BODY")
    # What is missing of these is not much.
    assert heads.recall(lines + b"bodym") is None
    whole = b"b" * (LARGE_BYTES + 4)
    assert heads.recall(lines + whole) == (head, whole)
    assert heads.recall(lines + whole + b"m") is None


def test_only_one_request_is_noted() -> None:
    heads = InferHeads(100)
    head = head_of(heads)
    for data in (LINES + b"body" + LINES + b"body", LINES.replace(b"\r\n", b"\n") + b"body", LINES + b"bo"):
        noted(heads, data, head)
        assert heads.recall(data) is None
        assert heads.recall(LINES + b"body") is None


def test_the_last_request_of_a_connection_is_not_noted() -> None:
    heads = InferHeads(100)
    noted(heads, LINES + b"body", head_of(heads, keep_alive=False))
    assert heads.recall(LINES + b"body") is None


def test_what_is_remembered_is_bounded() -> None:
    """And what is used stays."""
    heads = InferHeads(100)
    noted(heads, LINES + b"body", head_of(heads))
    for number in range(MAX_REMEMBERED_BYTES // 1024):
        url = b"/v2/models/m%d/infer" % number
        noted(heads, LINES.replace(URL, url) + b"body", head_of(heads, url))
        assert heads.recall(LINES + b"body") is not None
    assert heads._known.nbytes <= MAX_REMEMBERED_BYTES
    long = b"/v2/models/%b/infer" % (b"m" * MAX_HEAD_BYTES)
    noted(heads, LINES.replace(URL, long) + b"body", head_of(heads, long))
    assert heads.recall(LINES.replace(URL, long) + b"body") is None
