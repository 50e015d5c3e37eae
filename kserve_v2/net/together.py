"""Answers that are there in the same turn of the event loop. All but the first are sent at its end, one right behind
the other: each wakes a client up, which may take the CPU, and until then that has the server's code at hand. An answer
that is there alone is sent at once.

To see the end of a turn takes another turn. Where answers come alone, it is looked for behind a few of them only.
"""

import asyncio
from collections.abc import Callable

from kserve_v2.net.answer_text import Parts

# Behind so many answers that came alone, others are looked for after one in so many. A power of two.
_MOST_ALONE, _LOOK_EVERY = 4, 8


class Together:
    """The turn that is under way, for all connections of a server."""

    _loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self._begun = False
        # Answers in a row behind which no other one was seen in the same turn.
        self._alone = 0

    def is_first(self) -> bool:
        """Whether an answer is the first of this turn, or taken for it."""
        if self._begun:
            self._alone = 0
            return False
        self._alone += 1
        if self._alone <= _MOST_ALONE or self._alone % _LOOK_EVERY == 0:
            self._begun = True
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._end)
        return True

    def _end(self) -> None:
        self._begun = False

    def at_end(self, send: Callable[[Parts], None], answer: Parts) -> None:
        """Have an answer sent that is not the first."""
        self._loop.call_soon(send, answer)
