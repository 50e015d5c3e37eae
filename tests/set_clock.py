"""A clock for decisions about time, which only the test moves."""

import asyncio


class SetClock(asyncio.SelectorEventLoop):
    """A loop whose time the test says."""

    now_s = 0.0

    def time(self) -> float:
        return self.now_s

    async def at(self, now_s: float) -> None:
        """It is so late now, and everything has been done that was due."""
        self.now_s = now_s
        for _ in range(3):
            await asyncio.sleep(0)
