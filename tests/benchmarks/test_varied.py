"""The traffic that varies does vary, and is the same in every run."""

import json

import pytest

from benchmarks.load import varied
from benchmarks.load.builtin import from_json, to_json
from benchmarks.load.exchange import RestExchange, VariedRest


@pytest.mark.parametrize(
    ("kind", "least"), [("traced", varied.DISTINCT), ("tokens", 1000), ("deadlines", 19_900)]
)
def test_every_request_has_something_of_its_own(kind: str, least: int) -> None:
    headers = varied.headers_of(kind)
    assert len(headers) == varied.DISTINCT
    assert len({tuple(each.items()) for each in headers}) >= min(least, varied.DISTINCT)
    assert [next(fresh) for fresh in [varied.KINDS[kind]()] for _ in range(3)] == list(headers[:3])


def test_identical_requests_have_not() -> None:
    assert varied.headers_of("identical") == ({},)


def test_tokens_are_as_long_as_a_users() -> None:
    first, *_, last = varied.headers_of("tokens")[: varied.TOKEN_REQUESTS + 1]
    assert first != last
    assert len(first["authorization"]) == len("Bearer ") + varied.TOKEN_BYTES


def messages() -> list[RestExchange]:
    return [
        RestExchange("http://h:1/v2/models/m/infer", body, {"content-type": "application/json"}, answer)
        for body, answer in ((b"1", b"one"), (b"22", b"two"), (b"333", b"three"))
    ]


def test_messages_are_sent_in_turn_each_with_headers_of_its_own() -> None:
    traffic = VariedRest.of(messages(), "traced")
    assert len(traffic.requests) == varied.DISTINCT
    assert len({each.wire for each in traffic.requests}) == varied.DISTINCT
    assert [each.answer for each in traffic.requests[:4]] == [b"one", b"two", b"three", b"one"]
    first = traffic.requests[0].wire.partition(b"\r\n\r\n")[0].split(b"\r\n")
    own = [f"{name}: {value}".encode() for name, value in varied.headers_of("traced")[0].items()]
    assert first == [
        b"POST /v2/models/m/infer HTTP/1.1", b"Host: h:1", b"content-type: application/json", *own, b"Content-Length: 1"
    ]  # fmt: skip


def test_messages_without_headers_of_their_own() -> None:
    assert list(VariedRest.of(messages(), "identical").requests) == messages()


def test_traffic_reaches_the_process_that_sends_it() -> None:
    traffic = VariedRest.of(messages(), "tokens")
    assert from_json(json.loads(json.dumps(to_json(traffic)))) == traffic
