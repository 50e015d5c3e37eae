"""From bytes to frames, however they are cut."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.http2 import frames, headers
from kserve_v2.http2.errors import ErrorCode
from kserve_v2.http2.frames import Kind
from kserve_v2.http2.limits import Http2Limits
from tests.http2.peer import POST, Client, Frame, body_of, frame, request

BLOCK = headers.encode(POST)


def padded(data: bytes, padding: int) -> bytes:
    """The payload of a padded frame."""
    return bytes([padding]) + data + bytes(padding)


# Everything that can be cut: a header block in parts, data with and without padding, a frame of an unknown type.
CONVERSATION = b"".join(
    [
        frames.PREFACE,
        frame(Kind.SETTINGS, 0, b"\0\4\0\1\0\0"),
        frame(Kind.HEADERS, 1, BLOCK[:5]),
        frame(Kind.CONTINUATION, 1, BLOCK[5:9]),
        frame(Kind.CONTINUATION, 1, BLOCK[9:], frames.END_HEADERS),
        frame(Kind.DATA, 1, b"one "),
        frame(0xFA, 3, b"whatever"),
        frame(Kind.DATA, 1, padded(b"two ", 3), frames.PADDED),
        frame(Kind.DATA, 1, padded(b"", 7), frames.PADDED),
        frame(Kind.PRIORITY, 9, bytes(5)),
        frame(Kind.DATA, 1, padded(b"three", 200), frames.PADDED | frames.END_STREAM),
        frame(Kind.PING, 0, b"12345678"),
    ]
)


def heard(parts: list[bytes]) -> list[Frame]:
    """What is answered to the conversation in these parts."""
    client = Client(greet=False)
    return [each for part in parts for each in client.send(part)]


EXPECTED = heard([CONVERSATION])


def test_the_conversation_as_a_whole() -> None:
    assert body_of(EXPECTED, 1) == b"one two three"
    assert [each.kind for each in EXPECTED] == [
        Kind.SETTINGS, Kind.HEADERS, Kind.DATA, Kind.HEADERS, Kind.PING,
    ]  # fmt: skip


def test_byte_by_byte() -> None:
    assert heard([bytes([byte]) for byte in CONVERSATION]) == EXPECTED


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=10).map(sorted))
def test_however_it_is_cut(cuts: list[int]) -> None:
    places = [0, *cuts, len(CONVERSATION)]
    assert heard([CONVERSATION[start:end] for start, end in pairwise(places)]) == EXPECTED


def test_data_is_handed_on_before_its_frame_is_whole() -> None:
    client = Client(hold=True)
    client.send(request(1, POST, ends=False))
    whole = frame(Kind.DATA, 1, bytes(100_000), frames.END_STREAM)
    client.send(whole[:50_000])
    assert len(client.seen[1].body) == 50_000 - frames.HEADER_BYTES
    assert client.connection.reader.incomplete
    client.send(whole[50_000:])
    assert client.seen[1].ended
    assert not client.connection.reader.incomplete


def test_the_end_of_a_stream_comes_with_the_last_byte_of_its_data() -> None:
    client = Client(hold=True)
    client.send(request(1, POST, ends=False))
    whole = frame(Kind.DATA, 1, padded(b"abc", 4), frames.END_STREAM | frames.PADDED)
    for byte in whole[:-5]:
        client.send(bytes([byte]))
        assert not client.seen[1].ended
    client.send(whole[-5:-4])
    assert client.seen[1].ended
    client.send(whole[-4:] + frame(Kind.PING, 0, b"12345678"))
    assert client.connection.failure is None


# --- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nXX", b"\0", b"PRI * HTTP/1"])
def test_what_is_no_client_of_http_2(data: bytes) -> None:
    code, message = Client(greet=False).failure(data)
    assert (code, message) == (ErrorCode.PROTOCOL_ERROR, "not a client of HTTP/2")


@pytest.mark.parametrize("first", [frame(Kind.PING, 0, bytes(8)), frames.SETTINGS_ACK, request(1)])
def test_the_first_frame_is_settings(first: bytes) -> None:
    assert Client(greet=False).failure(frames.PREFACE + first)[1] == "the first frame is not SETTINGS"


@pytest.mark.parametrize(
    "data",
    [
        frame(Kind.DATA, 1, b"\3ab", frames.PADDED),
        frame(Kind.DATA, 1, b"", frames.PADDED),
        frame(Kind.HEADERS, 3, b"\3ab", frames.PADDED | frames.END_HEADERS),
    ],
)
def test_padding_that_is_longer_than_its_frame(data: bytes) -> None:
    client = Client()
    client.send(request(1, POST, ends=False))
    assert client.failure(data)[0] is ErrorCode.PROTOCOL_ERROR


def test_a_frame_amid_a_header_block() -> None:
    started = frame(Kind.HEADERS, 1, BLOCK[:5])
    for other in (frame(Kind.PING, 0, bytes(8)), request(3), frame(0xFA, 0)):
        assert Client().failure(started + other)[1] == "a frame amid a header block"


@pytest.mark.parametrize("before", [b"", request(1, POST, ends=False), frame(Kind.HEADERS, 3, BLOCK[:5])])
def test_continuation_of_nothing(before: bytes) -> None:
    code, _ = Client().failure(before + frame(Kind.CONTINUATION, 1, b"", frames.END_HEADERS))
    assert code is ErrorCode.PROTOCOL_ERROR


def test_a_frame_that_is_too_large_is_refused_when_its_head_is_there() -> None:
    limits = Http2Limits(max_frame_bytes=20_000)
    client = Client(limits)
    client.send(request(1, POST, ends=False) + frame(Kind.DATA, 1, bytes(20_000)))
    code, _ = client.failure(frames.HEAD.pack(20_001 << 8, 0, 1))
    assert code is ErrorCode.FRAME_SIZE_ERROR


WRONG_SIZES = {
    "ping": frame(Kind.PING, 0, bytes(7)),
    "reset": frame(Kind.RST_STREAM, 1, bytes(5)),
    "window-update": frame(Kind.WINDOW_UPDATE, 0, bytes(3)),
    "settings": frame(Kind.SETTINGS, 0, bytes(5)),
    "settings-ack": frame(Kind.SETTINGS, 0, bytes(6), frames.ACK),
    "goaway": frame(Kind.GOAWAY, 0, bytes(7)),
}


@pytest.mark.parametrize("name", WRONG_SIZES)
def test_frames_of_a_wrong_size(name: str) -> None:
    client = Client(hold=True)
    client.send(request(1))
    assert client.failure(WRONG_SIZES[name])[0] is ErrorCode.FRAME_SIZE_ERROR


def test_priority_of_a_wrong_size_concerns_its_stream_alone() -> None:
    client = Client(hold=True)
    client.send(request(1) + frame(Kind.PRIORITY, 1, bytes(4)))
    assert client.seen[1].was_lost
    assert client.connection.failure is None


WRONG_STREAMS = {
    "settings": frame(Kind.SETTINGS, 1),
    "ping": frame(Kind.PING, 1, bytes(8)),
    "goaway": frame(Kind.GOAWAY, 1, bytes(8)),
    "priority": frame(Kind.PRIORITY, 0, bytes(5)),
    "reset": frame(Kind.RST_STREAM, 0, bytes(4)),
    "data": frame(Kind.DATA, 0, b"x"),
    "push": frame(Kind.PUSH_PROMISE, 1, bytes(4), frames.END_HEADERS),
}


@pytest.mark.parametrize("name", WRONG_STREAMS)
def test_frames_where_they_do_not_belong(name: str) -> None:
    client = Client(hold=True)
    client.send(request(1))
    assert client.failure(WRONG_STREAMS[name])[0] is ErrorCode.PROTOCOL_ERROR
