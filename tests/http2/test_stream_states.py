"""The states of a stream against RFC 9113, section 5.1."""

import pytest

from kserve_v2.http2.errors import ErrorCode
from kserve_v2.http2.frames import Kind
from kserve_v2.http2.stream_state import TRANSITIONS, Event, State
from tests.http2.peer import POST, TRAILERS, Client, body_of, frame, request, resets

# What may not happen in a state: receiving is the client's error, sending would be ours.
FORBIDDEN = {
    State.IDLE: set(Event) - {Event.RECEIVE_HEADERS},
    State.OPEN: set(),
    State.HALF_CLOSED_LOCAL: {Event.SEND_HEADERS, Event.SEND_DATA, Event.SEND_END},
    State.HALF_CLOSED_REMOTE: {Event.RECEIVE_HEADERS, Event.RECEIVE_DATA, Event.RECEIVE_END},
    State.CLOSED: set(Event),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_which_events_a_state_allows(state: State, event: Event) -> None:
    assert ((state, event) in TRANSITIONS) == (event not in FORBIDDEN[state])


def test_a_reset_closes() -> None:
    for (_, event), after in TRANSITIONS.items():
        if event in (Event.RECEIVE_RESET, Event.SEND_RESET):
            assert after is State.CLOSED


def test_a_stream_closes_when_both_sides_have_ended_it() -> None:
    for first, second in ((Event.RECEIVE_END, Event.SEND_END), (Event.SEND_END, Event.RECEIVE_END)):
        assert TRANSITIONS[TRANSITIONS[State.OPEN, first], second] is State.CLOSED


def test_sending_what_the_state_does_not_allow_is_a_defect() -> None:
    client = Client(hold=True)
    client.send(request(1))
    stream = client.seen[1]
    stream.state = State.HALF_CLOSED_LOCAL
    with pytest.raises(RuntimeError, match="HALF_CLOSED_LOCAL> does not allow SEND_DATA"):
        stream.advance(Event.SEND_DATA)


# --- what clients do to streams that are not open -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (frame(Kind.DATA, 1, b"x"), "DATA"),
        (frame(Kind.RST_STREAM, 1, bytes(4)), "RST_STREAM"),
        (frame(Kind.WINDOW_UPDATE, 1, bytes(3) + b"\1"), "WINDOW_UPDATE"),
    ],
)
def test_frames_on_an_idle_stream_end_the_connection(data: bytes, name: str) -> None:
    code, message = Client().failure(data)
    assert (code, message) == (ErrorCode.PROTOCOL_ERROR, f"{name} on stream 1, which is idle")


@pytest.mark.parametrize("stream_id", [0, 2, 2**31 - 2])
def test_streams_of_a_client_are_odd(stream_id: int) -> None:
    assert Client().failure(request(stream_id))[0] is ErrorCode.PROTOCOL_ERROR


def test_data_behind_the_end() -> None:
    client = Client(hold=True)
    client.send(request(1))
    assert resets(client.send(frame(Kind.DATA, 1, b"x"))) == {1: ErrorCode.STREAM_CLOSED}
    assert client.seen[1].was_lost
    assert client.connection.failure is None


def test_data_on_a_stream_that_is_over() -> None:
    client = Client()
    client.send(request(1))
    for answer in ({1: ErrorCode.STREAM_CLOSED}, {}):
        assert resets(client.send(frame(Kind.DATA, 1, b"x"))) == answer


def test_headers_on_a_stream_that_is_over() -> None:
    client = Client()
    client.send(request(1))
    assert client.failure(request(1))[0] is ErrorCode.STREAM_CLOSED


def test_a_lower_stream_is_closed() -> None:
    client = Client()
    client.send(request(5))
    assert client.failure(request(3))[0] is ErrorCode.STREAM_CLOSED


def test_frames_on_their_way_to_a_stream_that_was_reset_are_ignored() -> None:
    client = Client(hold=True)
    client.send(request(1, POST, ends=False))
    client.seen[1].reset(ErrorCode.CANCEL)
    assert resets(client.take()) == {1: ErrorCode.CANCEL}
    rest = [
        frame(Kind.DATA, 1, b"x"),
        frame(Kind.WINDOW_UPDATE, 1, b"\0\0\0\1"),
        frame(Kind.RST_STREAM, 1, bytes(4)),
    ]
    assert client.send(b"".join(rest) + frame(Kind.HEADERS, 1, TRAILERS, 5)) == []
    assert client.connection.failure is None
    assert not client.seen[1].was_lost


def test_trailers_end_the_body() -> None:
    client = Client()
    client.send(request(1, POST, ends=False) + frame(Kind.DATA, 1, b"abc"))
    sent = client.send(frame(Kind.HEADERS, 1, TRAILERS, 5))
    assert body_of(sent, 1) == b"abc"


def test_trailers_that_do_not_end_the_body() -> None:
    client = Client()
    client.send(request(1, POST, ends=False))
    assert resets(client.send(frame(Kind.HEADERS, 1, TRAILERS, 4))) == {1: ErrorCode.PROTOCOL_ERROR}


def test_an_answer_before_the_end_of_the_request() -> None:
    """The client may go on; when it is done, the stream is over."""
    client = Client(hold=True)
    client.send(request(1, POST, ends=False) + frame(Kind.DATA, 1, b"a"))
    client.seen[1].answer()
    assert body_of(client.take(), 1) == b"a"
    assert client.seen[1].state is State.HALF_CLOSED_LOCAL
    client.send(frame(Kind.DATA, 1, b"b", 1))
    assert client.seen[1].state is State.CLOSED
    assert client.connection.streams == {}


def test_a_client_gives_a_stream_up() -> None:
    client = Client(hold=True)
    client.send(request(1) + frame(Kind.RST_STREAM, 1, b"\0\0\0\x08"))
    assert client.seen[1].was_lost
    client.seen[1].answer()
    assert client.take() == []
