"""python-hyper's h2 at the other end, which checks every frame that it gets, and sends what it has to."""

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.http2.limits import Http2Limits
from tests.http2.peer import Client, drain

HEADERS = [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/x")]

# Small ones, so that they matter.
LIMITS = Http2Limits(stream_window_bytes=30_000, connection_window_bytes=70_000, max_frame_bytes=16_384)


class Oracle:
    """h2 as the client of a server in memory that sends every body back."""

    def __init__(
        self, limits: Http2Limits = LIMITS, *, window: int = 65_535, frame_bytes: int = 16_384
    ) -> None:
        """`window` and `frame_bytes`: what the client announces."""
        self.server = Client(limits, greet=False)
        self.server.connection.greet()
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.client.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window,
                h2.settings.SettingCodes.MAX_FRAME_SIZE: frame_bytes,
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
            },
        )
        self.client.max_inbound_frame_size = frame_bytes
        self.client.initiate_connection()
        self.bodies: dict[int, bytes] = {}
        self.unread: dict[int, int] = {}
        self.ended: set[int] = set()
        self.trailers: set[int] = set()
        self.reset: dict[int, int] = {}
        self.exchange()

    def exchange(self) -> None:
        """Carry bytes until both are silent."""
        while True:
            sent = self.client.data_to_send()
            if sent:
                self.server.connection.receive(sent)
            received = drain(self.server.connection)
            if not sent and not received:
                return
            for event in self.client.receive_data(received):
                self._take(event)

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            assert event.stream_id is not None
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + (event.data or b"")
            self.unread[event.stream_id] = self.unread.get(event.stream_id, 0) + (
                event.flow_controlled_length or 0
            )
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers.add(event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.reset[event.stream_id] = event.error_code
        else:
            assert not isinstance(event, h2.events.ConnectionTerminated), event

    def read(self) -> None:
        """Let the server send as much again as was read."""
        for stream_id, size in self.unread.items():
            if size:
                self.client.acknowledge_received_data(size, stream_id)
        self.unread.clear()
        self.exchange()

    def send_body(self, stream_id: int, body: bytes, padding: int | None) -> None:
        """Send a body and end the stream, as fast as the server allows."""
        while body:
            room = min(self.client.local_flow_control_window(stream_id), self.client.max_outbound_frame_size)
            room -= 0 if padding is None else padding + 1
            assert room > 0, "the server does not let the client go on"
            self.client.send_data(stream_id, body[:room], pad_length=padding)
            body = body[room:]
            self.exchange()
        self.client.end_stream(stream_id)
        self.exchange()


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 100_000), st.none() | st.integers(0, 255)), min_size=1, max_size=5),
    st.integers(5000, 200_000),
    st.sampled_from([16_384, 20_000, 100_000]),
)
def test_bodies_of_any_size_come_back(
    bodies: list[tuple[int, int | None]], window: int, frame_bytes: int
) -> None:
    oracle = Oracle(window=window, frame_bytes=frame_bytes)
    sent: dict[int, bytes] = {}
    for number, (size, padding) in enumerate(bodies):
        stream_id = 2 * number + 1
        oracle.client.send_headers(stream_id, HEADERS)
        sent[stream_id] = bytes([number]) * size
        oracle.send_body(stream_id, sent[stream_id], padding)
        while stream_id not in oracle.ended:
            assert oracle.unread, "the server has stopped"
            oracle.read()
    assert {stream_id: oracle.bodies.get(stream_id, b"") for stream_id in sent} == sent
    assert oracle.trailers == set(sent)
    assert oracle.server.connection.streams == {}


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_many_streams_at_once(data: st.DataObject) -> None:
    """Parts of bodies, pings, resets, priorities and settings in any order."""
    oracle = Oracle()
    open_streams: dict[int, bytes] = {}
    expected: dict[int, bytes] = {}
    given_up: set[int] = set()
    for _ in range(data.draw(st.integers(1, 30))):
        action = data.draw(
            st.sampled_from(["open", "open", "data", "end", "reset", "ping", "settings", "read"])
        )
        chosen = data.draw(st.sampled_from(sorted(open_streams))) if open_streams else None
        if action == "open":
            stream_id = oracle.client.get_next_available_stream_id()
            oracle.client.send_headers(stream_id, [*HEADERS, ("n", str(stream_id % 7))])
            open_streams[stream_id] = b""
        elif action == "ping":
            oracle.client.ping(b"12345678")
        elif action == "settings":
            window = data.draw(st.integers(0, 100_000))
            oracle.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        elif action == "read":
            oracle.read()
        elif chosen is None:
            continue
        elif action == "data":
            room = min(oracle.client.local_flow_control_window(chosen), 16_384)
            part = bytes([chosen % 256]) * data.draw(st.integers(0, max(room, 0)))
            oracle.client.send_data(chosen, part)
            open_streams[chosen] += part
        elif action == "end":
            oracle.client.end_stream(chosen)
            expected[chosen] = open_streams.pop(chosen)
        else:
            oracle.client.reset_stream(chosen)
            open_streams.pop(chosen)
            given_up.add(chosen)
        oracle.exchange()
        assert oracle.server.connection.failure is None
    oracle.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1_000_000})
    for stream_id in list(expected):
        while stream_id not in oracle.ended:
            before = len(oracle.ended), sum(map(len, oracle.bodies.values()))
            oracle.read()
            if (len(oracle.ended), sum(map(len, oracle.bodies.values()))) == before:
                break
    assert {stream_id: oracle.bodies.get(stream_id, b"") for stream_id in expected} == expected
    assert oracle.ended == set(expected)
    assert all(oracle.server.seen[stream_id].was_lost for stream_id in given_up)
    assert set(oracle.server.connection.streams) == set(open_streams)


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 11), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 99]), st.binary(max_size=20)
        ),
        max_size=8,
    )
)
def test_whatever_comes_what_is_answered_is_http_2(frames_sent: list[tuple[int, int, int, bytes]]) -> None:
    """h2 takes whatever the server says to damaged frames, or the server has ended the connection."""
    oracle = Oracle()
    stream_id = oracle.client.get_next_available_stream_id()
    oracle.client.send_headers(stream_id, HEADERS)
    sent = oracle.client.data_to_send()
    for kind, flags, stream, payload in frames_sent:
        sent += len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    oracle.server.connection.receive(sent)
    answered = drain(oracle.server.connection)
    try:
        events = oracle.client.receive_data(answered)
    except h2.exceptions.ProtocolError as error:
        # What h2 does not know of: streams and settings that it has not sent itself, and answers to them.
        assert frames_sent, error
        return
    ended = [event for event in events if isinstance(event, h2.events.ConnectionTerminated)]
    assert bool(ended) == (oracle.server.connection.failure is not None)


