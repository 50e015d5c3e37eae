"""Requests that come whole are answered without a stream, and nobody can tell."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.http2 import frames
from kserve_v2.http2.errors import ErrorCode
from kserve_v2.http2.frames import Kind
from kserve_v2.http2.limits import Http2Limits
from tests.http2.peer import GET, POST, Client, Frame, body_of, frame, request, resets

HEAD_BYTES = len(request(1, POST, ends=False))
OTHER = [*POST, (b"x", b"y")]
UPDATE = b"\0\0\0\x09"


def whole(stream_id: int, body: bytes = b"body", *, update: bool = False) -> bytes:
    """A request as clients send it, the way of grpcio with `update`."""
    widened = frame(Kind.WINDOW_UPDATE, stream_id, UPDATE) if update else b""
    return (
        request(stream_id, POST, ends=False) + widened + frame(Kind.DATA, stream_id, body, frames.END_STREAM)
    )


def acquainted(limits: Http2Limits | None = None, *, hold: bool = False) -> Client:
    """A client that has asked on stream 1 already."""
    client = Client(limits, hold=hold, direct=True)
    client.send(whole(1))
    client.responded.clear()
    return client


def test_the_first_request_is_answered_without_a_stream() -> None:
    client = Client(direct=True)
    assert body_of(client.send(whole(1)), 1) == b"body"
    assert client.responded == [1]


def test_another_head_is_no_reason_for_a_stream() -> None:
    client = acquainted()
    sent = client.send(request(3, OTHER, ends=False) + frame(Kind.DATA, 3, b"body", frames.END_STREAM))
    assert body_of(sent, 3) == b"body"
    assert client.responded == [3]


def test_a_head_that_is_malformed() -> None:
    """The stream is over before its body comes."""
    client = acquainted()
    malformed = request(3, [*POST, (b"te", b"gzip")], ends=False)
    sent = client.send(malformed + frame(Kind.DATA, 3, b"body", frames.END_STREAM) + whole(5))
    assert resets(sent) == {3: ErrorCode.PROTOCOL_ERROR}
    assert client.responded == [5]


@pytest.mark.parametrize("update", [False, True])
@pytest.mark.parametrize("size", [0, 1, 16_384])
def test_a_request_is_answered_without_a_stream(update: bool, size: int) -> None:
    client = acquainted()
    sent = client.send(whole(3, bytes(size), update=update))
    assert [each.kind for each in sent] == [Kind.HEADERS, Kind.DATA, Kind.HEADERS]
    assert [each.flags for each in sent] == [frames.END_HEADERS, 0, frames.END_HEADERS | frames.END_STREAM]
    assert body_of(sent, 3) == bytes(size)
    assert client.responded == [3]
    assert client.connection.table.last_id == 3
    assert client.connection.streams == {}


def test_several_in_one_read() -> None:
    client = acquainted()
    sent = client.send(b"".join(whole(stream_id, b"%d" % stream_id) for stream_id in (3, 5, 7)))
    assert [body_of(sent, stream_id) for stream_id in (3, 5, 7)] == [b"3", b"5", b"7"]
    assert client.responded == [3, 5, 7]


NOT_WHOLE = {
    "padded-head": frame(Kind.HEADERS, 3, b"\0" + request(1, POST)[9:], frames.END_HEADERS | frames.PADDED) + frame(Kind.DATA, 3, b"body", frames.END_STREAM),
    "padded-data": request(3, POST, ends=False) + frame(Kind.DATA, 3, b"\0body", frames.END_STREAM | frames.PADDED),
    "two-frames": request(3, POST, ends=False) + frame(Kind.DATA, 3, b"bo") + frame(Kind.DATA, 3, b"dy", frames.END_STREAM),
    "trailers": request(3, POST, ends=False) + frame(Kind.DATA, 3, b"body") + frame(Kind.HEADERS, 3, b"", frames.END_HEADERS | frames.END_STREAM),
    "ping-between": request(3, POST, ends=False) + frame(Kind.PING, 0, bytes(8)) + frame(Kind.DATA, 3, b"body", frames.END_STREAM),
    "two-updates": request(3, POST, ends=False) + frame(Kind.WINDOW_UPDATE, 3, UPDATE) * 2 + frame(Kind.DATA, 3, b"body", frames.END_STREAM),
    "update-of-the-connection": request(3, POST, ends=False) + frame(Kind.WINDOW_UPDATE, 0, UPDATE) + frame(Kind.DATA, 3, b"body", frames.END_STREAM),
    "data-of-another": request(3, POST, ends=False) + request(5, GET, ends=False) + frame(Kind.DATA, 5, b"", frames.END_STREAM) + frame(Kind.DATA, 3, b"body", frames.END_STREAM),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_WHOLE)
def test_what_is_not_taken_together(name: str) -> None:
    client = acquainted()
    assert body_of(client.send(NOT_WHOLE[name]), 3) == b"body"
    assert 3 not in client.responded


def test_no_body() -> None:
    client = acquainted()
    assert body_of(client.send(request(3, POST)), 3) == b""
    assert client.responded == []


def test_the_end_of_a_read_cuts_it() -> None:
    data = whole(3, update=True)
    for place in range(1, len(data)):
        client = acquainted()
        assert body_of(client.send(data[:place]) + client.send(data[place:]), 3) == b"body"
        # What is left of a header block waits for the next read, and is complete then.
        assert client.responded == ([3] if place < HEAD_BYTES else [])


# --- the rules are those of any request -------------------------------------------------------------------------


@pytest.mark.parametrize("stream_id", [2, 4])
def test_streams_are_odd(stream_id: int) -> None:
    assert acquainted().failure(whole(stream_id))[0] is ErrorCode.PROTOCOL_ERROR


def test_streams_are_opened_in_order() -> None:
    client = acquainted()
    client.send(whole(7))
    assert client.responded == [7]
    assert client.failure(whole(5))[0] is ErrorCode.STREAM_CLOSED


def test_a_stream_is_opened_once() -> None:
    client = acquainted()
    client.send(whole(3))
    assert client.failure(whole(3))[0] is ErrorCode.STREAM_CLOSED


def test_data_behind_the_end() -> None:
    client = acquainted()
    client.send(whole(3))
    sent = client.send(frame(Kind.DATA, 3, b"more"))
    assert resets(sent) == {3: ErrorCode.STREAM_CLOSED}


def test_after_the_last_goaway() -> None:
    client = acquainted()
    client.connection.goaway()
    client.take()
    assert client.send(whole(3)) == []


def test_too_many_streams() -> None:
    client = acquainted(Http2Limits(max_concurrent_streams=1), hold=True)
    assert resets(client.send(whole(3))) == {3: ErrorCode.REFUSED_STREAM}


def test_a_body_larger_than_the_window_of_its_stream() -> None:
    client = acquainted(Http2Limits(stream_window_bytes=100))
    assert resets(client.send(whole(3, bytes(101)))) == {3: ErrorCode.FLOW_CONTROL_ERROR}
    assert client.responded == []


@pytest.mark.parametrize("increment", [bytes(4), b"\x80\0\0\0", b"\x7f\xff\xff\xff"])
def test_a_window_update_that_is_wrong(increment: bytes) -> None:
    client = acquainted()
    body = frame(Kind.DATA, 3, b"body", frames.END_STREAM)
    sent = client.send(
        request(3, POST, ends=False) + frame(Kind.WINDOW_UPDATE, 3, increment) + body + whole(5, b"next")
    )
    assert list(resets(sent)) == [3]
    assert body_of(sent, 5) == b"next"
    assert client.responded == [5]


# --- when the answer cannot be sent at once ---------------------------------------------------------------------


def settings_frame(identifier: int, value: int) -> bytes:
    """The client changes a setting."""
    return frame(Kind.SETTINGS, 0, identifier.to_bytes(2, "big") + value.to_bytes(4, "big"))


def test_the_window_of_the_stream_is_too_small() -> None:
    client = acquainted()
    client.send(settings_frame(4, 10))
    # The update that came with the request is not forgotten.
    assert (
        body_of(client.send(whole(3, b"0123456789abcdefghijklm", update=True)), 3) == b"0123456789abcdefghi"
    )
    assert client.responded == []
    assert body_of(client.send(frame(Kind.WINDOW_UPDATE, 3, UPDATE)), 3) == b"jklm"
    assert client.connection.streams == {}


def test_the_window_of_the_connection_is_too_small() -> None:
    client = acquainted()
    client.connection.output.window = 3
    assert body_of(client.send(whole(3, b"0123")), 3) == b"012"
    assert body_of(client.send(frame(Kind.WINDOW_UPDATE, 0, UPDATE)), 3) == b"3"


def test_the_socket_is_full() -> None:
    client = acquainted()
    client.connection.output.paused = True
    assert body_of(client.send(whole(3)), 3) == b""
    client.connection.output.paused = False
    client.connection.output.pump()
    assert body_of(client.take(), 3) == b"body"


def test_the_client_gives_its_table_up() -> None:
    """The next header block has to say so, whichever way it goes."""
    client = acquainted()
    client.send(settings_frame(1, 0))
    answer = client.send(whole(3))
    assert answer[0].payload[:1] == b"\x20"
    assert client.responded == []
    assert client.send(whole(5))[0].payload[:1] != b"\x20"
    assert client.responded == [5]


def test_an_answer_that_comes_later() -> None:
    client = acquainted(hold=True)
    assert client.send(whole(3, update=True)) == []
    stream = client.seen[3]
    assert stream.send_window == frames.DEFAULT_WINDOW_BYTES + 9
    stream.answer()
    assert body_of(client.take(), 3) == b"body"


def test_a_client_gives_up_what_it_has_asked_for_whole() -> None:
    client = acquainted(hold=True)
    client.send(whole(3) + frame(Kind.RST_STREAM, 3, bytes(4)))
    assert client.seen[3].was_lost


# --- with and without ---------------------------------------------------------------------------------------------


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Requests of any kind, one after the other, some of them at once."""
    data = b""
    for number in range(draw(st.integers(1, 6))):
        stream_id = 3 + 2 * number
        body = bytes([number]) * draw(st.sampled_from([0, 1, 50, 300]))
        data += draw(
            st.sampled_from(
                [
                    whole(stream_id, body),
                    whole(stream_id, body, update=True),
                    request(stream_id, POST),
                    request(stream_id, POST, ends=False) + frame(Kind.DATA, stream_id, body) + frame(Kind.DATA, stream_id, b"", 1),
                    request(stream_id, OTHER, ends=False) + frame(Kind.DATA, stream_id, body, 1),
                    request(stream_id, POST, ends=False) + frame(Kind.WINDOW_UPDATE, stream_id, draw(st.sampled_from([bytes(4), b"\x7f\xff\xff\xff"]))) + frame(Kind.DATA, stream_id, body, 1),
                    frame(Kind.WINDOW_UPDATE, 0, b"\0\0\1\0"),
                    settings_frame(4, 100),
                ]
            )
        )  # fmt: skip
    return data


def merged(sent: list[Frame]) -> list[Frame]:
    """The same with adjacent DATA frames of a stream as one: how a body is cut is left to the sender."""
    found: list[Frame] = []
    for each in sent:
        if found and each.kind == Kind.DATA and found[-1][:3] == each[:3]:
            found[-1] = each._replace(payload=found[-1].payload + each.payload)
        else:
            found.append(each)
    return found


@pytest.mark.slow
@settings(deadline=None)
@given(conversations(), st.lists(st.integers(0, 2000), max_size=4), st.booleans())
def test_the_same_is_sent_either_way(data: bytes, cuts: list[int], small: bool) -> None:
    def heard(direct: bool) -> tuple[list[Frame], int, int, list[int]]:
        client = Client(direct=direct, at_once=True)
        client.send(whole(1))
        if small:
            client.connection.output.window = 200
        places = sorted({0, len(data), *(place for place in cuts if place < len(data))})
        sent = [each for start, end in pairwise(places) for each in client.send(data[start:end])]
        connection = client.connection
        return merged(sent), connection.output.window, connection.table.last_id, sorted(connection.streams)

    assert heard(direct=True) == heard(direct=False)
