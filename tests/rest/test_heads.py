"""Heads that are recognised by their bytes say what the parser has found in them."""

import pytest

from kserve_v2.read_in_place import LARGE_BYTES
from kserve_v2.rest.heads import MAX_HEAD_BYTES, MAX_REMEMBERED, InferHead, InferHeads

LINES = b"POST /v2/models/m/versions/3/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
HEADERS = [(b"host", b"x"), (b"content-length", b"4")]
URL = b"/v2/models/m/versions/3/infer"


def head_of(heads: InferHeads, url: bytes = URL, keep_alive: bool = True) -> InferHead:
    head = heads.read(url, HEADERS, keep_alive=keep_alive)
    assert head is not None
    return head


def test_a_head_is_read_once() -> None:
    heads = InferHeads(100)
    head = head_of(heads)
    assert (head.model_name, head.version, head.body_bytes) == ("m", "3", 4)
    assert head.headers == {b"content-length": b"4"}
    assert head_of(heads) is head
    assert head_of(heads, keep_alive=False) is not head
    assert head_of(heads, url=b"/v2/models/n/infer").model_name == "n"


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
    head = head_of(heads)
    heads.note(LINES + b"body", head)
    assert heads.recall(LINES + b"BODY") == (head, b"BODY")


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
    heads.note(LINES + b"body", head_of(heads))
    assert heads.recall(data) is None


def test_a_large_request_is_recognised_by_its_first_part() -> None:
    heads = InferHeads(2 * LARGE_BYTES)
    size = b"%d" % (LARGE_BYTES + 4)
    head = heads.read(URL, [(b"content-length", size)], keep_alive=True)
    assert head is not None
    lines = LINES.replace(b": 4", b": " + size)
    heads.note(lines + b"body", head)
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
        heads.note(data, head)
        assert heads.recall(data) is None
        assert heads.recall(LINES + b"body") is None


def test_the_last_request_of_a_connection_is_not_noted() -> None:
    heads = InferHeads(100)
    heads.note(LINES + b"body", head_of(heads, keep_alive=False))
    assert heads.recall(LINES + b"body") is None


def test_what_is_remembered_is_bounded() -> None:
    heads = InferHeads(100)
    for number in range(3 * MAX_REMEMBERED):
        url = b"/v2/models/m%d/infer" % number
        heads.note(LINES.replace(URL, url) + b"body", head_of(heads, url))
    assert len(heads._read) <= MAX_REMEMBERED
    assert len(heads._known) <= MAX_REMEMBERED
    long = b"/v2/models/%b/infer" % (b"m" * MAX_HEAD_BYTES)
    heads.note(LINES.replace(URL, long) + b"body", head_of(heads, long))
    assert heads.recall(LINES.replace(URL, long) + b"body") is None
    assert (long, True, *HEADERS) not in heads._read
