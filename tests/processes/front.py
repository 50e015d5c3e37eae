"""A server in two processes: a home, and a worker that has no model and hands everything to it. Clients connect to the
worker. Run with the options of `serve`; it prints where the worker listens, as `serve` does.

So what the tests see has been forwarded, every time.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import uvloop

from kserve_v2.front_ends import grpc_options, has_fast_lane, rest_server
from kserve_v2.logs import log
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.net.listening import take_place
from kserve_v2.net.tls import server_context
from kserve_v2.processes.accepted import Accepted
from kserve_v2.processes.answering.answering import Answering
from kserve_v2.processes.forwarding.app import ForwardingApp
from kserve_v2.processes.forwarding.lane import ForwardingLane
from kserve_v2.processes.forwarding.rpcs import forwarding_rpcs
from kserve_v2.processes.link import Link
from kserve_v2.rpc.asyncio_server import AsyncioServer
from kserve_v2.rpc.servicer import all_rpcs
from kserve_v2.server import Server
from kserve_v2.settings import flags
from kserve_v2.settings.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
# Kinds that the server does not know.
STARTED, STOP = 250, 251


# --- the worker -----------------------------------------------------------------------------------------------------


async def work(descriptor: int, settings: Settings) -> None:
    """Serve until the home says that it is enough, or is gone."""
    log.configure(settings)
    link = Link(home=False)
    stopped = asyncio.Event()
    servers: list[Any] = []

    async def stop(payload: bytes | memoryview) -> bytes:
        for server in servers:
            await server.stop(float(bytes(payload)))
        stopped.set()
        return b""

    link.on(STOP, stop)
    await link.open(socket.socket(fileno=descriptor))
    inflight = InflightBytes(settings.max_inflight_bytes or sys.maxsize)
    size, accepted = settings.http_max_input_size, Accepted()
    lane = ForwardingLane(link, size, inflight, accepted) if has_fast_lane(settings) else None
    place = take_place("127.0.0.1", 0)
    http = rest_server(settings, ForwardingApp(link, accepted), place, lane)
    tls = settings.tls("grpc")
    grpc = AsyncioServer(
        await forwarding_rpcs(link, accepted),
        grpc_options(settings),
        server_context(tls, ()) if tls else None,
        inflight,
    )
    grpc_port = grpc.bind("127.0.0.1", 0)
    servers += [http, grpc]
    for server in servers:
        await server.start()
    link.notify(STARTED, json.dumps([place.port, grpc_port]).encode())
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait({stopping, link.closed}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        # Clients have their answers; a real worker ends, this one lets tests ask.
        await asyncio.wait({stopping}, timeout=60)
    link.close()
    log.shutdown()


# --- the home -------------------------------------------------------------------------------------------------------


class HomeServer(Server):
    """Says what it answers with, and closes the worker's front ends when it closes its own."""

    link: Link

    def _bind(self) -> Any:
        self.front_ends = super()._bind()
        return self.front_ends

    async def _close(self, grace_seconds: float) -> None:
        await self.link.call(STOP, repr(grace_seconds).encode())
        self.link.close()
        await super()._close(grace_seconds)


async def be_home(settings: Settings, arguments: list[str]) -> int:
    log.configure(settings)
    server = HomeServer(settings)
    await server.start()
    service = server.service
    app, lane = server.front_ends.app, server.front_ends.lane
    answering = Answering(app, lane, all_rpcs(service), service.inflight)
    link = server.link = Link(home=True, inflight=service.inflight)
    answering.serve(link)
    ports: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
    stopping = asyncio.Event()
    link.on(STARTED, lambda payload: ports.set_result(json.loads(bytes(payload))))
    ours, its = socket.socketpair()
    worker = subprocess.Popen(  # noqa: ASYNC220 - nothing else goes on yet
        [sys.executable, "-m", "tests.processes.front", "--worker", str(its.fileno()), *arguments],
        pass_fds=[its.fileno()],
        cwd=ROOT,
        start_new_session=True,
    )
    its.close()
    await link.open(ours)
    await asyncio.wait({ports, link.closed}, return_when=asyncio.FIRST_COMPLETED)
    if not ports.done():
        return await asyncio.to_thread(worker.wait) or 1
    http, grpc = ports.result()
    scheme = "https" if settings.tls("http") else "http"
    print(f"Worker   {worker.pid}\nHome     {server.urls['REST']} {server.urls['gRPC']}", flush=True)
    print(
        f"REST     {scheme}://127.0.0.1:{http}\ngRPC     127.0.0.1:{grpc}\nMetrics  {server.urls['Metrics']}",
        flush=True,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
    finished = await server.stop()
    log.shutdown()
    return await asyncio.to_thread(worker.wait) or int(not finished)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", type=int)
    flags.add_flags(parser)
    namespace = parser.parse_args()
    settings, _ = flags.resolve(flags.given(namespace), os.environ)
    if namespace.worker is not None:
        uvloop.run(work(namespace.worker, settings))
    else:
        sys.exit(uvloop.run(be_home(settings, sys.argv[1:])))


if __name__ == "__main__":
    main()
