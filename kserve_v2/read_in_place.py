"""Reading from a socket to where the bytes are used, without a copy in between.

A transport hands over what it has read in pieces, each a copy, and whoever takes them copies them once more to where
they belong. Once that place is known, the transport can read to it.
"""

import asyncio

LARGE_BYTES = 64 * 1024
"""How much has to be missing for this to be worth it."""


class ReadInPlace(asyncio.BufferedProtocol):
    """In the place of a connection's protocol until `place` is full."""

    def __init__(self, connection: asyncio.Protocol, transport: asyncio.Transport, place: memoryview) -> None:
        self._connection = connection
        self._transport = transport
        # What is left of it.
        self._place = place

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._place)} bytes missing>"

    def more(self, nbytes: int) -> None:
        """So many bytes have come. If those were the last, the connection has its place back."""
        raise NotImplementedError

    def begin(self) -> None:
        """Take the connection's place."""
        self._transport.set_protocol(self)

    def end(self) -> None:
        """Give the connection its place back."""
        self._transport.set_protocol(self._connection)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio.BufferedProtocol. What follows is left for the connection to read."""
        return self._place

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        self._place = self._place[nbytes:]
        if not self._place:
            self.end()
        self.more(nbytes)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.BaseProtocol; so the next two."""
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """The transport has much to write."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The transport has written most of it."""
        self._connection.resume_writing()
