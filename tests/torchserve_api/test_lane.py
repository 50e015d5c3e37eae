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
from kserve_v2.torchserve_api.lane import PredictionHead, PredictionHeads
from kserve_v2.torchserve_api.routes import Api
from kserve_v2.tracing.config import TraceConfig
from kserve_v2.tracing.tracer import Tracer
from tests.torchserve_api.conftest import Server

HOST = (b"Host", b"here")


def heads() -> PredictionHeads:
    rules = Rules(BodyReader(1000, InflightBytes(10**6)), Counters(), Tracer(TraceConfig()))
    return PredictionHeads([Api.MANAGEMENT, Api.INFERENCE], rules, 1000)


def lines(target: bytes, *headers: tuple[bytes, bytes]) -> bytes:
    fields = b"".join(b"%b: %b\r\n" % each for each in (HOST, *headers))
    return b"POST %b HTTP/1.1\r\n%b\r\n" % (target, fields)


def length(size: int) -> tuple[bytes, bytes]:
    return b"Content-Length", str(size).encode()


def test_what_a_head_says() -> None:
    headers = [
        length(3),
        (b"X-User", b"first"),
        (b"X-User", b"Me"),
        (b"Content-Type", b"text/plain; a=b"),
    ]
    head = heads().read(lines(b"/predictions/a%20b/1.0/more/still?x=1", *headers))
    assert isinstance(head, PredictionHead)
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
    ("target", "headers"),
    [
        (b"/explanations/m", [length(1)]),
        (b"/invocations?model_name=m", [length(1)]),
        (b"/wfpredict/m", [length(1)]),
        (b"/models", [length(1)]),
        (b"/nosuch", [length(1)]),
        (b"/predictions/m", [length(1), (b"Connection", b"close")]),
        (b"/predictions/m", []),
        (b"/predictions/m", [length(1001)]),
        (b"/predictions/m", [(b"Transfer-Encoding", b"chunked")]),
        (b"/predictions/m", [length(1), (b"Expect", b"100-continue")]),
        (b"/predictions/m", [length(1), (b"content-type", b"Multipart/Form-Data; boundary=x")]),
        (b"/predictions/m", [length(1), (b"Content-Type", b"application/x-www-form-urlencoded")]),
    ],
)
def test_what_goes_the_other_way(target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    assert heads().read(lines(b"/predictions/m", length(1))) is not None
    assert heads().read(lines(target, *headers)) is None


def test_handlers_find_headers_as_they_are_spelt() -> None:
    read = heads()
    for spelt in (b"X-User", b"x-user") * 3:
        head = read.read(lines(b"/predictions/m", length(1), (spelt, b"u")))
        assert isinstance(head, PredictionHead)
        assert head.told[spelt.decode()] == "u"


# --- on real sockets --------------------------------------------------------------------------------------------------


@pytest.fixture
def connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    """Sends head and body in one piece, so that heads recur."""
    host = urlsplit(server.running.urls["TorchServe inference"])
    connection = http.client.HTTPConnection(str(host.hostname), host.port, timeout=60)
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
