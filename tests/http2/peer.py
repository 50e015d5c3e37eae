"""A connection under test in memory: what a client sends is bytes, what it gets is a list of frames."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from kserve_v2.http2 import frames, headers
from kserve_v2.http2.connection import Connection
from kserve_v2.http2.errors import ErrorCode
from kserve_v2.http2.fields import Field
from kserve_v2.http2.frames import Kind
from kserve_v2.http2.limits import Http2Limits
from kserve_v2.http2.output import Response
from kserve_v2.http2.stream import Stream
from kserve_v2.http2.stream_state import Bytes

GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"test")]
POST = [(b":method", b"POST"), *GET[1:]]

ANSWER = headers.encode([(b":status", b"200")])
TRAILERS = headers.encode([(b"end", b"yes")])


class Frame(NamedTuple):
    """One frame."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


def frame(kind: int, stream_id: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """A frame as bytes, arguments in the order of use."""
    return frames.frame(kind, flags, stream_id, payload)


def request(stream_id: int, fields: Sequence[Field] = GET, *, ends: bool = True) -> bytes:
    """A HEADERS frame."""
    flags = frames.END_HEADERS | (frames.END_STREAM if ends else 0)
    return frame(Kind.HEADERS, stream_id, headers.encode(fields), flags)


def read_frames(data: bytes) -> list[Frame]:
    """All frames of some bytes, which end with one."""
    found = []
    while data:
        word, flags, stream_id = frames.HEAD.unpack_from(data)
        end = frames.HEADER_BYTES + (word >> 8)
        found.append(Frame(word & 0xFF, flags, stream_id, data[frames.HEADER_BYTES : end]))
        assert len(data) >= end
        data = data[end:]
    return found


class EchoStream(Stream):
    """Answers with the request's body, when that is complete."""

    def __init__(self, connection: "Connection[Sequence[Field]]", stream_id: int, hold: bool) -> None:
        super().__init__(connection.output, stream_id)
        self.body = bytearray()
        self.ended = False
        self.was_lost = False
        self.drains = 0
        self.hold = hold
        self.at_once = False

    def opened(self, ended: bool) -> None:
        if ended:
            self.data_received(b"", True)

    def data_received(self, data: Bytes, ended: bool) -> None:
        self.body += data
        self.consumed(len(data))
        if ended:
            self.ended = True
            if not self.hold:
                self.answer()

    def answer(self) -> None:
        """Send the body back."""
        if self.at_once:
            body = bytes(self.body)
            self.output.answer(self, ANSWER, (body,), len(body), TRAILERS)
            return
        self.send_headers(ANSWER)
        self.send_data(bytes(self.body))
        self.send_headers(TRAILERS, ends=True)

    def lost(self) -> None:
        self.was_lost = True

    def drained(self) -> None:
        self.drains += 1


class Client:
    """Bytes in, frames out. Time is what `now_s` says."""

    def __init__(
        self,
        limits: Http2Limits | None = None,
        *,
        hold: bool = False,
        greet: bool = True,
        direct: bool = False,
        at_once: bool = False,
    ) -> None:
        """`hold`: streams are not answered by themselves. `at_once`: their answers are sent in one step. `direct`: requests
        that come whole are answered without a stream, and listed in `responded`.
        """
        self.now_s = 1000.0
        self.heads: list[Sequence[Field]] = []
        self.responded: list[int] = []
        self._direct = direct
        self._at_once = at_once
        self.seen: dict[int, EchoStream] = {}
        self.pings = 0
        self.answered: list[bytes] = []
        self.closed = 0
        self.wakes = 0
        self._hold = hold
        self.connection: Connection[Sequence[Field]] = Connection(
            self, self.read_head, limits or Http2Limits(), lambda: self.now_s
        )
        if greet:
            self.connection.greet()
            self.send(frames.PREFACE + frame(Kind.SETTINGS, 0))

    def send(self, data: bytes) -> list[Frame]:
        """What is answered to some bytes."""
        self.connection.receive(data)
        return self.take()

    def take(self) -> list[Frame]:
        """What is to be sent."""
        return read_frames(drain(self.connection))

    def failure(self, data: bytes) -> tuple[ErrorCode, str]:
        """The error with which the connection ends over some bytes; the client is told."""
        sent = self.send(data)
        error = self.connection.failure
        assert error is not None
        assert sent[-1].kind == Kind.GOAWAY
        assert sent[-1].payload[4:] == int(error.code).to_bytes(4, "big") + str(error).encode()
        return error.code, str(error)

    # --- see `connection.Owner`

    def read_head(
        self, fields: Sequence[Field], nbytes: int, begun: Sequence[Field] | None = None, count: int = 0
    ) -> Sequence[Field]:
        self.heads.append(fields)
        return fields

    def make_stream(self, stream_id: int, head: Sequence[Field]) -> EchoStream:
        stream = self.seen[stream_id] = EchoStream(self.connection, stream_id, self._hold)
        stream.at_once = self._at_once
        return stream

    def respond(
        self, stream_id: int, head: Sequence[Field], data: bytes, start: int, end: int
    ) -> Response | Stream | None:
        if not self._direct:
            return None
        output = self.connection.output
        if self._hold or not output.fits(end - start, output.initial_window):
            stream = self.make_stream(stream_id, head)
            stream.body += data[start:end]
            return stream
        self.responded.append(stream_id)
        return ANSWER, (data[start:end],), end - start, TRAILERS

    def ping_received(self) -> None:
        self.pings += 1

    def ping_answered(self, payload: bytes) -> None:
        self.answered.append(payload)

    def output_waits(self) -> None:
        self.wakes += 1

    def stream_closed(self) -> None:
        self.closed += 1


def drain(connection: "Connection[Any]") -> bytes:
    """All that is to be sent now, as `Http2Protocol.flush` would write it."""
    sent, output = b"", connection.output
    output.pump()
    while output.parts:
        sent += b"".join(output.take()[0])
        output.pump()
    connection.corked = False
    return sent


def resets(found: list[Frame]) -> dict[int, ErrorCode]:
    """The streams that are reset, and why."""
    return {
        each.stream_id: ErrorCode(int.from_bytes(each.payload, "big"))
        for each in found
        if each.kind == Kind.RST_STREAM
    }


def body_of(found: list[Frame], stream_id: int) -> bytes:
    """The data of one stream."""
    return b"".join(each.payload for each in found if (each.kind, each.stream_id) == (Kind.DATA, stream_id))
