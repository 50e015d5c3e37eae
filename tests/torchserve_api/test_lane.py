"""Predictions that go the short way, and that they are answered as those that do not."""

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.rest.body import BodyReader
from kserve_v2.torchserve_api.app import Rules
from kserve_v2.torchserve_api.counters import Counters
from kserve_v2.torchserve_api.lane import PredictionHeads
from kserve_v2.torchserve_api.routes import Api
from tests.torchserve_api.conftest import Server

HOST = (b"Host", b"here")


class _AllModels:
    """Every model answers once, but those called `parts`."""

    def answer_once(self, name: str, version: str) -> bool:
        return name != "parts"


def heads() -> PredictionHeads:
    rules = Rules(BodyReader(1000, InflightBytes(10**6)), Counters())
    return PredictionHeads([Api.MANAGEMENT, Api.INFERENCE], rules, _AllModels(), 1000)  # type: ignore[arg-type]


def length(size: int) -> tuple[bytes, bytes]:
    return b"Content-Length", str(size).encode()


def test_what_a_head_says() -> None:
    headers = [
        HOST,
        length(3),
        (b"X-User", b"first"),
        (b"X-User", b"Me"),
        (b"Content-Type", b"text/plain; a=b"),
    ]
    head = heads().read(b"/predictions/a%20b/1.0/more/still?x=1", headers, keep_alive=True)
    assert head is not None
    assert (head.model_name, head.version, head.body_bytes) == ("a b", "1.0", 3)
    assert head.content_type == "text/plain; a=b"
    assert head.told == {
        "Host": "here",
        "Content-Length": "3",
        "X-User": "Me",
        "Content-Type": "text/plain; a=b",
        "url_path": "more/still",
        "explain": "False",
    }


@pytest.mark.parametrize(
    ("target", "headers", "keep_alive"),
    [
        (b"/explanations/m", [length(1)], True),
        (b"/invocations?model_name=m", [length(1)], True),
        (b"/wfpredict/m", [length(1)], True),
        (b"/models", [length(1)], True),
        (b"/nosuch", [length(1)], True),
        (b"/predictions/parts", [length(1)], True),
        (b"/predictions/m", [length(1)], False),
        (b"/predictions/m", [], True),
        (b"/predictions/m", [length(1001)], True),
        (b"/predictions/m", [(b"Transfer-Encoding", b"chunked")], True),
        (b"/predictions/m", [length(1), (b"Expect", b"100-continue")], True),
        (b"/predictions/m", [length(1), (b"content-type", b"Multipart/Form-Data; boundary=x")], True),
        (b"/predictions/m", [length(1), (b"Content-Type", b"application/x-www-form-urlencoded")], True),
    ],
)
def test_what_goes_the_other_way(target: bytes, headers: list[tuple[bytes, bytes]], keep_alive: bool) -> None:
    assert heads().read(b"/predictions/m", [HOST, length(1)], keep_alive=True) is not None
    assert heads().read(target, [HOST, *headers], keep_alive=keep_alive) is None


def test_heads_that_differ_in_their_spelling_are_two() -> None:
    read = heads()
    for spelt in (b"X-User", b"x-user") * 3:
        data = b"POST /predictions/m HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n%b: u\r\n\r\nx" % spelt
        headers = [(b"Host", b"h"), length(1), (spelt, b"u")]
        found = read.recall(data)
        head = read.read(b"/predictions/m", headers, keep_alive=True) if found is None else found[0]
        assert head is not None
        read.note(data, head)
    found = read.recall(data)
    assert found is not None
    assert found[0].told["x-user"] == "u"  # type: ignore[attr-defined]
    assert found[1] == b"x"


# --- on real sockets --------------------------------------------------------------------------------------------------


@pytest.fixture
def connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    """Sends head and body in one piece, so that heads recur."""
    host = urlsplit(server.running.urls["TorchServe inference"])
    connection = http.client.HTTPConnection(str(host.hostname), host.port, timeout=30)
    connection.connect()
    yield connection
    connection.close()


def ask(
    connection: http.client.HTTPConnection, path: str, body: bytes, *, in_chunks: bool = False
) -> tuple[int, dict[str, str], bytes]:
    if in_chunks:
        framing, sent = b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        framing, sent = b"Content-Length: %d" % len(body), body
    head = b"POST %b HTTP/1.1\r\nHost: h\r\nX-User: Me\r\n%b\r\n\r\n" % (path.encode(), framing)
    connection.send(head + sent)
    answer = http.client.HTTPResponse(connection.sock, method="POST")
    answer.begin()
    read = answer.read()
    headers = dict(answer.getheaders())
    assert len(headers.pop("x-request-id")) == 36
    return answer.status, headers, read


@pytest.mark.slow
@pytest.mark.parametrize(
    "word", [b"plain", b"headers", b"header", b"status", b"raise", b"refuse", b"no list"]
)
def test_both_ways_answer_alike(connection: http.client.HTTPConnection, word: bytes) -> None:
    expected = ask(connection, "/predictions/lab/1.0/rest", word, in_chunks=True)
    for _ in range(4):
        if expected[1]["connection"] == "close":
            # The server has closed it, and answers the same on another one.
            assert connection.sock.recv(1) == b""
            connection.close()
            connection.connect()
        assert ask(connection, "/predictions/lab/1.0/rest", word) == expected
    if word == b"headers":
        assert json.loads(expected[2]) == {
            "X-User": "Me",
            "x-user": None,
            "url_path": "rest",
            "explain": "False",
        }


@pytest.mark.slow
def test_ids_differ(connection: http.client.HTTPConnection) -> None:
    ids = [ask(connection, "/predictions/lab", b"id")[2] for _ in range(4)]
    assert len(set(ids)) == 4


@pytest.mark.slow
def test_a_model_that_goes_away_is_not_remembered(
    server: Server, connection: http.client.HTTPConnection
) -> None:
    """Its requests have recurred; then it has no workers, and then it is unknown."""
    register = "/models?url=echo.mar&model_name=guest&initial_workers=1&synchronous=true"
    assert server.management.post(register).status_code == 200
    for _ in range(4):
        assert ask(connection, "/predictions/guest", b"x")[0] == 200
    assert (
        server.management.put("/models/guest?min_worker=0&max_worker=0&synchronous=true").status_code == 200
    )
    assert ask(connection, "/predictions/guest", b"x")[0] == 503
    connection.close()
    connection.connect()
    assert server.management.delete("/models/guest").status_code == 200
    assert ask(connection, "/predictions/guest", b"x")[0] == 404
