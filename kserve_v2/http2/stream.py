"""One stream: its state as a table (RFC 9113, section 5.1), and what its application overrides.

A server that does not push has no reserved streams; IDLE streams have no object yet.
"""

from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from kserve_v2.http2.errors import ErrorCode

if TYPE_CHECKING:
    from kserve_v2.http2.connection import Connection
    from kserve_v2.http2.flow import ReceiveWindow

Bytes = bytes | memoryview


STALLED_CHECKS = 3
"""After so many checks in a row without progress, at least the time between the first and the last has passed."""


class State(IntEnum):
    """Where a stream is in its life."""

    IDLE = 0
    OPEN = 1
    HALF_CLOSED_LOCAL = 2
    HALF_CLOSED_REMOTE = 3
    CLOSED = 4


class Event(IntEnum):
    """What happens to a stream. `END` is the flag END_STREAM, an event of its own after that of its frame."""

    RECEIVE_HEADERS = 0
    RECEIVE_DATA = 1
    RECEIVE_END = 2
    RECEIVE_RESET = 3
    SEND_HEADERS = 4
    SEND_DATA = 5
    SEND_END = 6
    SEND_RESET = 7


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.IDLE, Event.RECEIVE_HEADERS): State.OPEN,
    (State.OPEN, Event.RECEIVE_HEADERS): State.OPEN,
    (State.OPEN, Event.RECEIVE_DATA): State.OPEN,
    (State.OPEN, Event.RECEIVE_END): State.HALF_CLOSED_REMOTE,
    (State.OPEN, Event.RECEIVE_RESET): State.CLOSED,
    (State.OPEN, Event.SEND_HEADERS): State.OPEN,
    (State.OPEN, Event.SEND_DATA): State.OPEN,
    (State.OPEN, Event.SEND_END): State.HALF_CLOSED_LOCAL,
    (State.OPEN, Event.SEND_RESET): State.CLOSED,
    (State.HALF_CLOSED_LOCAL, Event.RECEIVE_HEADERS): State.HALF_CLOSED_LOCAL,
    (State.HALF_CLOSED_LOCAL, Event.RECEIVE_DATA): State.HALF_CLOSED_LOCAL,
    (State.HALF_CLOSED_LOCAL, Event.RECEIVE_END): State.CLOSED,
    (State.HALF_CLOSED_LOCAL, Event.RECEIVE_RESET): State.CLOSED,
    (State.HALF_CLOSED_LOCAL, Event.SEND_RESET): State.CLOSED,
    (State.HALF_CLOSED_REMOTE, Event.RECEIVE_RESET): State.CLOSED,
    (State.HALF_CLOSED_REMOTE, Event.SEND_HEADERS): State.HALF_CLOSED_REMOTE,
    (State.HALF_CLOSED_REMOTE, Event.SEND_DATA): State.HALF_CLOSED_REMOTE,
    (State.HALF_CLOSED_REMOTE, Event.SEND_END): State.CLOSED,
    (State.HALF_CLOSED_REMOTE, Event.SEND_RESET): State.CLOSED,
}
"""The next state. A pair that is not here is an error: the client's if it received, ours if it sends."""

NEXT: tuple[tuple[State | None, ...], ...] = tuple(
    tuple(TRANSITIONS.get((state, event)) for event in Event) for state in State
)
"""The same by state and event, None for an error: looked up several times for each request."""


class Queued:
    """What a stream wants to send and may not yet: DATA and what comes behind it."""

    __slots__ = ("block", "data", "ends")

    def __init__(self, data: memoryview, ends: bool, block: bytes | None = None) -> None:
        """`block`: a header block, instead of data."""
        self.data = data
        self.ends = ends
        self.block = block


class Stream:
    """One request and its answer. Applications derive from it, and override the last part."""

    # Defaults of the class: most streams never change them, and making a stream should cost little.
    state: State = State.OPEN
    # Both for streams that do not fit into one frame each way.
    receive_window: "ReceiveWindow | None" = None
    queue: deque[Queued] | None = None
    # For `check`: whether anything of the queue was sent since the last one, and how often nothing was.
    progress: bool = False
    stalled_checks: int = 0

    def __init__(self, connection: "Connection[Any]", stream_id: int) -> None:
        self.connection = connection
        self.id = stream_id
        self.send_window = connection.output.initial_window

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state.name}>"

    # --- what the application does --------------------------------------------------------------------------------

    def send_headers(self, block: bytes, *, ends: bool = False) -> None:
        """Send a header block: that of the answer, or its trailers with `ends`. Nothing if the client has left."""
        self.connection.output.headers(self, block, ends)

    def send_data(self, data: Bytes, *, ends: bool = False) -> None:
        """Send a part of the answer's body, now or as soon as the client lets it. Nothing if the client has left."""
        self.connection.output.data(self, data, ends)

    def reset(self, code: ErrorCode) -> None:
        """Give the stream up. `lost` is not called."""
        self.connection.reset(self, code)

    def consumed(self, size: int) -> None:
        """`size` bytes of the body are done with: the client may send as many more on this stream."""
        self.connection.consumed(self, size)

    @property
    def queued(self) -> bool:
        """Whether something that was sent waits for the client to take it."""
        return self.queue is not None

    def check(self) -> bool:
        """To be called twice in the time that a client may stall. False: it has let its time pass."""
        if self.queue is None or self.progress:
            self.progress = False
            self.stalled_checks = 0
        else:
            self.stalled_checks += 1
        return self.stalled_checks < STALLED_CHECKS

    # --- what the application overrides ---------------------------------------------------------------------------

    def opened(self, ended: bool) -> None:
        """The headers of the request are there; `ended`: nothing else comes."""
        raise NotImplementedError

    def data_received(self, data: Bytes, ended: bool) -> None:
        """A part of the body, and whether it was the last. To be answered by `consumed`, sooner or later, unless
        `ended`. A memoryview is of a buffer that does not change.
        """
        raise NotImplementedError

    def place(self) -> memoryview | None:
        """Where the next bytes of the body can be read to, or None: then `data_received` gets them."""
        return None

    def data_placed(self, size: int, ended: bool) -> None:
        """As `data_received`, for bytes that were read to `place`."""
        raise NotImplementedError

    def lost(self) -> None:
        """The client has left, or broken the rules: nothing more can be sent."""
        raise NotImplementedError

    def drained(self) -> None:
        """All that had been queued is sent."""
        raise NotImplementedError
