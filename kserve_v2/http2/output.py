"""What is sent on one connection: frames in the order of sending, and flow control (RFC 9113, section 5.2).

What a stream may not send yet waits in its own queue. Streams that may send, as far as their own windows go, take turns
frame by frame.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence

from kserve_v2.http2 import frames, headers
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode
from kserve_v2.http2.stream_state import Bytes, Event, Queued, State, StreamState

_HEADERS = int(frames.Kind.HEADERS)
_END_HEADERS = frames.END_HEADERS
_END_BOTH = frames.END_HEADERS | frames.END_STREAM
_pack = frames.HEAD.pack

Response = tuple[bytes, Sequence[Bytes], int, bytes]
"""A whole answer: header block, body, the size of that in bytes, and trailers."""

# A body up to this size is sent in as few frames as possible.
_JOINED_BYTES = 64 * 1024

# Parts from this size on are written without a copy.
_BULKY_BYTES = 16 * 1024

# Bytes of bodies that are handed out in a turn of the loop, and before the socket is asked again whether it takes more.
_TURN_BYTES = 256 * 1024


class Output:
    """The sending half of a connection."""

    def __init__(
        self,
        wake: Callable[[], None],
        closed: Callable[[StreamState], None],
        given_up: Callable[[StreamState], None],
    ) -> None:
        """`wake` is called when there is something to send; `closed` with a stream on which both sides have said all,
        `given_up` with one that was reset.
        """
        self.parts: list[Bytes] = []
        self.paused = False
        self._bulky = False
        # Bytes of bodies in `parts`.
        self._turn_bytes = 0
        self.initial_window = frames.DEFAULT_WINDOW_BYTES
        self.max_frame_bytes = frames.DEFAULT_MAX_FRAME_BYTES
        self.window = frames.DEFAULT_WINDOW_BYTES
        self.data_frames = 0
        # Bytes of bodies in the queues of all streams.
        self.queued_bytes = 0
        # Goes before the next header block: that we use no dynamic table, if the client has to be told.
        self._table_update = b""
        self._table_given_up = False
        self.header_frames = 0
        # Streams that may send, in the order of their turns.
        self.ready: OrderedDict[int, StreamState] = OrderedDict()
        self._wake = wake
        self._closed = closed
        self._given_up = given_up

    def __repr__(self) -> str:
        state = "paused" if self.paused else "open"
        return f"<Output {state} window={self.window} parts={len(self.parts)} ready={list(self.ready)}>"

    def take(self) -> tuple[list[Bytes], bool]:
        """All that is to be written now, and whether some of it is better not copied."""
        parts, bulky = self.parts, self._bulky
        self.parts, self._bulky, self._turn_bytes = [], False, 0
        return parts, bulky

    def control(self, frame: bytes) -> None:
        """Send a frame that flow control does not hold back."""
        self.parts.append(frame)
        self._wake()

    # --- without a stream -----------------------------------------------------------------------------------------

    def fits(self, size: int, stream_window: int) -> bool:
        """Whether `send_whole` can send a body of that size now, on a stream that lets through so much."""
        return (
            size <= stream_window
            and size <= self.window
            and size <= self.max_frame_bytes
            and self._turn_bytes < _TURN_BYTES
            and not self._table_update
            and not self.paused
        )

    def send_whole(
        self, stream_id: int, block: bytes, body: Sequence[Bytes], size: int, trailers: bytes
    ) -> None:
        """Send a whole answer, for which there is room. It is for the caller to `wake` where that is needed."""
        self._turn_bytes += size
        self.window -= size
        self.data_frames += 1
        self.header_frames += 2
        self.parts += (
            _pack(len(block) << 8 | _HEADERS, _END_HEADERS, stream_id)
            + block
            + _pack(size << 8, 0, stream_id),
            *body,
            _pack(len(trailers) << 8 | _HEADERS, _END_BOTH, stream_id) + trailers,
        )

    # --- streams --------------------------------------------------------------------------------------------------

    def answer(
        self, stream: StreamState, block: bytes, body: Sequence[Bytes], size: int, trailers: bytes
    ) -> None:
        """Headers, a body of `size` bytes and trailers of an answer at once."""
        alone = stream.state is State.HALF_CLOSED_REMOTE and stream.queue is None
        if alone and self.fits(size, stream.send_window):
            # The same as the three calls below, in one step.
            self.send_whole(stream.id, block, body, size, trailers)
            stream.state = State.CLOSED
            self._closed(stream)
            self._wake()
            return
        self.headers(stream, block, ends=False)
        if size <= _JOINED_BYTES:
            body = (b"".join(body),)
        for part in body:
            self.data(stream, part, ends=False)
        self.headers(stream, trailers, ends=True)

    def headers(self, stream: StreamState, block: bytes, ends: bool) -> None:
        """Send a header block, behind what the stream has queued. Nothing if it is over."""
        if stream.state is State.CLOSED:
            return
        if stream.queue is not None:
            stream.queue.append(Queued(memoryview(b""), ends, block))
            return
        self._send_headers(stream, block, ends)
        self._wake()

    def data(self, stream: StreamState, data: Bytes, ends: bool) -> None:
        """Send a part of a body, or queue what the client does not let through yet. Nothing if the stream is over."""
        if stream.state is State.CLOSED:
            return
        if stream.queue is None:
            stream.queue = deque()
        stream.queue.append(Queued(memoryview(data), ends))
        self.queued_bytes += len(data)
        if len(stream.queue) == 1:
            self._offer(stream)
            self.pump()
        self._wake()

    def reset(self, stream: StreamState, code: ErrorCode) -> None:
        """Give a stream up, unless it is over."""
        if stream.state is State.CLOSED:
            return
        stream.advance(Event.SEND_RESET)
        self.control(frames.reset(stream.id, code))
        self._given_up(stream)

    def forget(self, stream: StreamState) -> None:
        """The stream is over: what it still wanted to send is not sent."""
        if stream.queue is not None:
            self.queued_bytes -= sum(len(entry.data) for entry in stream.queue)
            stream.queue = None
            self.ready.pop(stream.id, None)

    def pump(self) -> None:
        """Send what the windows allow, up to what the socket should take at once."""
        while self.ready and self._turn_bytes < _TURN_BYTES and not self.paused:
            stream = next(iter(self.ready.values()))
            queue = stream.queue
            assert queue  # noqa: S101 - the streams that are ready have something to send
            entry = queue[0]
            if entry.data and self.window <= 0:
                return
            self.ready.popitem(last=False)
            self._send_next(stream, queue)
            if stream.state is State.CLOSED:
                continue
            if queue:
                self._offer(stream)
            else:
                stream.queue = None
                stream.drained()

    @property
    def message_frames(self) -> int:
        """HEADERS and DATA frames that were sent so far."""
        return self.header_frames + self.data_frames

    def _offer(self, stream: StreamState) -> None:
        """Let the stream, which has something to send, take its turn if its own window allows that."""
        if stream.queue and (stream.send_window > 0 or not stream.queue[0].data):
            self.ready[stream.id] = stream

    def _send_next(self, stream: StreamState, queue: deque[Queued]) -> None:
        """Send one frame of the stream."""
        entry = queue[0]
        if entry.block is not None:
            queue.popleft()
            self._send_headers(stream, entry.block, entry.ends)
            return
        size = min(len(entry.data), self.max_frame_bytes, self.window, stream.send_window, _TURN_BYTES)
        # An empty frame may be sent even if a window is negative.
        size = max(size, 0)
        whole = size == len(entry.data)
        ends = entry.ends and whole
        stream.advance(Event.SEND_DATA)
        self._turn_bytes += size
        self.window -= size
        self.data_frames += 1
        self.queued_bytes -= size
        stream.send_window -= size
        stream.progress = True
        self.parts.append(_pack(size << 8, frames.END_STREAM if ends else 0, stream.id))
        if size:
            self.parts.append(entry.data[:size])
            self._bulky = self._bulky or size >= _BULKY_BYTES
        if whole:
            queue.popleft()
        else:
            entry.data = entry.data[size:]
        if ends:
            self._end(stream)

    def _send_headers(self, stream: StreamState, block: bytes, ends: bool) -> None:
        if len(block) > frames.DEFAULT_MAX_FRAME_BYTES:
            raise ValueError(f"a header block of {len(block)} bytes does not fit into a frame")
        stream.advance(Event.SEND_HEADERS)
        self.header_frames += 1
        if self._table_update:
            block, self._table_update = self._table_update + block, b""
        self.parts.append(
            _pack(len(block) << 8 | _HEADERS, _END_BOTH if ends else _END_HEADERS, stream.id) + block
        )
        if ends:
            self._end(stream)

    def _end(self, stream: StreamState) -> None:
        stream.advance(Event.SEND_END)
        if stream.state is State.CLOSED:
            self._closed(stream)

    # --- what the client allows -----------------------------------------------------------------------------------

    def widen(self, increment: int) -> None:
        """A WINDOW_UPDATE for the connection. Raises ConnectionFaultError."""
        self.window += increment
        if self.window > frames.MAX_WINDOW_BYTES:
            raise ConnectionFaultError(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")
        if self.ready:
            self.pump()

    def widen_stream(self, stream: StreamState, increment: int) -> bool:
        """A WINDOW_UPDATE for a stream; False if its window is then too large."""
        stream.send_window += increment
        if stream.send_window > frames.MAX_WINDOW_BYTES:
            return False
        if stream.queue is not None:
            self._offer(stream)
            self.pump()
        return True

    def set_table_size(self, size: int) -> None:
        """The client's setting: that its table is smaller than before has to be acknowledged in the next header block
        (RFC 7541, section 4.2). That ours is empty holds once and for all.
        """
        if size < headers.DEFAULT_TABLE_BYTES and not self._table_given_up:
            self._table_given_up = True
            self._table_update = headers.NO_TABLE

    def set_initial_window(self, size: int, streams: Iterable[StreamState]) -> None:
        """The setting has changed: it moves the windows of all streams, below zero too (section 6.9.2). Raises
        ConnectionFaultError.
        """
        change, self.initial_window = size - self.initial_window, size
        for stream in streams:
            if not self.widen_stream(stream, change):
                raise ConnectionFaultError(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is too large")
            if stream.send_window <= 0:
                self.ready.pop(stream.id, None)
                self._offer(stream)
