"""Handing connections from one process to another: both ends of a socket that carries descriptors, and, the other way,
that connections are closed. Neither end ever waits for the other.

A connection is one byte, its door, with its descriptor beside it; a closed one is the byte of its door. One that the
other process has no descriptor left for comes back as it went, its byte moved by `_BACK`.
"""

import asyncio
import logging
import os
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
_BACK = 0x10

Returned = Callable[[Door, socket.socket], None]


class HandOver:
    """The end of the process that accepts connections. On its event loop."""

    def __init__(self, sock: socket.socket, closed: Callable[[Door, int], None], returned: Returned) -> None:
        """`sock`: one end of a pair. `closed`: so many connections that were handed over are closed. `returned`: this
        one is not served there, because too many files are open.
        """
        sock.setblocking(False)
        self._socket = sock
        self._closed = closed
        self._returned = returned
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
            data, descriptors, _, _ = socket.recv_fds(self._socket, _READ_BYTES, 1, _CLOSE_ON_EXEC)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            # The link tells what has become of the process.
            self._loop.remove_reader(self._socket.fileno())
            return
        for byte, count in Counter(data).items():
            self._closed(Door(byte % _BACK), count)
        for byte in data:
            if byte >= _BACK and descriptors:
                # A descriptor ends what is read at once. There is none if this process has too many files open, too.
                self._returned(Door(byte - _BACK), _connection(descriptors.pop()))


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
        # Makes room for a connection that is to go back.
        self._spare: int | None = os.dup(sock.fileno())
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
        self._free_spare()

    def _resume(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        # As many as belong into one turn of the event loop.
        for _ in range(ACCEPTED_PER_TURN):
            if not self._take_one():
                return

    def _take_one(self) -> bool:
        full = self._is_full()
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
        connection = _connection(descriptors[0])
        if full:
            self._give_back(door, connection)
        else:
            self._take(door, connection)
        return True

    def _is_full(self) -> bool:
        """Whether no file can be opened any more, but for one connection that goes back."""
        try:
            probe = os.dup(self._socket.fileno())
        except OSError:
            self._free_spare()
            return True
        if self._spare is None:
            self._spare = probe
            # It may have been the last one.
            return self._is_full()
        os.close(probe)
        return False

    def _free_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _give_back(self, door: Door, connection: socket.socket) -> None:
        try:
            socket.send_fds(self._socket, [bytes((door + _BACK,))], [connection.fileno()])
        except OSError:
            self._drop(door)
        else:
            self._tell_full("a connection was handed to another process")
        connection.close()

    def _drop(self, door: Door) -> None:
        """The connection is closed."""
        self.closed(door)
        self._tell_full("a connection was dropped")

    def _tell_full(self, what: str) -> None:
        earlier = self._told_of_dropped.left_out()
        if earlier is not None:
            more = f" ({earlier} more since this was said last)" if earlier else ""
            logger.error(
                "%s: too many open files in this process%s; allow more (ulimit -n, LimitNOFILE=)",
                what, more,
            )  # fmt: skip

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


def _connection(descriptor: int) -> socket.socket:
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    connection.setblocking(False)
    return connection
