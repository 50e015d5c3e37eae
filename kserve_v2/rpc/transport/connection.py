"""One connection of a gRPC server: its calls, keepalive, age and end."""

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from kserve_v2.errors import ResourceExhaustedError
from kserve_v2.http2.errors import ConnectionFaultError, ErrorCode
from kserve_v2.http2.limits import Http2Limits
from kserve_v2.http2.output import Response
from kserve_v2.http2.protocol import Http2Protocol
from kserve_v2.http2.stream import Stream
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.rpc.calls import Asked
from kserve_v2.rpc.options import GrpcOptions
from kserve_v2.rpc.transport.call import Call
from kserve_v2.rpc.transport.deadlines import Deadlines
from kserve_v2.rpc.transport.head import HeadReader, RequestHead
from kserve_v2.rpc.transport.keepalive import KEEPALIVE_PING, Keepalive, PingStrikes
from kserve_v2.rpc.transport.kinds import CALLS, AskedCall
from kserve_v2.rpc.transport.messages import PREFIX
from kserve_v2.rpc.transport.metadata import OK_TRAILERS
from kserve_v2.scheduling.slices import Slicer

_DRAIN_PING = b"draining"

# A connection ends up to this share earlier or later than its maximum age, so that connections that were made together
# do not all come back together.
_AGE_JITTER = 0.1


class Server(Protocol):
    """What a connection needs of its server."""

    heads: HeadReader
    options: GrpcOptions
    limits: Http2Limits
    inflight: InflightBytes
    slicer: Slicer

    def opened(self, connection: "GrpcConnection") -> None:
        """The connection is there."""
        ...

    def closed(self, connection: "GrpcConnection") -> None:
        """The connection is gone."""
        ...


class GrpcConnection(Http2Protocol[RequestHead]):
    """One connection."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server.heads.read, server.limits, loop)
        self.on_lost: Callable[[], None] | None = None
        self.options = server.options
        self.slicer = server.slicer
        self.deadlines = Deadlines(loop)
        # Bytes of all messages that are not complete yet, or wait for their call.
        self._buffered_bytes = 0
        self._inflight = server.inflight
        self._server = server
        self._strikes = PingStrikes(server.options, loop.time)
        self._keepalive = Keepalive(server.options, self)
        self._draining = False
        self._age_timer: asyncio.TimerHandle | None = None

    # --- what calls hold: see `call.Owner` ------------------------------------------------------------------------

    def buffer(self, size: int) -> None:
        self._buffered_bytes += size
        self._inflight.hold(size)

    def check_buffered(self) -> None:
        if self._buffered_bytes > self.options.max_buffered_bytes:
            raise ResourceExhaustedError("this connection has too many unfinished messages")
        if self._inflight.exceeded:
            raise self._inflight.refusal(0)

    # --- see `http2.connection.Owner` -----------------------------------------------------------------------------

    def make_stream(self, stream_id: int, head: RequestHead) -> Stream:
        return CALLS[type(head.terms.rpc)](self, stream_id, head)

    def respond(
        self, stream_id: int, head: RequestHead, data: bytes, start: int, end: int
    ) -> Response | Stream | None:
        """A call of a `Direct` RPC with one message, like one that was answered before."""
        terms = head.terms
        recall = terms.recall
        size = end - start - PREFIX.size
        if recall is None or size < 0:
            return None
        compressed, length = PREFIX.unpack_from(data, start)
        if compressed or length != size or length > self.options.max_request_bytes:
            return None
        try:
            found = recall(data[start + PREFIX.size : end])
        except Exception as error:  # noqa: BLE001 - a defect of ours is one request's failure
            return AskedCall(self, stream_id, head, error)
        if found is None:
            return None
        if not isinstance(found, Asked):
            size = PREFIX.size + sum(map(len, found))
            output = self.connection.output
            if output.fits(size, output.initial_window):
                prefix = PREFIX.pack(0, size - PREFIX.size)
                return terms.answer_headers, (prefix, *found), size, OK_TRAILERS
        return AskedCall(self, stream_id, head, found)

    def ping_received(self) -> None:
        connection = self.connection
        if self._strikes.ping(connection.output.message_frames, idle=not connection.streams):
            raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")

    def ping_answered(self, payload: bytes) -> None:
        if payload == KEEPALIVE_PING:
            self._keepalive.answered()
        elif payload == _DRAIN_PING and self._draining:
            # All that the client has opened before it knew is there.
            self.connection.goaway()
            self.stream_closed()

    def stream_closed(self) -> None:
        if not self.connection.streams:
            self.loop.call_soon(self.hang_up)

    # --- the life of the connection -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._server.opened(self)
        self._keepalive.start()
        if self.options.max_connection_age_ms:
            jitter = random.uniform(1 - _AGE_JITTER, 1 + _AGE_JITTER)  # noqa: S311 - nothing secret
            age_s = self.options.max_connection_age_ms / 1000 * jitter
            self._age_timer = self.loop.call_later(age_s, self._end_of_age)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._server.closed(self)
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()
        self._keepalive.stop()
        self.deadlines.stop()
        if self._age_timer is not None:
            self._age_timer.cancel()

    def _end_of_age(self) -> None:
        self.drain()
        grace_ms = self.options.max_connection_age_grace_ms
        if grace_ms:
            self._age_timer = self.loop.call_later(grace_ms / 1000, self.abandon)

    def drain(self) -> None:
        """Take no new calls, and close the connection when those under way are over. The client is told first, and
        what it opens until it answers is still served.
        """
        if self._draining or self.transport.is_closing():
            return
        self._draining = True
        self.connection.goaway(warning=True)
        self.connection.ping(_DRAIN_PING)

    def abandon(self) -> None:
        """Give up the calls that are still under way, and close the connection."""
        for stream in list(self.connection.streams.values()):
            assert isinstance(stream, Call)  # noqa: S101 - made here
            stream.abandon()
        self.connection.goaway()
        self.flush()
        self.hang_up()
