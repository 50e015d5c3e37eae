"""Flow control of the messages in an exchange: a slow reader slows down whoever sends to it, and nobody else."""

import asyncio

WINDOW_BYTES = 128 * 1024
"""How much may be on its way before the other side has taken some of it. The message that passes this is sent, too."""


class Window:
    """What one side may send."""

    __slots__ = ("_left", "_opened")

    def __init__(self, size: int = WINDOW_BYTES) -> None:
        self._left = size
        self._opened = asyncio.Event()

    def spend(self, size: int) -> None:
        """So much was sent."""
        self._left -= size

    def credit(self, size: int) -> None:
        """The other side has taken so much."""
        self._left += size
        if self._left > 0:
            self._opened.set()

    def open(self) -> None:
        """Let who waits go on in any case: the exchange is over."""
        self._left = 2**62
        self._opened.set()

    async def room(self) -> None:
        """Wait until the next message may be sent."""
        while self._left <= 0:
            self._opened.clear()
            await self._opened.wait()
