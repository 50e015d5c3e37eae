"""Reading from a socket to where the bytes are used, without a copy in between.

A transport hands over what it has read in pieces, each a copy, and whoever takes them copies them once more to where
they belong. Once that place is known, the transport can read to it. For a while after that it reads little at a time,
so that of the next large thing, too, little is copied.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence

# On Windows, asyncio's transports may stay with a protocol for the rest of what they have read, whatever takes its
# place meanwhile.
LARGE_BYTES = 64 * 1024 if sys.platform != "win32" else sys.maxsize
"""How much has to be missing for this to be worth it."""

# What follows something large is often large, too: of that, no more than so much is read before it has a place. After
# so many reads without anything large, reads are as long as before.
_SHORT_READ_BYTES = 16 * 1024
_SHORT_READS = 8


# No more is read at once. libuv goes on reading in one turn of the loop while as much comes as there is room for, up to
# 32 times: others would wait while all of something large is copied.
_READ_BYTES = 64 * 1024


class _Deputy(asyncio.BufferedProtocol):
    """In the place of a connection's protocol for a time: it says where the transport reads to."""

    def __init__(self, connection: asyncio.Protocol, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport

    def begin(self) -> None:
        """Take the connection's place."""
        self._transport.set_protocol(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed."""
        self._connection.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """The client sends no more. Returns whether the connection stays open."""
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        """The transport has much to write."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The transport has written most of it."""
        self._connection.resume_writing()


class ReadInPlace(_Deputy):
    """In the place of a connection's protocol until `place` is full."""

    def __init__(self, connection: asyncio.Protocol, transport: asyncio.Transport, place: memoryview) -> None:
        super().__init__(connection, transport)
        # What is left of it.
        self._place = place

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._place)} bytes missing>"

    def more(self, nbytes: int) -> None:
        """So many bytes have come. If those were the last, this has ended already."""
        raise NotImplementedError

    def end(self) -> None:
        """Give the connection its place back, by way of short reads."""
        _ShortReads(self._connection, self._transport).begin()

    def get_buffer(self, sizehint: int) -> memoryview:
        """What comes next of `place`. What follows that is left for the connection to read."""
        return self._place[:_READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` have been read to the place."""
        self._place = self._place[nbytes:]
        if not self._place:
            self.end()
        self.more(nbytes)


class ReadWhole(ReadInPlace):
    """In the place of a connection's protocol until something of a known size is complete. A parser would hand it on in
    pieces, and these would have to be joined.
    """

    def __init__(
        self,
        connection: asyncio.Protocol,
        transport: asyncio.Transport,
        whole: memoryview,
        parts: Sequence[bytes | memoryview],
        on_more: Callable[["ReadWhole", memoryview | None], None],
    ) -> None:
        """`parts`: what the connection has read of it, which is put to the beginning of `whole`. `on_more` is called
        whenever more has come, with `whole` when that was the last of it.
        """
        self._whole = whole
        self._on_more = on_more
        read_bytes = 0
        for part in parts:
            whole[read_bytes : read_bytes + len(part)] = part
            read_bytes += len(part)
        super().__init__(connection, transport, whole[read_bytes:])

    @property
    def read_bytes(self) -> int:
        """How much of it is there."""
        return len(self._whole) - len(self._place)

    def more(self, nbytes: int) -> None:
        self._on_more(self, None if self._place else self._whole)


class _ShortReads(_Deputy):
    """Hands on what is read, but little at a time; after a while the connection has its place back."""

    def __init__(self, connection: asyncio.Protocol, transport: asyncio.Transport) -> None:
        super().__init__(connection, transport)
        self._left = _SHORT_READS
        # Only for as long as it is read to: a connection that idles has none.
        self._buffer = bytearray()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._left} left>"

    def get_buffer(self, sizehint: int) -> memoryview:
        """Room for a short read. A view, because asyncio's TLS reads to slices of it."""
        self._buffer = bytearray(_SHORT_READ_BYTES)
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        """Let the connection have what was read."""
        data = bytes(memoryview(self._buffer)[:nbytes])
        self._buffer = bytearray()
        self._left -= 1
        # Before it hears of the data, because it may set a protocol, too.
        if not self._left:
            self._transport.set_protocol(self._connection)
        self._connection.data_received(data)
