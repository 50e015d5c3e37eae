"""Reading a large body from the socket to where it is used, without a copy in between.

A parser hands a body on in pieces, each of them copied from what was read, and the pieces have to be joined. Once the
size of a body is known, the transport can read into the memory that is going to be the body.
"""

import asyncio
from collections.abc import Callable, Sequence

from kserve_v2.raw_tensor import aligned_memory

LARGE_BYTES = 64 * 1024
"""How much of a body has to be missing for this to be worth it."""


class LargeBody(asyncio.BufferedProtocol):
    """In the place of a connection's protocol until the body is complete."""

    def __init__(
        self,
        connection: asyncio.Protocol,
        transport: asyncio.Transport,
        size: int,
        parts: Sequence[bytes | memoryview],
        aligned_at: int,
        on_more: Callable[["LargeBody"], None],
    ) -> None:
        """`size` of the body in bytes; `parts`: what the connection has read of it. `aligned_at`: where in the body
        tensors begin. `on_more` is called whenever more has come.
        """
        self._connection = connection
        self._transport = transport
        self._on_more = on_more
        # A client that announces much and sends little makes the server use little.
        self._whole = aligned_memory(size, aligned_at=aligned_at)
        self._read_bytes = 0
        for part in parts:
            self._whole[self._read_bytes : self._read_bytes + len(part)] = part
            self._read_bytes += len(part)

    def __repr__(self) -> str:
        return f"<LargeBody {self._read_bytes} of {len(self._whole)} bytes>"

    def begin(self) -> None:
        """Take the connection's place."""
        self._transport.set_protocol(self)

    @property
    def body(self) -> memoryview | None:
        """The body when it is complete."""
        return self._whole if self._read_bytes == len(self._whole) else None

    def end(self) -> None:
        """Give the connection its place back."""
        self._transport.set_protocol(self._connection)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio.BufferedProtocol. What follows the body is left for the connection to read."""
        return self._whole[self._read_bytes :]

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        self._read_bytes += nbytes
        self._on_more(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.BaseProtocol; so the next two."""
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """The transport has much to write."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The transport has written most of it."""
        self._connection.resume_writing()
