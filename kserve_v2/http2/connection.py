"""One HTTP/2 connection of a server, without I/O: bytes in, frames out, and streams that are told what happens to them.

RFC 9113; there is no push, and priorities are ignored.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from kserve_v2.http2 import frames
from kserve_v2.http2.budget import Clock
from kserve_v2.http2.control import ControlFrames
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode, StreamFaultError
from kserve_v2.http2.fields import Head, ReadHead
from kserve_v2.http2.flow import ReceiveWindow
from kserve_v2.http2.frames import Setting
from kserve_v2.http2.headers import HeaderBlocks
from kserve_v2.http2.limits import Http2Limits
from kserve_v2.http2.output import Response
from kserve_v2.http2.reader import FrameReader
from kserve_v2.http2.stream import Stream
from kserve_v2.http2.stream_state import Bytes, Event, State
from kserve_v2.http2.stream_table import StreamTable

# From this size on, a body is passed on as a view of the read, if it makes up most of it.
_VIEW_BYTES = 16 * 1024


# `fields.Head`, for those who are only given one.
Head_contra = TypeVar("Head_contra", contravariant=True)


class Owner(Protocol[Head_contra]):
    """Who a connection works for."""

    def make_stream(self, stream_id: int, head: Head_contra) -> Stream:
        """The stream for a request."""
        ...

    def respond(
        self, stream_id: int, head: Head_contra, data: bytes, start: int, end: int
    ) -> Response | Stream | None:
        """A request that is there as a whole, with the body `data[start:end]`: its answer, if that can be given at once
        and `output.fits` it; the stream for it, if that has the body already; or None, and it is taken like any
        other.
        """
        ...

    def ping_received(self) -> None:
        """The client has sent a PING. May raise ConnectionFaultError."""
        ...

    def ping_answered(self, payload: bytes) -> None:
        """The client has answered a PING."""
        ...

    def output_waits(self) -> None:
        """Frames are to be sent. Not called while the connection is `corked`, which it is from then on."""
        ...

    def stream_closed(self) -> None:
        """A stream is over, after the last GOAWAY."""
        ...


class Connection(Generic[Head]):
    """The protocol's state. `receive` is for what comes; `output` has what is to be sent."""

    def __init__(
        self, owner: Owner[Head], read_head: ReadHead[Head], limits: Http2Limits, clock: Clock
    ) -> None:
        self.table = StreamTable(limits, clock, self._wake, owner.stream_closed)
        self.streams = self.table.open
        self.output = self.table.output
        self.reader = FrameReader(limits, self)
        self.failure: ConnectionFaultError | None = None
        # Whether the owner already knows that there may be something to send. The owner resets it.
        self.corked = False
        self._owner = owner
        self._limits = limits
        self._blocks = HeaderBlocks(read_head, limits, self.table.budget)
        self._window = ReceiveWindow(limits.connection_window_bytes)
        # These complete the `reader.Sink`.
        control = ControlFrames(self.table, owner.ping_received, owner.ping_answered)
        self.control: Callable[[int, int, int, bytes], None] = control.receive
        self.window_update: Callable[[int, int], None] = control.window_update

    def __repr__(self) -> str:
        return f"<Connection {len(self.streams)} streams, last {self.table.last_id}, {self.output!r}>"

    def receive(self, data: bytes) -> None:
        """Take what has come over the socket; everything is to be sent afterwards. The client's errors become GOAWAY
        and `failure`.
        """
        self.corked = True
        try:
            self.reader.feed(data)
        except ConnectionFaultError as error:
            self._fail(error)

    def receive_placed(self, size: int) -> None:
        """As `receive`, for bytes that were read to `place`."""
        self.corked = True
        try:
            self.reader.placed(size)
        except ConnectionFaultError as error:
            self._fail(error)

    def _fail(self, error: ConnectionFaultError) -> None:
        self.failure = error
        self.goaway(error.code, str(error).encode())

    # --- sending --------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Send our settings, before anything else."""
        limits = self._limits
        self.output.control(
            frames.settings(
                {
                    Setting.HEADER_TABLE_SIZE: limits.header_table_bytes,
                    Setting.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
                    Setting.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
                    Setting.MAX_FRAME_SIZE: limits.max_frame_bytes,
                    Setting.MAX_HEADER_LIST_SIZE: limits.max_header_list_bytes,
                }
            )
        )
        more = limits.connection_window_bytes - frames.DEFAULT_WINDOW_BYTES
        self.output.control(frames.window_update(0, more))

    def ping(self, payload: bytes) -> None:
        """Send a PING of 8 bytes."""
        self.output.control(frames.ping(payload))

    def goaway(
        self, code: ErrorCode = ErrorCode.NO_ERROR, debug: bytes = b"", *, warning: bool = False
    ) -> None:
        """Tell the client to open no more streams. `warning`: those that it opens before it knows are still served."""
        self.table.draining = not warning
        last = frames.LAST_STREAM_ID if warning else self.table.last_id
        self.output.control(frames.goaway(last, code, debug))

    def _wake(self) -> None:
        if not self.corked:
            self.corked = True
            self._owner.output_waits()

    # --- bodies: see `reader.Sink` --------------------------------------------------------------------------------

    def data(self, stream_id: int, data: bytes, start: int, end: int, ends: bool) -> None:
        stream = self.streams.get(stream_id)
        self._take_window(end - start)
        # A body that comes in one frame and fits needs no window.
        alone = ends and end - start <= self._limits.stream_window_bytes
        if stream is not None and not (alone and stream.receive_window is None):
            self._take_stream_window(stream, end - start)
        self.data_part(stream_id, data, start, end, ends)

    def data_begins(self, stream_id: int, length: int, padding: int) -> None:
        stream = self.streams.get(stream_id)
        self._take_window(length)
        if stream is not None:
            self._take_stream_window(stream, length)
            stream.credit(padding)

    def data_part(self, stream_id: int, data: bytes, start: int, end: int, ends: bool) -> None:
        size = end - start
        stream = self._advance(stream_id, size, ends)
        if stream is not None:
            part: Bytes = data[start:end]
            if size >= _VIEW_BYTES and size * 2 > len(data):
                part = memoryview(data)[start:end]
            stream.data_received(part, ends)

    def data_placed(self, stream_id: int, size: int, ends: bool) -> None:
        stream = self._advance(stream_id, size, ends)
        if stream is not None:
            stream.data_placed(size, ends)

    def _take_window(self, length: int) -> None:
        """Count a frame's length, padding included, against the connection's window. It is given back at once: what
        holds a client back is the window of a stream.
        """
        window = self._window
        if not window.receive(length):
            raise ConnectionFaultError(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        increment = window.consume(length)
        if increment:
            self.output.control(frames.window_update(0, increment))

    def _take_stream_window(self, stream: Stream, length: int) -> None:
        if stream.receive_window is None:
            stream.receive_window = ReceiveWindow(self._limits.stream_window_bytes)
        if not stream.receive_window.receive(length):
            self.table.fail(stream, ErrorCode.FLOW_CONTROL_ERROR)

    def _advance(self, stream_id: int, size: int, ends: bool) -> Stream | None:
        """The stream for which data has come. None: it is over, or that is against the rules, and it has failed."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.state is State.CLOSED:
            self._data_on_closed(stream_id)
            return None
        if not stream.allows(Event.RECEIVE_DATA):
            self.table.fail(stream, ErrorCode.STREAM_CLOSED)
            return None
        if not size and not ends:
            self.table.budget.empty_data.spend("empty DATA frames")
        if ends:
            self._end(stream)
        return stream

    def _end(self, stream: Stream) -> None:
        """The client has said all."""
        stream.advance(Event.RECEIVE_END)
        if stream.state is State.CLOSED:
            self.table.closed(stream)

    def place(self) -> memoryview | None:
        """Where what is missing of a DATA frame can be read to, or None: then `receive` gets it."""
        part = self.reader.data
        stream = self.streams.get(part.stream_id) if part is not None and part.left else None
        place = None if stream is None else stream.place()
        return None if part is None or place is None else place[: part.left]

    def _data_on_closed(self, stream_id: int) -> None:
        self.table.check_not_idle(stream_id, "DATA")
        self.table.count_overhead()
        if not self.table.was_reset(stream_id) and stream_id <= self.table.last_id:
            self.table.reset_unknown(stream_id, ErrorCode.STREAM_CLOSED)

    # --- requests that came whole: see `reader.Sink` --------------------------------------------------------------

    def request(self, stream_id: int, block: bytes, update: int, data: bytes, start: int, end: int) -> bool:
        """A request that is answered at once opens and closes its stream in one step: there is no state to keep. None
        comes into question that breaks a rule.
        """
        table = self.table
        size = end - start
        if (
            not stream_id & 1
            or stream_id <= table.last_id
            or table.draining
            or (table.open and table.full)
            or size > self._window.left
            or size > self._limits.stream_window_bytes
            or (update and not self._may_widen(update))
        ):
            self.header_block(stream_id, block, ends=False)
            return False
        head = self._read_head(stream_id, block)
        if head is None:
            return False
        response = self._owner.respond(stream_id, head, data, start, end)
        if response is None:
            self._begin(self._owner.make_stream(stream_id, head), ends=False)
            return False
        self._take_window(size)
        if isinstance(response, Stream):
            self._begin(response, ends=True)
        else:
            self.output.send_whole(stream_id, *response)
            table.budget.answered += 1
        if update:
            self.window_update(stream_id, update)
        return True

    def _read_head(self, stream_id: int, block: bytes) -> Head | None:
        """What is asked on a new stream; None if that is no request, and refused."""
        self.table.last_id = stream_id
        try:
            return self._blocks.request(block)
        except StreamFaultError as error:
            self.table.refuse(stream_id, error.code)
            return None

    def _may_widen(self, word: int) -> bool:
        """Whether a WINDOW_UPDATE is right for a stream that has sent nothing."""
        return 0 < word & frames.MAX_WINDOW_BYTES <= frames.MAX_WINDOW_BYTES - self.output.initial_window

    # --- header blocks --------------------------------------------------------------------------------------------

    def header_block(self, stream_id: int, block: bytes, ends: bool) -> None:
        if not stream_id & 1:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}")
        if stream_id > self.table.last_id:
            self._open(stream_id, block, ends)
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._blocks.skip(block)
            if not self.table.was_reset(stream_id):
                raise ConnectionFaultError(
                    ErrorCode.STREAM_CLOSED, f"HEADERS on stream {stream_id}, which is closed"
                )
            self.table.count_overhead()
        else:
            self._trailers(stream, block, ends)

    def _open(self, stream_id: int, block: bytes, ends: bool) -> None:
        if self.table.draining:
            # The client opened it before it read our GOAWAY, which says that it is not served.
            self._blocks.skip(block)
            self.table.count_overhead()
            return
        head = self._read_head(stream_id, block)
        if head is None:
            return
        if self.table.full:
            self.table.refuse(stream_id, ErrorCode.REFUSED_STREAM)
        else:
            self._begin(self._owner.make_stream(stream_id, head), ends)

    def _begin(self, stream: Stream, ends: bool) -> None:
        if ends:
            stream.advance(Event.RECEIVE_END)
        self.streams[stream.id] = stream
        stream.opened(ends)

    def _trailers(self, stream: Stream, block: bytes, ends: bool) -> None:
        try:
            self._blocks.trailers(block)
        except StreamFaultError as error:
            self.table.fail(stream, error.code)
            return
        if not stream.allows(Event.RECEIVE_HEADERS):
            self.table.fail(stream, ErrorCode.STREAM_CLOSED)
        elif not ends:
            self.table.fail(stream, ErrorCode.PROTOCOL_ERROR)
        else:
            self._end(stream)
            stream.data_received(b"", True)
