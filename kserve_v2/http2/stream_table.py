"""The streams of one connection: those that are open, what becomes of those that are not, and what a client may do."""

from collections import deque
from collections.abc import Callable

from kserve_v2.http2 import frames
from kserve_v2.http2.budget import Budget, Clock
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode
from kserve_v2.http2.limits import Http2Limits
from kserve_v2.http2.output import Output
from kserve_v2.http2.stream import Stream
from kserve_v2.http2.stream_state import State, StreamState

# How many streams that were reset are remembered: frames for them may still arrive.
_REMEMBERED_RESETS = 1024


class StreamTable:
    """What is known of all streams. `draining`: the client has been told that no more are opened."""

    def __init__(
        self, limits: Http2Limits, clock: Clock, wake: Callable[[], None], drained: Callable[[], None]
    ) -> None:
        """`wake` is called when there is something to send; `drained` for every stream that ends while `draining`."""
        self.limits = limits
        self.open: dict[int, Stream] = {}
        self.last_id = 0
        self.draining = False
        self.output = Output(wake, self.closed, self.given_up)
        self.budget = Budget(limits, clock)
        self._drained = drained
        self._reset_ids: deque[int] = deque(maxlen=_REMEMBERED_RESETS)

    @property
    def full(self) -> bool:
        """Whether the client is to open no more streams for now."""
        return (
            len(self.open) >= self.limits.max_concurrent_streams
            or self.output.queued_bytes > self.limits.max_queued_bytes
        )

    def closed(self, stream: StreamState) -> None:
        """Both sides have said all. Every such stream allows another one to be given up."""
        del self.open[stream.id]
        self.budget.answered += 1
        if self.draining:
            self._drained()

    def given_up(self, stream: StreamState) -> None:
        """One side has reset the stream, or the connection is gone."""
        del self.open[stream.id]
        self._reset_ids.append(stream.id)
        self.output.forget(stream)
        if self.draining:
            self._drained()

    def lose_all(self) -> None:
        """The connection is gone."""
        for stream in list(self.open.values()):
            stream.state = State.CLOSED
            self.given_up(stream)
            stream.lost()

    def fail(self, stream: Stream, code: ErrorCode) -> None:
        """The client has broken the rules on one stream. Raises ConnectionFaultError if it does so too often."""
        self.budget.reset("fail")
        stream.reset(code)
        stream.lost()

    def refuse(self, stream_id: int, code: ErrorCode) -> None:
        """Reset a stream before it has begun. It counts like one that the client gives up."""
        self.budget.reset("are refused")
        self.reset_unknown(stream_id, code)

    def reset_unknown(self, stream_id: int, code: ErrorCode) -> None:
        """Reset a stream that has no object."""
        self._reset_ids.append(stream_id)
        self.output.control(frames.reset(stream_id, code))

    def was_reset(self, stream_id: int) -> bool:
        """Whether frames may still come on the stream that the client sent before it knew."""
        return stream_id in self._reset_ids

    def count_overhead(self) -> None:
        """A frame without use of its own has come. Two for each DATA frame that was sent are what a client needs.
        Raises ConnectionFaultError.
        """
        self.budget.overhead.spend("frames without use", earned=2 * self.output.data_frames)

    def check_not_idle(self, stream_id: int, name: str) -> None:
        """Raise ConnectionFaultError for a frame on a stream that has not been opened."""
        # After GOAWAY the client may have opened streams that were ignored.
        idle = stream_id > self.last_id and not self.draining
        if not stream_id & 1 or idle:
            raise ConnectionFaultError(
                ErrorCode.PROTOCOL_ERROR, f"{name} on stream {stream_id}, which is idle"
            )
