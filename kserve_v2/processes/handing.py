"""Handing connections from one process to another: both ends of a socket that carries descriptors, and, the other way,
that connections are closed. Neither end ever waits for the other.

A connection is one byte, its door, with its descriptor beside it; a closed one is the byte of its door.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable

from kserve_v2.logs.sparing import Sparing
from kserve_v2.net.sockets import ACCEPTED_PER_TURN, EXHAUSTED, EXHAUSTED_PAUSE_S
from kserve_v2.processes.balance import Door

logger = logging.getLogger(__name__)

# macOS has no such flag; there it is set afterwards.
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_READ_BYTES = 64 * 1024


class HandOver:
    """The end of the process that accepts connections. On its event loop."""

    def __init__(self, sock: socket.socket, closed: Callable[[Door, int], None]) -> None:
        """`sock`: one end of a pair. `closed`: so many connections that were handed over are closed."""
        sock.setblocking(False)
        self._socket = sock
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._read)

    def hand(self, door: Door, connection: socket.socket) -> bool:
        """Hand over a connection, which is closed here. False: there is no room for it at present, or the other process
        is gone, and it stays here.
        """
        try:
            socket.send_fds(self._socket, [bytes((door,))], [connection.fileno()])
        except OSError:
            # Also one that says that too many descriptors are on their way.
            return False
        connection.close()
        return True

    def close(self) -> None:
        """Connections that have not arrived are closed."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            # The link tells what has become of the process.
            self._loop.remove_reader(self._socket.fileno())
            return
        for door, count in Counter(data).items():
            self._closed(Door(door), count)


class TakeOver:
    """The end of a process that is handed connections. On its event loop."""

    def __init__(self, sock: socket.socket, take: Callable[[Door, socket.socket], None]) -> None:
        """`sock`: the other end of the pair. `take`: a connection has come."""
        sock.setblocking(False)
        self._socket = sock
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._unsaid = bytearray()
        self._told_of_dropped = Sparing()
        self._pause: asyncio.TimerHandle | None = None
        self._resume()

    def take_all(self) -> None:
        """Take all that has come by now."""
        while self._take_one():
            pass

    def closed(self, door: Door) -> None:
        """A connection is closed: say so."""
        self._unsaid.append(door)
        if len(self._unsaid) == 1:
            # Of a turn in which many are, all together.
            self._loop.call_soon(self._say)

    def close(self) -> None:
        """Take none any more."""
        if self._pause is not None:
            self._pause.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()

    def _resume(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        # As many as belong into one turn of the event loop.
        for _ in range(ACCEPTED_PER_TURN):
            if not self._take_one():
                return

    def _take_one(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1, _CLOSE_ON_EXEC)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in EXHAUSTED:
                # What has come waits.
                logger.error("no connection is taken for %g s: %s", EXHAUSTED_PAUSE_S, error.strerror)  # noqa: TRY400
                self._loop.remove_reader(self._socket.fileno())
                self._pause = self._loop.call_later(EXHAUSTED_PAUSE_S, self._resume)
                return False
            data, descriptors = b"", []
        if not data:
            self._loop.remove_reader(self._socket.fileno())
            return False
        door = Door(data[0])
        if not descriptors:
            self._drop(door)
            return True
        connection = socket.socket(fileno=descriptors[0])
        connection.set_inheritable(False)
        connection.setblocking(False)
        self._take(door, connection)
        return True

    def _drop(self, door: Door) -> None:
        """This process has too many files open: the connection is closed."""
        self.closed(door)
        earlier = self._told_of_dropped.left_out()
        if earlier is not None:
            more = f", and {earlier} more since this was said last" if earlier else ""
            logger.error("a connection was dropped: too many open files in this process%s", more)

    def _say(self) -> None:
        if self._socket.fileno() < 0 or not self._unsaid:
            return
        try:
            sent = self._socket.send(self._unsaid)
        except BlockingIOError:
            sent = 0
        except OSError:
            # Nobody is there to hear it.
            sent = len(self._unsaid)
        del self._unsaid[:sent]
        if self._unsaid:
            self._loop.add_writer(self._socket.fileno(), self._say)
        else:
            self._loop.remove_writer(self._socket.fileno())
