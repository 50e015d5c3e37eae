"""Flow control in both directions: RFC 9113, sections 5.2 and 6.9."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.http2 import frames
from kserve_v2.http2.errors import ErrorCode
from kserve_v2.http2.flow import ReceiveWindow
from kserve_v2.http2.frames import Kind, Setting
from kserve_v2.http2.limits import Http2Limits
from kserve_v2.http2.stream_state import State
from tests.http2.peer import POST, Client, Frame, body_of, frame, request, resets

WINDOW = frames.DEFAULT_WINDOW_BYTES


def setting(identifier: int, value: int) -> bytes:
    """A SETTINGS frame with one setting."""
    return frame(Kind.SETTINGS, 0, struct.pack(">HI", identifier, value))


def widen(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(Kind.WINDOW_UPDATE, stream_id, struct.pack(">I", increment))


def updates(found: list[Frame]) -> dict[int, int]:
    """What is announced, by stream."""
    announced: dict[int, int] = {}
    for each in found:
        if each.kind == Kind.WINDOW_UPDATE:
            announced[each.stream_id] = announced.get(each.stream_id, 0) + int.from_bytes(each.payload, "big")
    return announced


def client_with_body(size: int, stream_id: int = 1, client: Client | None = None) -> Client:
    """A client that has sent so much and not been answered yet."""
    client = client or Client(hold=True)
    client.send(
        request(stream_id, POST, ends=False) + frame(Kind.DATA, stream_id, bytes(size), frames.END_STREAM)
    )
    return client


# --- what is sent -----------------------------------------------------------------------------------------------


def test_no_more_is_sent_than_the_windows_allow() -> None:
    client = client_with_body(200_000)
    client.seen[1].answer()
    sent = client.take()
    assert len(body_of(sent, 1)) == WINDOW
    assert all(len(each.payload) <= frames.DEFAULT_MAX_FRAME_BYTES for each in sent)
    assert client.seen[1].queued
    # Both windows count.
    assert client.send(widen(1, 1000)) == []
    assert len(body_of(client.send(widen(0, 700)), 1)) == 700
    rest = client.send(widen(0, 200_000) + widen(1, 200_000))
    assert len(body_of(rest, 1)) == 200_000 - WINDOW - 700
    assert (rest[-1].kind, rest[-1].flags & frames.END_STREAM) == (Kind.HEADERS, frames.END_STREAM)
    assert client.seen[1].state is State.CLOSED
    assert client.connection.streams == {}


def test_streams_take_turns() -> None:
    client = Client(hold=True)
    for stream_id in (1, 3):
        client_with_body(30_000, stream_id, client)
    client.connection.output.paused = True
    for stream in client.seen.values():
        stream.answer()
    client.connection.output.paused = False
    sent = client.take()
    assert [each.stream_id for each in sent if each.kind == Kind.DATA] == [1, 3, 1, 3]
    assert len(body_of(sent, 1)) == len(body_of(sent, 3)) == 30_000


def test_a_stream_whose_own_window_is_empty_does_not_hold_up_others() -> None:
    client = Client(hold=True)
    client.send(setting(Setting.INITIAL_WINDOW_SIZE, 0))
    client_with_body(10, 1, client)
    client_with_body(10, 3, client)
    client.seen[1].answer()
    client.seen[3].answer()
    assert body_of(client.take(), 1) == b""
    sent = client.send(widen(3, 10))
    assert (body_of(sent, 1), body_of(sent, 3)) == (b"", bytes(10))


def test_a_smaller_initial_window_can_make_a_window_negative() -> None:
    client = client_with_body(2 * WINDOW)
    client.seen[1].answer()
    assert len(body_of(client.take(), 1)) == WINDOW
    client.send(widen(0, 10**6) + setting(Setting.INITIAL_WINDOW_SIZE, WINDOW - 100))
    assert client.send(widen(1, 100)) == []
    assert len(body_of(client.send(widen(1, 1)), 1)) == 1


def test_a_larger_initial_window_sets_streams_going() -> None:
    client = Client(hold=True)
    client.send(setting(Setting.INITIAL_WINDOW_SIZE, 0))
    client_with_body(10, 1, client)
    client.seen[1].answer()
    client.take()
    assert body_of(client.send(setting(Setting.INITIAL_WINDOW_SIZE, 7)), 1) == bytes(7)


def test_larger_frames_where_the_client_takes_them() -> None:
    client = Client(hold=True)
    client.send(setting(Setting.MAX_FRAME_SIZE, 50_000))
    client_with_body(50_000, 1, client)
    client.seen[1].answer()
    assert [len(each.payload) for each in client.take() if each.kind == Kind.DATA] == [50_000]


def test_an_empty_body_needs_no_window() -> None:
    client = Client()
    client.send(setting(Setting.INITIAL_WINDOW_SIZE, 0))
    sent = client.send(request(1))
    assert [each.kind for each in sent] == [Kind.HEADERS, Kind.DATA, Kind.HEADERS]


def test_nothing_but_control_frames_while_the_socket_is_full() -> None:
    client = client_with_body(10)
    client.connection.output.paused = True
    client.seen[1].answer()
    sent = client.send(frame(Kind.PING, 0, bytes(8)))
    assert [each.kind for each in sent] == [Kind.HEADERS, Kind.PING]
    client.connection.output.paused = False
    client.connection.output.pump()
    assert body_of(client.take(), 1) == bytes(10)


def test_the_queue_of_a_stream_that_is_given_up_is_dropped() -> None:
    client = client_with_body(2 * WINDOW)
    client.seen[1].answer()
    client.take()
    client.send(frame(Kind.RST_STREAM, 1, bytes(4)))
    assert client.send(widen(0, 10**6)) == []
    assert not client.seen[1].queued


def test_the_application_is_told_when_its_queue_is_empty() -> None:
    client = client_with_body(2 * WINDOW)
    stream = client.seen[1]
    stream.send_headers(b"")
    stream.send_data(bytes(stream.body))
    client.take()
    assert (stream.queued, stream.drains) == (True, 0)
    client.send(widen(0, 10**6) + widen(1, 10**6))
    assert (stream.queued, stream.drains) == (False, 1)


@pytest.mark.slow
@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=5),
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3000)), max_size=30),
    initial=st.integers(0, 3000),
)
def test_whatever_the_windows_do(sizes: list[int], steps: list[tuple[int, int]], initial: int) -> None:
    """What has been sent never exceeds what was allowed, and is as much as was allowed."""
    client = Client(hold=True)
    client.send(setting(Setting.INITIAL_WINDOW_SIZE, initial))
    ids = [2 * index + 1 for index in range(len(sizes))]
    for stream_id, size in zip(ids, sizes, strict=True):
        client_with_body(size, stream_id, client)
    for stream_id in ids:
        client.seen[stream_id].answer()
    sent = client.take()
    allowed = dict.fromkeys(ids, initial)
    connection = WINDOW
    for which, increment in steps:
        if which == 0 or which > len(ids):
            connection += increment
            sent += client.send(widen(0, increment))
        elif ids[which - 1] in client.connection.streams:
            allowed[ids[which - 1]] += increment
            sent += client.send(widen(ids[which - 1], increment))
    bodies = {stream_id: len(body_of(sent, stream_id)) for stream_id in ids}
    assert sum(bodies.values()) <= connection
    wanted = {stream_id: min(size, allowed[stream_id]) for stream_id, size in zip(ids, sizes, strict=True)}
    if sum(wanted.values()) <= connection:
        assert bodies == wanted


OVERFLOWS = {
    "connection": (widen(0, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
    "nothing": (widen(0, 0), ErrorCode.PROTOCOL_ERROR),
    "initial": (setting(Setting.INITIAL_WINDOW_SIZE, 2**31), ErrorCode.FLOW_CONTROL_ERROR),
    "initial-of-wide-streams": (
        widen(1, 2**31 - 1 - WINDOW) + setting(Setting.INITIAL_WINDOW_SIZE, WINDOW + 1), ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "frame-size": (setting(Setting.MAX_FRAME_SIZE, 2**14 - 1), ErrorCode.PROTOCOL_ERROR),
    "large-frame-size": (setting(Setting.MAX_FRAME_SIZE, 2**24), ErrorCode.PROTOCOL_ERROR),
    "push": (setting(Setting.ENABLE_PUSH, 2), ErrorCode.PROTOCOL_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("name", OVERFLOWS)
def test_windows_and_settings_that_cannot_be(name: str) -> None:
    data, code = OVERFLOWS[name]
    client = Client(hold=True)
    client.send(request(1))
    assert client.failure(data)[0] is code


@pytest.mark.parametrize(
    ("increment", "code"), [(2**31 - 1, ErrorCode.FLOW_CONTROL_ERROR), (0, ErrorCode.PROTOCOL_ERROR)]
)
def test_a_window_update_that_is_wrong_for_a_stream(increment: int, code: ErrorCode) -> None:
    client = Client(hold=True)
    assert resets(client.send(request(1) + widen(1, increment))) == {1: code}
    assert client.seen[1].was_lost


# --- what is received -------------------------------------------------------------------------------------------

SMALL = Http2Limits(stream_window_bytes=100_000, connection_window_bytes=150_000)


def test_the_windows_are_announced() -> None:
    client = Client(SMALL, greet=False)
    client.connection.greet()
    settings, update = client.take()
    assert dict(frames.read_settings(settings.payload))[Setting.INITIAL_WINDOW_SIZE] == 100_000
    assert update == Frame(Kind.WINDOW_UPDATE, 0, 0, struct.pack(">I", 150_000 - WINDOW))


def test_the_client_may_go_on_when_half_of_a_window_is_used_up() -> None:
    client = Client(SMALL, hold=True)
    client.send(request(1, POST, ends=False))
    assert updates(client.send(frame(Kind.DATA, 1, bytes(49_000)))) == {}
    assert updates(client.send(frame(Kind.DATA, 1, bytes(1000)))) == {1: 50_000}
    assert updates(client.send(frame(Kind.DATA, 1, bytes(25_000)))) == {0: 75_000}


def test_padding_counts_and_is_given_back() -> None:
    client = Client(SMALL, hold=True)
    client.send(request(1, POST, ends=False))
    sent = []
    for _ in range(400):
        sent += client.send(frame(Kind.DATA, 1, bytes([255]) + bytes(255), frames.PADDED))
    assert updates(sent)[1] > 50_000
    assert client.connection.failure is None


def test_more_than_the_window_of_a_stream() -> None:
    client = Client(Http2Limits(stream_window_bytes=1000), hold=True)
    client.send(request(1, POST, ends=False) + request(3))
    assert resets(client.send(frame(Kind.DATA, 1, bytes(1001)))) == {1: ErrorCode.FLOW_CONTROL_ERROR}
    assert client.seen[1].was_lost
    assert not client.seen[3].was_lost


def test_a_last_frame_larger_than_the_window_of_its_stream() -> None:
    client = Client(Http2Limits(stream_window_bytes=1000), hold=True)
    client.send(request(1, POST, ends=False))
    assert resets(client.send(frame(Kind.DATA, 1, bytes(1001), frames.END_STREAM))) == {
        1: ErrorCode.FLOW_CONTROL_ERROR
    }


def test_more_than_the_window_of_the_connection() -> None:
    limits = Http2Limits(connection_window_bytes=70_000, max_frame_bytes=100_000)
    client = Client(limits, hold=True)
    client.send(request(1, POST, ends=False))
    assert client.failure(frame(Kind.DATA, 1, bytes(70_001)))[0] is ErrorCode.FLOW_CONTROL_ERROR


@settings(deadline=None)
@given(st.lists(st.integers(0, 100), max_size=50))
def test_what_is_announced_is_what_was_consumed(sizes: list[int]) -> None:
    window = ReceiveWindow(100)
    announced = 0
    for size in sizes:
        assert window.receive(size) or size + 50 > 100
        announced += window.consume(size)
        assert sum(sizes) - announced >= 0 or announced <= sum(sizes)
    assert announced <= sum(sizes) < announced + 50 or not sizes
