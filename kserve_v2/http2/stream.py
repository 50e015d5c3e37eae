"""One stream: what its application does with it, and what it overrides."""

from kserve_v2.http2 import frames
from kserve_v2.http2.errors import ErrorCode
from kserve_v2.http2.output import Output
from kserve_v2.http2.stream_state import Bytes, State, StreamState

STALLED_CHECKS = 3
"""After so many checks in a row without progress, at least the time between the first and the last has passed."""


class Stream(StreamState):
    """One request and its answer. Applications derive from it, and override the last part, and `drained`."""

    # How many calls of `check` in a row found that nothing of the queue had been sent.
    stalled_checks: int = 0

    def __init__(self, output: Output, stream_id: int) -> None:
        """`output`: of the connection."""
        self.output = output
        self.id = stream_id
        self.send_window = output.initial_window

    # --- what the application does --------------------------------------------------------------------------------

    def send_headers(self, block: bytes, *, ends: bool = False) -> None:
        """Send a header block: that of the answer, or its trailers with `ends`. Nothing if the client has left."""
        self.output.headers(self, block, ends)

    def send_data(self, data: Bytes, *, ends: bool = False) -> None:
        """Send a part of the answer's body, now or as soon as the client lets it. Nothing if the client has left."""
        self.output.data(self, data, ends)

    def reset(self, code: ErrorCode) -> None:
        """Give the stream up. `lost` is not called."""
        self.output.reset(self, code)

    def consumed(self, size: int) -> None:
        """`size` bytes of the body are done with: the client may send as many more on this stream."""
        self.credit(size)

    def credit(self, size: int) -> None:
        """Let the client send `size` bytes more than its window has left."""
        if self.receive_window is not None and self.state in (State.OPEN, State.HALF_CLOSED_LOCAL):
            increment = self.receive_window.consume(size)
            if increment:
                self.output.control(frames.window_update(self.id, increment))

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
