"""An HTTP/2 connection of a server on asyncio. Everything that a read has led to leaves in one write."""

import asyncio
from ssl import SSLObject
from typing import Any

from kserve_v2.http2.connection import Connection, Owner
from kserve_v2.http2.errors import ErrorCode
from kserve_v2.http2.fields import Head, ReadHead
from kserve_v2.http2.limits import Http2Limits
from kserve_v2.http2.output import Output
from kserve_v2.http2.stream import STALLED_CHECKS
from kserve_v2.net.read_in_place import LARGE_BYTES, ReadInPlace
from kserve_v2.net.unread import unread_bytes

ALPN = "h2"
"""The protocol's name in TLS."""

# After our GOAWAY, the client may go on sending for this long. Closing at once would reset the connection, and the
# client could lose the GOAWAY that says why.
_LINGER_SECONDS = 1.0

_WRITE_BUFFER_BYTES = 256 * 1024


class _RestOfFrame(ReadInPlace):
    """In the place of a connection's protocol until a large DATA frame is complete, or a part that has a place."""

    def __init__(self, owner: "Http2Protocol[Any]", transport: asyncio.Transport, place: memoryview) -> None:
        super().__init__(owner, transport, place)
        self._owner = owner

    def more(self, nbytes: int) -> None:
        if not self._owner.data_placed(nbytes):
            self.end()


class Http2Protocol(asyncio.Protocol, Owner[Head]):
    """One connection: cleartext with prior knowledge, or TLS with ALPN. What requests mean is for subclasses to say, as
    `Owner` has it.
    """

    def __init__(
        self, read_head: ReadHead[Head], limits: Http2Limits, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.loop = loop
        self.connection: Connection[Head] = Connection(self, read_head, limits, loop.time)
        self.transport: asyncio.Transport
        self._limits = limits
        self._leaving = False
        self._flush_waits = False
        self._written_bytes = 0
        self._check_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        # What `_check` found last time, and how often in a row nothing had changed.
        self._read_progress: object = None
        self._read_stalls = 0
        self._write_progress = 0
        self._write_stalls = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.connection!r}>"

    # --- the connection -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        tls: SSLObject | None = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != ALPN:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self.connection.greet()
        self._check_timer = self.loop.call_later(self._limits.max_stall_s / 2, self._check)

    def data_received(self, data: bytes) -> None:
        if self._leaving:
            return
        self.connection.receive(data)
        self.flush()
        if self.connection.failure is not None:
            self.hang_up()
        elif self.connection.reader.data is not None:
            place = self.connection.place()
            if place is not None and len(place) >= LARGE_BYTES:
                _RestOfFrame(self, self.transport, place).begin()

    def data_placed(self, size: int) -> bool:
        """As `data_received`, for bytes that were read to where they belong. Returns whether more are wanted."""
        if self._leaving:
            return False
        self.connection.receive_placed(size)
        self.flush()
        if self.connection.failure is not None:
            self.hang_up()
        return not self._leaving

    def output_waits(self) -> None:
        if not self._flush_waits:
            self._flush_waits = True
            self.loop.call_soon(self._flush_later)

    def _flush_later(self) -> None:
        self._flush_waits = False
        self.flush()

    def flush(self) -> None:
        """Write what this turn of the loop may write. Of large bodies there is more for the next: a socket may take all
        of one at once, and others would wait while it is copied.
        """
        connection = self.connection
        output = connection.output
        if self._leaving:
            output.take()
            return
        if output.parts:
            self._write(output)
            if output.ready:
                output.pump()
        connection.corked = bool(output.parts)
        if output.parts:
            self.output_waits()

    def _write(self, output: Output) -> None:
        """Write what there is, in one piece if it is small."""
        parts, bulky = output.take()
        transport = self.transport
        if transport.is_closing():
            return
        if bulky:
            self._written_bytes += sum(map(len, parts))
            transport.writelines(parts)
        else:
            data = b"".join(parts)
            self._written_bytes += len(data)
            transport.write(data)
        # Bodies wait in their streams, so this is an excess of answers to PING and SETTINGS frames.
        if output.paused and transport.get_write_buffer_size() > self._limits.max_unread_bytes:
            transport.abort()

    def pause_writing(self) -> None:
        self.connection.output.paused = True

    def resume_writing(self) -> None:
        self.connection.output.paused = False
        self.connection.output.pump()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leaving = True
        for timer in (self._check_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self.connection.table.lose_all()

    def hang_up(self) -> None:
        """Close the connection when all is written. Streams that are not over are lost."""
        if self._leaving or self.transport.is_closing():
            return
        output = self.connection.output
        while output.parts:
            self._write(output)
            output.pump()
        self._leaving = True
        self.connection.table.lose_all()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._linger_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
        else:
            self.transport.close()

    # --- clients that stall ---------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Let go of a client, or of its streams, after `max_stall_s` without progress."""
        self._check_timer = self.loop.call_later(self._limits.max_stall_s / 2, self._check)
        if self._stalls():
            self.transport.abort()
            return
        for stream in list(self.connection.streams.values()):
            if not stream.check():
                stream.reset(ErrorCode.CANCEL)
                stream.lost()

    def _stalls(self) -> bool:
        reader = self.connection.reader
        progress = reader.progress
        self._read_stalls = (
            self._read_stalls + 1 if reader.incomplete and progress == self._read_progress else 0
        )
        self._read_progress = progress
        waits = self.transport.get_write_buffer_size() > 0
        taken = self._written_bytes - unread_bytes(self.transport)
        self._write_stalls = self._write_stalls + 1 if waits and taken == self._write_progress else 0
        self._write_progress = taken
        # The count begins after the first of these checks.
        return max(self._read_stalls, self._write_stalls) >= STALLED_CHECKS - 1
