"""Counting what is under way, so that others can wait until nothing is."""

import asyncio


class UnderWay:
    """A count that is waited for. Lives on the event loop."""

    __slots__ = ("_idle", "count")

    def __init__(self) -> None:
        self.count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __repr__(self) -> str:
        return f"<UnderWay {self.count}>"

    def begin(self) -> None:
        """One more is under way."""
        if not self.count:
            self._idle.clear()
        self.count += 1

    def end(self) -> None:
        """One of them is over."""
        self.count -= 1
        if not self.count:
            self._idle.set()

    async def none(self) -> None:
        """Wait until nothing is under way."""
        await self._idle.wait()
