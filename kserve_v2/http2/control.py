"""The frames that carry neither header blocks nor data: RFC 9113, sections 6.3 to 6.9."""

from collections.abc import Callable

from kserve_v2.http2 import frames
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode
from kserve_v2.http2.frames import Kind, Setting
from kserve_v2.http2.stream_state import Event
from kserve_v2.http2.stream_table import StreamTable

_PRIORITY_BYTES = 5
_MIN_GOAWAY_BYTES = 8


class ControlFrames:
    """Takes the control frames of one connection."""

    def __init__(
        self, table: StreamTable, ping_received: Callable[[], None], ping_answered: Callable[[bytes], None]
    ) -> None:
        """`ping_received` is called for a PING of the client; it may raise ConnectionFaultError. `ping_answered` for
        the answer to ours, with its payload.
        """
        self._table = table
        self._ping_received = ping_received
        self._ping_answered = ping_answered
        self._receivers: dict[int, Callable[[int, int, bytes], None]] = {
            Kind.PRIORITY: self._priority,
            Kind.RST_STREAM: self._reset,
            Kind.SETTINGS: self._settings,
            Kind.PUSH_PROMISE: self._push_promise,
            Kind.PING: self._ping,
            Kind.GOAWAY: self._goaway,
            Kind.WINDOW_UPDATE: _malformed_window_update,
        }

    def receive(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Take one. Those of unknown kinds are ignored. Raises ConnectionFaultError."""
        receiver = self._receivers.get(kind)
        if receiver is None:
            self._table.count_overhead()
        else:
            receiver(flags, stream_id, payload)

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "PRIORITY on the connection")
        self._table.count_overhead()
        stream = self._table.open.get(stream_id)
        if len(payload) != _PRIORITY_BYTES and stream is not None:
            self._table.fail(stream, ErrorCode.FRAME_SIZE_ERROR)

    def _reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        table = self._table
        _check_size(len(payload) == frames.WORD.size, "RST_STREAM")
        table.check_not_idle(stream_id, "RST_STREAM")
        table.budget.reset("are reset")
        stream = table.open.get(stream_id)
        if stream is not None:
            stream.advance(Event.RECEIVE_RESET)
            table.given_up(stream)
            stream.lost()

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        table = self._table
        _check_on_connection(stream_id, "SETTINGS")
        if flags & frames.ACK:
            _check_size(not payload, "an acknowledgement of SETTINGS")
            table.count_overhead()
            return
        table.budget.settings.spend("SETTINGS frames")
        # Acknowledged before anything that relies on the new settings is sent.
        table.output.control(frames.SETTINGS_ACK)
        # Only the last value of each setting counts, which bounds the cost of a frame full of them.
        for identifier, value in dict(frames.read_settings(payload)).items():
            self._apply(identifier, value)

    def _apply(self, identifier: int, value: int) -> None:
        """One setting of the client; those that are not here do not concern a server, or are unknown."""
        table = self._table
        if identifier == Setting.INITIAL_WINDOW_SIZE:
            if value > frames.MAX_WINDOW_BYTES:
                raise ConnectionFaultError(
                    ErrorCode.FLOW_CONTROL_ERROR, f"an initial window of {value} bytes"
                )
            table.output.set_initial_window(value, list(table.open.values()))
        elif identifier == Setting.MAX_FRAME_SIZE:
            if not frames.DEFAULT_MAX_FRAME_BYTES <= value <= frames.LARGEST_MAX_FRAME_BYTES:
                raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, f"a maximum frame size of {value} bytes")
            # Others have their turns in between, and nothing larger is asked of the socket at once.
            table.output.max_frame_bytes = min(value, table.limits.max_frame_bytes)
        elif identifier == Setting.HEADER_TABLE_SIZE:
            table.output.set_table_size(value)
        elif identifier == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH is {value}")

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "a client does not push")

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        table = self._table
        _check_on_connection(stream_id, "PING")
        _check_size(len(payload) == frames.PING_BYTES, "PING")
        if flags & frames.ACK:
            table.count_overhead()
            self._ping_answered(payload)
            return
        table.budget.pings.spend("PING frames")
        table.output.control(frames.ping(payload, ack=True))
        self._ping_received()

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        """The client takes no more streams from us, which it would not get anyway."""
        _check_on_connection(stream_id, "GOAWAY")
        _check_size(len(payload) >= _MIN_GOAWAY_BYTES, "GOAWAY")
        self._table.count_overhead()

    def window_update(self, stream_id: int, word: int) -> None:
        """A WINDOW_UPDATE frame: the increment, and the reserved bit. Raises ConnectionFaultError."""
        table = self._table
        increment = word & frames.MAX_WINDOW_BYTES
        table.count_overhead()
        if not stream_id:
            if not increment:
                raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
            table.output.widen(increment)
            return
        stream = table.open.get(stream_id)
        if stream is None:
            table.check_not_idle(stream_id, "WINDOW_UPDATE")
        elif not increment:
            table.fail(stream, ErrorCode.PROTOCOL_ERROR)
        elif not table.output.widen_stream(stream, increment):
            table.fail(stream, ErrorCode.FLOW_CONTROL_ERROR)


def _malformed_window_update(flags: int, stream_id: int, payload: bytes) -> None:
    """One of the right size goes to `window_update`."""
    _check_size(fits=False, name="WINDOW_UPDATE")


def _check_size(fits: bool, name: str) -> None:
    if not fits:
        raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR, f"{name} of a wrong size")


def _check_on_connection(stream_id: int, name: str) -> None:
    if stream_id:
        raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, f"{name} on a stream")
