"""Requests that a worker has read before the server was told to end, and that the home answers. They are answered as if
the home had read them itself: it hears which they are, and a worker has finished only when they are over.
"""

import asyncio


class Accepted:
    """Those of one worker that are under way. `open`: what is forwarded now is one of them."""

    def __init__(self) -> None:
        self.open = True
        self._count = 0
        self._over = asyncio.Event()
        self._over.set()

    def __repr__(self) -> str:
        return f"<Accepted {self._count} under way{', open' if self.open else ''}>"

    def begin(self) -> None:
        """One more."""
        self._count += 1
        self._over.clear()

    def end(self) -> None:
        """One of them is over, however it has ended."""
        self._count -= 1
        if not self._count:
            self._over.set()

    async def over(self) -> None:
        """Wait until none is under way."""
        await self._over.wait()
