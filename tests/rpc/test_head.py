"""What header fields mean to gRPC: heads, timeouts, metadata."""

from typing import Any

import pytest
from hpack import Decoder

from kserve_v2.rpc.calls import Direct
from kserve_v2.rpc.transport.head import HeadReader
from kserve_v2.rpc.transport.metadata import call_metadata, headers, parse_timeout, trailers, trailers_only

RPC = Direct("/a.B/C", lambda data, context: (data,), lambda data: None)
READER = HeadReader({b"/a.B/C": RPC}, 1000, "low")
GOOD = {
    b":method": b"POST", b":scheme": b"http", b":path": b"/a.B/C", b":authority": b"x",
    b"content-type": b"application/grpc", b"te": b"trailers",
}  # fmt: skip


def fields_of(block: bytes) -> dict[str, str]:
    """A header block as a client reads it."""
    return dict(Decoder().decode(block))


def read(**changes: bytes | None) -> Any:
    """The head with some fields changed, or left out; underscores are dashes, `P` a colon."""
    fields = dict(GOOD)
    for name, value in changes.items():
        key = name.replace("P", ":").replace("_", "-").encode()
        if value is None:
            del fields[key]
        else:
            fields[key] = value
    return READER.read(list(fields.items()), sum(len(name + value) + 32 for name, value in fields.items()))


def test_a_call() -> None:
    head = read(grpc_timeout=b"5S", grpc_encoding=b"gzip", grpc_accept_encoding=b"deflate", x_a=b"b")
    assert (head.terms.rpc, head.terms.refusal, head.terms.encoding) == (RPC, b"", b"gzip")
    assert head.timeout_s == 5.0
    assert head.metadata == (("x-a", "b"),)
    assert fields_of(head.terms.answer_headers)["grpc-encoding"] == "deflate"
    assert "grpc-encoding" not in fields_of(read().terms.answer_headers)


@pytest.mark.parametrize(
    "content_type", [b"application/grpc", b"application/grpc+proto", b"application/grpc;x=y"]
)
def test_content_types_of_calls(content_type: bytes) -> None:
    assert read(content_type=content_type).terms.rpc is RPC


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "get": ({"Pmethod": b"GET"}, {":status": "405", "allow": "POST"}),
    "no-content-type": ({"content_type": None}, {":status": "415"}),
    "web": ({"content_type": b"application/grpc-web"}, {":status": "415"}),
    "json": ({"content_type": b"application/json"}, {":status": "415"}),
    "unknown": ({"Ppath": b"/a.B/D"}, {":status": "200", "grpc-status": "12"}),
    "no-text": ({"Ppath": b"/a.B/\xff"}, {":status": "200", "grpc-status": "12"}),
    "encoding": (
        {"grpc_encoding": b"br"},
        {"grpc-status": "12", "grpc-accept-encoding": "identity,deflate,gzip"},
    ),
    "timeout": ({"grpc_timeout": b"5 s"}, {"grpc-status": "3", "grpc-message": "grpc-timeout is malformed"}),
    "large": ({"x": b"x" * 1000}, {"grpc-status": "8"}),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    changes, expected = REFUSALS[name]
    head = read(**changes)
    assert head.terms.rpc is None
    assert expected.items() <= fields_of(head.terms.refusal).items()


@pytest.mark.parametrize("count", range(4, 9))
@pytest.mark.parametrize(
    "more",
    [
        [(b"x-a", b"b")],
        [(b"grpc-timeout", b"5S")],
        [(b"grpc-timeout", b"5 s")],
        [(b"grpc-timeout", b"5 s"), (b"grpc-timeout", b"5S")],
        [(b"grpc-timeout", b"5S"), (b"content-type", b"application/json")],
        [(b"content-type", b"application/grpc")],
        [(b"grpc-encoding", b"br")],
        [(b"grpc-encoding", b"gzip"), (b"grpc-accept-encoding", b"gzip")],
        [(b"x", b"x" * 1000)],
    ],
)
def test_that_the_beginning_is_known_changes_nothing(count: int, more: list[tuple[bytes, bytes]]) -> None:
    def meaning(fields: list[tuple[bytes, bytes]], *begun: Any) -> tuple[object, ...]:
        head = READER.read(fields, sum(len(name + value) + 32 for name, value in fields), *begun)
        return head.terms, head.timeout_s, head.metadata

    fields = [*GOOD.items(), (b"grpc-timeout", b"7S"), (b"x-b", b"c"), *more]
    begun = READER.read(fields[:count], 0)
    assert meaning(fields, begun, count) == meaning(fields)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9), (b"0n", 0),
        (b"99999999H", 99999999 * 3600), (b"100000000S", None), (b"5", None), (b"S", None), (b"", None),
        (b"-1S", None), (b"1.5S", None), (b"1s", None), (b"\xb2S", None),
    ],
)  # fmt: skip
def test_timeouts(text: bytes, seconds: float | None) -> None:
    assert parse_timeout(text) == (None if seconds is None else pytest.approx(seconds))


def test_metadata() -> None:
    fields = [
        (b":path", b"/"), (b"content-type", b"x"), (b"te", b"trailers"), (b"grpc-timeout", b"1S"), (b"a", b"1"), (b"a", b"2"),
        (b"b-bin", b"AP8"), (b"c-bin", b"AP8=,,AA=="), (b"d-bin", b"!"), (b"user-agent", b"me"),
    ]  # fmt: skip
    assert call_metadata(fields) == (
        ("a", "1"), ("a", "2"), ("b-bin", b"\0\xff"), ("c-bin", b"\0\xff"), ("c-bin", b""), ("c-bin", b"\0"),
        ("user-agent", "me"),
    )  # fmt: skip


def test_statuses() -> None:
    assert fields_of(trailers(5, "50% ŝ")) == {"grpc-status": "5", "grpc-message": "50%25 %C5%9D"}
    assert fields_of(trailers_only(12, "")) == {
        ":status": "200", "content-type": "application/grpc", "grpc-status": "12",
    }  # fmt: skip
    assert fields_of(headers(b"gzip"))["grpc-encoding"] == "gzip"
