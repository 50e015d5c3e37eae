"""Messages that wait to be sent with those behind them, where they outlive the process that has written them: memory
that the reader has as well, and looks at when the other side is gone.
"""

from __future__ import annotations

import os
import struct
import time
from typing import Callable

from .memory import create, mapping

_LENGTH = struct.Struct("<Q")
MOST_BYTES = 64 * 1024
"""Of all that waits."""

# Nobody waits longer for a message that comes soon, or, where none comes, than the thread that tends channels does.
MOST_WAIT_S = 0.001


class Outbox:
    """Keeps messages. Of one thread at a time."""

    def __init__(self, descriptor: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Takes the descriptor of the other side's `LeftOutbox`. Raises OSError where it cannot be mapped."""
        self._clock = clock
        self._size = 0
        self._since_s = 0.0
        try:
            # Not written by its descriptor: a model that closes all that there are may open a file of that number.
            self._memory = mapping(descriptor, _LENGTH.size + MOST_BYTES)
        finally:
            os.close(descriptor)

    @property
    def is_due(self) -> bool:
        """Whether what waits has waited long enough."""
        return self._size > 0 and self._clock() - self._since_s > MOST_WAIT_S

    def append(self, data: bytes) -> bool:
        """Keep one more message; False where there is no room for it."""
        size = self._size + len(data)
        if size > MOST_BYTES:
            return False
        if not self._size:
            self._since_s = self._clock()
        start = _LENGTH.size + self._size
        self._memory[start : start + len(data)] = data
        # Last: until then nothing has been added, whenever the process dies.
        self._memory[: _LENGTH.size] = _LENGTH.pack(size)
        self._size = size
        return True

    def clear(self) -> None:
        """All of it has been sent. The reader sees it again if the process dies before this."""
        if self._size:
            self._memory[: _LENGTH.size] = _LENGTH.pack(0)
            self._size = 0


class LeftOutbox:
    """What is read of an outbox, once its writer is gone."""

    def __init__(self) -> None:
        """Raises OSError where there is no memory left, or no descriptor."""
        self._descriptor = create(_LENGTH.size + MOST_BYTES)

    def fileno(self) -> int:
        """The descriptor, for the other side."""
        return self._descriptor

    def left(self) -> bytes:
        """What the other side has left behind, whatever it is."""
        length = os.pread(self._descriptor, _LENGTH.size, 0)
        if len(length) < _LENGTH.size:
            return b""
        return os.pread(self._descriptor, min(_LENGTH.unpack(length)[0], MOST_BYTES), _LENGTH.size)

    def close(self) -> None:
        """Close the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()
