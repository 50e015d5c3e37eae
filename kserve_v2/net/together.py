"""Answers that are there in the same turn of the event loop. All but the first are sent at its end, one right behind
the other: each wakes a client up, which may take the CPU, and until then that has the server's code at hand. An answer
that is there alone is sent at once.
"""

import asyncio
from collections.abc import Callable

from kserve_v2.net.answer_text import Parts


class Together:
    """The turn that is under way, for all connections of a server."""

    def __init__(self) -> None:
        self._begun = False

    def is_first(self) -> bool:
        """Whether an answer is the first of this turn."""
        if self._begun:
            return False
        self._begun = True
        asyncio.get_running_loop().call_soon(self._end)
        return True

    def _end(self) -> None:
        self._begun = False

    def at_end(self, send: Callable[[Parts], None], answer: Parts) -> None:
        """Have an answer sent that is not the first."""
        asyncio.get_running_loop().call_soon(send, answer)
