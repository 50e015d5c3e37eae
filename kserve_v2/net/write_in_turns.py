"""Writing something large in turns of the event loop: a socket may take all of it at once, and others would wait while
it is copied.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator

TURN_BYTES = 256 * 1024
"""How much is written in a turn."""

Bytes = bytes | memoryview


def _slices(part: Bytes) -> Iterator[Bytes]:
    """A part in pieces, which are not copied."""
    view = memoryview(part)
    for start in range(0, len(view), TURN_BYTES):
        yield view[start : start + TURN_BYTES]


class WriteInTurns:
    """Writes to one transport until all is written, or nobody wants it any more."""

    def __init__(
        self, transport: asyncio.Transport, parts: Iterable[Bytes], written: Callable[[], None]
    ) -> None:
        """`written` is called once all has been handed over, or the transport is closing."""
        self._transport = transport
        self._left = iter([each for part in parts for each in _slices(part)])
        self._written = written
        self._over = False

    def begin(self) -> None:
        """Write what belongs to this turn."""
        self._turn()

    def give_up(self) -> None:
        """Write no more. `written` is not called."""
        self._over = True
        self._left = iter(())

    def finish(self) -> None:
        """Hand over what is left at once."""
        if not self._over:
            self._over = True
            left = list(self._left)
            if left and not self._transport.is_closing():
                self._transport.writelines(left)
            self._written()

    def _turn(self) -> None:
        if self._over:
            return
        size = 0
        batch: list[Bytes] = []
        for part in self._left:
            batch.append(part)
            size += len(part)
            if size >= TURN_BYTES:
                break
        if size < TURN_BYTES or self._transport.is_closing():
            # This is the last of it.
            self._left = iter(batch)
            self.finish()
            return
        self._transport.writelines(batch)
        if self._transport.get_write_buffer_size():
            # The socket is full. From here on it is the client that says how much is copied at a time.
            self.finish()
        else:
            asyncio.get_running_loop().call_soon(self._turn)
