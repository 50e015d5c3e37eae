"""Both ends of a link in one process, over a real socket pair."""

import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.responses import Response

from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.processes.accepted import Accepted
from kserve_v2.processes.answering.answering import Answering
from kserve_v2.processes.forwarding.rpcs import forwarding_rpcs
from kserve_v2.processes.link import Link
from kserve_v2.rpc.calls import Rpc

NOTHING = Response(status_code=404)
"""An application that has no routes."""


@asynccontextmanager
async def linked(inflight: InflightBytes | None = None) -> AsyncIterator[tuple[Link, Link]]:
    """The ends of a worker and of its home. `inflight`: what the home counts large payloads in."""
    worker, home = Link(home=False), Link(home=True, inflight=inflight)
    try:
        yield worker, home
    finally:
        for link in (worker, home):
            link.close()
            await link.closed


async def open_both(worker: Link, home: Link) -> None:
    """Connect them, once they have what they answer with."""
    one, other = socket.socketpair()
    await worker.open(one)
    await home.open(other)


@asynccontextmanager
async def forwarded(rpcs: Sequence[Rpc]) -> AsyncIterator[Sequence[Rpc]]:
    """As a worker has them, whose home is in this process."""
    inflight = InflightBytes(sys.maxsize)
    async with linked(inflight) as (worker, home):
        Answering(NOTHING, None, rpcs, inflight).serve(home)
        await open_both(worker, home)
        yield await forwarding_rpcs(worker, Accepted())
