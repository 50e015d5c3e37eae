"""Accepting connections for several processes."""

import asyncio
import errno
import socket

import pytest
import uvloop

from kserve_v2.net.sockets import bind
from kserve_v2.processes.acceptor import Acceptor


async def accept_many() -> None:
    taken: list[socket.socket] = []
    came = asyncio.Event()

    def take(connection: socket.socket) -> None:
        taken.append(connection)
        came.set()

    with bind("127.0.0.1", 0) as bound:
        address = bound.getsockname()
        acceptor = Acceptor(bound, take)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        acceptor.start()
        clients = [socket.create_connection(address) for _ in range(50)]
        while len(taken) < 50:
            await came.wait()
            came.clear()
        assert not any(each.getblocking() for each in taken)
        acceptor.stop()
        acceptor.stop()
        # What comes after it is refused once the socket is closed.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for each in (*clients, *taken):
        each.close()


def test_connections_are_accepted_until_it_stops() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(accept_many())


class Exhausted(socket.socket):
    """One for whose connections there are no descriptors."""

    tries = 0
    tried: asyncio.Event

    def accept(self) -> tuple[socket.socket, object]:
        self.tries += 1
        self.tried.set()
        raise OSError(errno.EMFILE, "Too many open files")


async def pause() -> int:
    with Exhausted() as listening:
        listening.tried = asyncio.Event()
        listening.bind(("127.0.0.1", 0))
        acceptor = Acceptor(listening, lambda connection: None)
        acceptor.start()
        with socket.create_connection(listening.getsockname()):
            await listening.tried.wait()
            # It is still there to be accepted, and nobody tries again at once.
            for _ in range(100):
                await asyncio.sleep(0)
            acceptor.stop()
        return listening.tries


def test_without_descriptors_it_does_not_try_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(pause()) == 1
    assert "no connection is accepted for 1 s: Too many open files" in caplog.text
