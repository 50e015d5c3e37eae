"""Large bodies, read from the socket to where they are used.

A parser hands a body on in pieces, and these have to be joined. Once the size of a body is known, neither is needed.
"""

import asyncio
from collections.abc import Callable, Sequence

from kserve_v2.net.read_in_place import ReadInPlace
from kserve_v2.tensors.raw import aligned_memory


class LargeBody(ReadInPlace):
    """In the place of a connection's protocol until the body is complete."""

    def __init__(
        self,
        connection: asyncio.Protocol,
        transport: asyncio.Transport,
        size: int,
        parts: Sequence[bytes | memoryview],
        aligned_at: int,
        on_more: Callable[["LargeBody", memoryview | None], None],
    ) -> None:
        """`size` of the body in bytes; `parts`: what the connection has read of it. `aligned_at`: where in the body
        tensors begin. `on_more` is called whenever more has come, with the body when that was the last of it.
        """
        # The pages are only used once they are written: a client that announces much and sends little costs little.
        self._whole = aligned_memory(size, aligned_at=aligned_at)
        self._on_more = on_more
        read_bytes = 0
        for part in parts:
            self._whole[read_bytes : read_bytes + len(part)] = part
            read_bytes += len(part)
        super().__init__(connection, transport, self._whole[read_bytes:])

    @property
    def read_bytes(self) -> int:
        """How much of the body is there."""
        return len(self._whole) - len(self._place)

    def more(self, nbytes: int) -> None:
        self._on_more(self, None if self._place else self._whole)
