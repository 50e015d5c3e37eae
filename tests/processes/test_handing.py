"""Connections that go from one process to another; both ends are here."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from kserve_v2.processes import handing
from kserve_v2.processes.balance import Door
from kserve_v2.processes.handing import HandOver, TakeOver


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


class Ends:
    """Both, and what they have been told."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.closed: list[tuple[Door, int]] = []
        self.taken: list[tuple[Door, socket.socket]] = []
        self.changed = asyncio.Event()
        self.back: list[tuple[Door, socket.socket]] = []
        self.over = HandOver(
            ours, lambda *what: self.note(self.closed, what), lambda *what: self.note(self.back, what)
        )
        self.take = TakeOver(theirs, lambda *what: self.note(self.taken, what))

    def note(self, where: list[Any], what: Any) -> None:
        where.append(what)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.changed.wait()
            self.changed.clear()

    def close(self) -> None:
        self.over.close()
        self.take.close()
        for _, connection in self.taken + self.back:
            connection.close()


async def whole_way() -> None:
    ends = Ends()
    client, accepted = socket.socketpair()
    assert ends.over.hand(Door.GRPC, accepted)
    # It is the other process's now.
    assert accepted.fileno() == -1
    await ends.until(lambda: bool(ends.taken))
    [(door, connection)] = ends.taken
    assert door is Door.GRPC
    assert not connection.getblocking()
    assert not connection.get_inheritable()
    client.sendall(b"hello")
    assert await asyncio.get_running_loop().sock_recv(connection, 100) == b"hello"
    for each in (Door.GRPC, Door.REST, Door.GRPC):
        ends.take.closed(each)
    await ends.until(lambda: sum(count for _, count in ends.closed) == 3)
    # All of one turn came together.
    assert sorted(ends.closed) == [(Door.REST, 1), (Door.GRPC, 2)]
    client.close()
    ends.close()


def test_a_connection_arrives_and_its_end_is_told() -> None:
    run(whole_way())


async def no_room(allow_more: Callable[[], None]) -> None:
    ends = Ends()
    # Nobody takes any while this does not yield.
    clients = []
    while True:
        client, accepted = socket.socketpair()
        clients.append(client)
        if not ends.over.hand(Door.REST, accepted):
            break
    # However many others of this process are open: without a descriptor for it, a connection would go back.
    allow_more()
    # What finds no room stays open here, and what has found some arrives.
    assert accepted.fileno() >= 0
    accepted.close()
    await ends.until(lambda: len(ends.taken) == len(clients) - 1)
    for client in clients:
        client.close()
    ends.close()


def test_whoever_hands_over_never_waits() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The kernel takes no more descriptors on their way than a process may have open.
    already = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, already + 1024), hard))
    try:
        run(no_room(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def other_end_gone() -> None:
    ends = Ends()
    client, accepted = socket.socketpair()
    ends.take.close()
    assert not ends.over.hand(Door.REST, accepted)
    ends.over.close()
    ends.over.close()
    # Nobody hears it, and nobody minds.
    ends.take.closed(Door.REST)
    await asyncio.sleep(0)
    client.close()
    accepted.close()


def test_nothing_is_handed_to_who_is_gone() -> None:
    run(other_end_gone())


async def dies_with_some_on_their_way() -> None:
    ends = Ends()
    client, accepted = socket.socketpair()
    assert ends.over.hand(Door.REST, accepted)
    ends.over.close()
    ends.take.close()
    client.settimeout(60)
    # The client sees the end of it.
    assert await asyncio.to_thread(client.recv, 1) == b""
    client.close()


def test_a_connection_on_its_way_to_who_is_gone_is_closed() -> None:
    run(dies_with_some_on_their_way())


async def no_descriptor(resource: Any, *, spare: bool) -> None:
    ends = Ends()
    client, accepted = socket.socketpair()
    # A process that has not had a spare one since it was full last may have none for this one.
    if not spare:
        ends.take._free_spare()
    ends.take.closed(Door.REST)
    assert ends.over.hand(Door.GRPC, accepted)
    lowest = os.dup(client.fileno())
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        ends.take.take_all()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not ends.taken
    await ends.until(lambda: sorted(ends.closed) == [(Door.REST, 1), (Door.GRPC, 1)])
    if spare:
        # It is whole, and somebody else's to serve.
        [(door, connection)] = ends.back
        assert door is Door.GRPC
        client.sendall(b"hello")
        assert await asyncio.get_running_loop().sock_recv(connection, 100) == b"hello"
    else:
        assert not ends.back
        assert await asyncio.to_thread(client.recv, 1) == b""
    # The next one is taken.
    other, accepted = socket.socketpair()
    assert ends.over.hand(Door.REST, accepted)
    await ends.until(lambda: len(ends.taken) == 1)
    for each in (client, other):
        each.close()
    ends.close()


@pytest.mark.parametrize("spare", [True, False])
def test_a_connection_goes_back_where_too_many_files_are_open(
    spare: bool, caplog: pytest.LogCaptureFixture
) -> None:
    run(no_descriptor(pytest.importorskip("resource"), spare=spare))
    what = "a connection was handed to another process" if spare else "a connection was dropped"
    assert f"{what}: too many open files in this process; allow more (ulimit -n" in caplog.text


class Exhausted(socket.socket):
    """One whose first messages find no memory."""

    failures = 2

    def recvmsg(self, *sizes: int) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return super().recvmsg(*sizes)


async def no_memory() -> None:
    ours, theirs = socket.socketpair()
    taken: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
    over = HandOver(ours, lambda door, count: None, lambda door, each: each.close())
    take = TakeOver(Exhausted(fileno=theirs.detach()), lambda door, each: taken.set_result(each))
    client, accepted = socket.socketpair()
    assert over.hand(Door.REST, accepted)
    # It is tried again until there is some.
    connection = await taken
    client.sendall(b"hello")
    assert await asyncio.get_running_loop().sock_recv(connection, 100) == b"hello"
    for each in (client, connection, over, take):
        each.close()


def test_without_memory_it_tries_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handing, "EXHAUSTED_PAUSE_S", 0.01)
    run(no_memory())
    assert caplog.text.count("no connection is taken for 0.01 s: Cannot allocate memory") == 2


async def closed_while_it_pauses() -> None:
    ours, theirs = socket.socketpair()
    over = HandOver(ours, lambda door, count: None, lambda door, each: each.close())
    take = TakeOver(Exhausted(fileno=theirs.detach()), lambda door, each: each.close())
    client, accepted = socket.socketpair()
    assert over.hand(Door.REST, accepted)
    take.take_all()
    take.close()
    # Nothing comes of the pause, which is over.
    await asyncio.sleep(0.05)
    for each in (client, over):
        each.close()


def test_it_may_be_closed_while_it_waits_for_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handing, "EXHAUSTED_PAUSE_S", 0.01)
    run(closed_while_it_pauses())
    assert [record.message for record in caplog.records] == [
        "no connection is taken for 0.01 s: Cannot allocate memory"
    ]


async def all_at_once() -> None:
    ends = Ends()
    pairs = [socket.socketpair() for _ in range(40)]
    for _, accepted in pairs:
        assert ends.over.hand(Door.REST, accepted)
    ends.take.take_all()
    assert len(ends.taken) == 40
    for client, _ in pairs:
        client.close()
    ends.close()


def test_at_the_end_all_that_has_come_is_taken() -> None:
    run(all_at_once())
