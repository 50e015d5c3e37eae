"""Accepting connections at a place whose server shares them with others."""

import asyncio
import logging
import socket
from collections.abc import Callable

from kserve_v2.net.sockets import ACCEPTED_PER_TURN, BACKLOG, EXHAUSTED, EXHAUSTED_PAUSE_S

logger = logging.getLogger(__name__)


class Acceptor:
    """On an event loop. Whoever has bound the socket closes it."""

    def __init__(self, listening: socket.socket, take: Callable[[socket.socket], None]) -> None:
        """`listening`: bound. `take`: gets each connection, which does not block."""
        self._socket = listening
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen."""
        self._socket.setblocking(False)
        self._socket.listen(BACKLOG)
        self._resume()

    def stop(self) -> None:
        """Accept nothing any more."""
        if self._pause is not None:
            self._pause.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())

    def _resume(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    # There is none, or its client has left; see accept(2).
                    return
                # It stays readable, and this would be called again and again.
                logger.error("no connection is accepted for %g s: %s", EXHAUSTED_PAUSE_S, error.strerror)  # noqa: TRY400
                self._loop.remove_reader(self._socket.fileno())
                self._pause = self._loop.call_later(EXHAUSTED_PAUSE_S, self._resume)
                return
            connection.setblocking(False)
            self._take(connection)
