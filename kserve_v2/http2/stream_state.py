"""The state of one stream as a table (RFC 9113, section 5.1), and what it has still to send.

A server that does not push has no reserved streams; IDLE streams have no object yet.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from kserve_v2.http2.flow import ReceiveWindow

Bytes = bytes | memoryview


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


@dataclass(slots=True)
class Queued:
    """What a stream wants to send and may not yet: DATA and what comes behind it. `block`: a header block, instead of
    data.
    """

    data: memoryview
    ends: bool
    block: bytes | None = None


class StreamState:
    """What a connection keeps of a stream."""

    id: int
    send_window: int
    # Class defaults: most streams never change them, which makes a stream cheap to create.
    state: State = State.OPEN
    # Only for streams whose bodies take more than one frame.
    receive_window: ReceiveWindow | None = None
    queue: deque[Queued] | None = None
    # Whether anything of the queue was sent since `check` last reset this.
    progress: bool = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state.name}>"

    def allows(self, event: Event) -> bool:
        """Whether this may happen now. To be asked of what the client does."""
        return (self.state, event) in TRANSITIONS

    def advance(self, event: Event) -> None:
        """Note what happens to the stream. An event that is not in the table is a defect of ours."""
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            raise RuntimeError(f"{self!r} does not allow {event.name}")
        self.state = state

    def drained(self) -> None:
        """All that had been queued is sent."""
        raise NotImplementedError