def test_the_answer_to_a_ping_is_its_payload() -> None:
    oracle = Oracle()
    oracle.client.ping(b"abcdefgh")
    oracle.server.connection.receive(oracle.client.data_to_send())
    (event,) = oracle.client.receive_data(drain(oracle.server.connection))
    assert isinstance(event, h2.events.PingAckReceived)
    assert event.ping_data == b"abcdefgh"


def test_after_a_goaway_streams_are_not_served() -> None:
    oracle = Oracle()
    oracle.client.send_headers(1, HEADERS)
    oracle.exchange()
    connection = oracle.server.connection
    connection.goaway(warning=True)
    oracle.client.send_headers(3, HEADERS)
    connection.receive(oracle.client.data_to_send())
    connection.goaway()
    oracle.client.send_headers(5, HEADERS, end_stream=True)
    connection.receive(oracle.client.data_to_send())
    assert sorted(connection.streams) == [1, 3]
    events = oracle.client.receive_data(drain(connection))
    last = [event.last_stream_id for event in events if isinstance(event, h2.events.ConnectionTerminated)]
    assert last == [2**31 - 1, 3] or last == [2**31 - 1]


@pytest.mark.parametrize("table_size", [0, 100, 4096])
def test_the_client_s_own_table_may_have_any_size(table_size: int) -> None:
    oracle = Oracle()
    oracle.client.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: table_size})
    for stream_id in (1, 3, 5):
        oracle.client.send_headers(stream_id, HEADERS, end_stream=True)
        oracle.exchange()
    assert oracle.ended == {1, 3, 5}
