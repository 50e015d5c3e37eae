"""Accepting connections: how many in one turn of the event loop."""

import asyncio
import socket
from contextlib import ExitStack

import uvloop

from kserve_v2.net.sockets import ACCEPTED_PER_TURN, BACKLOG, bind, listeners

CLIENTS = 64


class Accepted(asyncio.Protocol):
    """Notes in which turn of the loop its connection was made."""

    def __init__(self, turns: list[int], made_in: list[int]) -> None:
        self._turns = turns
        self._made_in = made_in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made_in.append(len(self._turns))


async def turns_to_accept(bound: socket.socket) -> int:
    """How many turns of the loop it takes to accept CLIENTS connections that are all there."""
    loop = asyncio.get_running_loop()
    turns: list[int] = []
    made_in: list[int] = []
    servers = [
        await loop.create_server(lambda: Accepted(turns, made_in), sock=each, backlog=BACKLOG)
        for each in listeners(bound)
    ]
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(bound.getsockname(), timeout=60))
        while len(made_in) < CLIENTS:
            turns.append(len(turns))
            await asyncio.sleep(0)
    for server in servers:
        server.close()
    return made_in[-1] - made_in[0] + 1


def test_several_connections_are_accepted_in_one_turn() -> None:
    with bind("127.0.0.1", 0) as bound, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        turns = runner.run(turns_to_accept(bound))
    # A turn of the loop may be two of the counter's.
    assert turns <= 2 * CLIENTS / ACCEPTED_PER_TURN + 2


def test_all_listeners_have_one_address() -> None:
    with bind("127.0.0.1", 0) as bound:
        found = listeners(bound)
        assert found[0] is bound
        assert {each.getsockname() for each in found} == {bound.getsockname()}
        assert len({each.fileno() for each in found}) == ACCEPTED_PER_TURN
        for each in found[1:]:
            each.close()
