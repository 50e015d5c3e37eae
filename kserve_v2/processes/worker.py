"""The composition root of a worker: front ends that answer for replicas of models, and hand the rest to the home."""

import asyncio
import logging
import os
import socket
import sys
from dataclasses import asdict
from functools import partial

import orjson
from kserve_v2_child.freed_memory import keep_freed_memory

from kserve_v2.front_ends import grpc_options, has_fast_lane, max_inflight_bytes, rest_server
from kserve_v2.logs import console, log
from kserve_v2.logs.settings import LogSettings
from kserve_v2.logs.stall_watch import StallWatch
from kserve_v2.memory.collector import COLLECTOR
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.metrics.pauses import GcPauses
from kserve_v2.net.event_loop import loop_factory
from kserve_v2.net.http_server import HttpServer
from kserve_v2.net.tls import server_context
from kserve_v2.plugins import BackendRegistry
from kserve_v2.processes.alone import own_figures
from kserve_v2.processes.balance import Door
from kserve_v2.processes.busy import LoopBusy
from kserve_v2.processes.forwarding.app import ForwardingApp
from kserve_v2.processes.forwarding.lane import ForwardingLane
from kserve_v2.processes.forwarding.rpcs import forwarding_rpcs
from kserve_v2.processes.handing import TakeOver
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link
from kserve_v2.processes.local import LocalInfer, LocalLane
from kserve_v2.processes.replica import ReplicaHost
from kserve_v2.rpc.asyncio_server import AsyncioServer
from kserve_v2.scheduling.shared import Shared
from kserve_v2.settings import flags
from kserve_v2.settings.settings import Settings

logger = logging.getLogger(__name__)

_FIGURES_S = 1.0
# How long connections that have just come have to begin, when the process ends.
_BEGINNING_S = 0.1


def run(link: int, connections: int) -> int:
    """Answer until the home says stop. Returns the exit status; does not return if the home is gone."""
    keep_freed_memory(one_heap=True)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(socket.socket(fileno=link), socket.socket(fileno=connections)))
    log.shutdown()
    if not console.flush():
        os._exit(0)
    return 0


async def _serve(link_socket: socket.socket, connections: socket.socket) -> None:
    link = Link(home=False)
    logs = _Logs(link)
    await link.open(link_socket)
    stopped = asyncio.Event()
    # It ends with the home, however that went, and whatever is under way.
    link.closed.add_done_callback(lambda _: None if stopped.is_set() else _leave())
    description = orjson.loads(await link.call(Kind.SETTINGS))
    # What models import is found where the home finds it.
    sys.path[:] = description["path"]
    settings, _ = flags.resolve(description["settings"], {})
    logs.begin(settings, description["number"], LogSettings(**description["log_settings"]))
    worker = WorkerServer(settings, description["number"], description["processes"], link, stopped)
    await worker.start(connections)
    await link.call(Kind.READY)
    await stopped.wait()
    await link.closed


def _leave() -> None:
    log.shutdown()
    os._exit(1)


class _Logs:
    """Keeps to what the home logs, from before this process logs anything."""

    def __init__(self, link: Link) -> None:
        self._begun = False
        self._settings: LogSettings | None = None
        link.on(Kind.LOG_SETTINGS, self._change)

    def begin(self, settings: Settings, number: int, now: LogSettings) -> None:
        """`now`: what the home has logged by when it was asked."""
        log.configure(settings, number)
        self._begun = True
        log.apply(self._settings or now)

    def _change(self, payload: bytes | memoryview) -> None:
        self._settings = LogSettings(**orjson.loads(payload))
        if self._begun:
            log.apply(self._settings)


class WorkerServer:
    """Made, started and stopped on one event loop."""

    def __init__(
        self, settings: Settings, number: int, processes: int, link: Link, stopped: asyncio.Event
    ) -> None:
        """`number`: of this process, one of so many `processes`. `stopped`: set when all is finished."""
        self._number = number
        self._link = link
        self._stopped = stopped
        self._inflight = InflightBytes(max_inflight_bytes(settings, processes))
        threads = settings.model_load_thread_count
        self._host = ReplicaHost(BackendRegistry(), Shared(self._inflight), threads)
        self._stall_watch = StallWatch(settings.stall_log_secs, settings.exit_on_stall_secs)
        self._busy = LoopBusy()
        self._pauses = GcPauses()
        self._settings = settings
        self._servers: dict[Door, HttpServer | AsyncioServer] = {}
        # The event loop holds tasks weakly.
        self._beginning: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def _rest(self) -> HttpServer:
        settings, lane = self._settings, None
        if has_fast_lane(settings):
            size = settings.http_max_input_size
            local = LocalLane(self._host, size)
            lane = ForwardingLane(self._link, size, self._inflight, self._host.accepted, local)
        return rest_server(settings, ForwardingApp(self._link, self._host.accepted), None, lane)

    async def _grpc(self) -> AsyncioServer:
        files = self._settings.tls("grpc")
        tls = server_context(files, ()) if files else None
        rpcs = await forwarding_rpcs(self._link, self._host.accepted, LocalInfer(self._host))
        slicer = self._host.service.slicer
        return AsyncioServer(rpcs, grpc_options(self._settings), tls, self._inflight, slicer)

    async def start(self, connections: socket.socket) -> None:
        """Be ready for what comes by `connections`."""
        if self._settings.allow_http:
            self._servers[Door.REST] = self._rest()
        if self._settings.allow_grpc:
            self._servers[Door.GRPC] = await self._grpc()
        self._stall_watch.start()
        self._busy.start()
        self._pauses.start()
        for server in self._servers.values():
            await server.start(listen=False)
        take_over = TakeOver(connections, lambda door, each: self._take(take_over, door, each))
        COLLECTOR.freeze()
        self._host.serve(self._link)
        self._link.on(Kind.STOP, partial(self._stop, take_over))
        self._tell_figures()

    def _take(self, take_over: TakeOver, door: Door, connection: socket.socket) -> None:
        on_lost = partial(take_over.closed, door)
        task = asyncio.ensure_future(self._servers[door].serve(connection, on_lost))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    def _tell_figures(self) -> None:
        figures = own_figures(self._number, self._busy.ratio, self._inflight, self._pauses)
        self._link.notify(Kind.FIGURES, orjson.dumps(asdict(figures)))
        self._timer = asyncio.get_running_loop().call_later(_FIGURES_S, self._tell_figures)

    async def _stop(self, take_over: TakeOver, payload: bytes | memoryview) -> bytes:
        """Finish what is under way, for as many seconds as the home says."""
        grace_s = float(bytes(payload))
        # What was handed over before is there.
        take_over.take_all()
        if self._beginning:
            # Not for those who do not go on with TLS.
            await asyncio.wait(self._beginning, timeout=_BEGINNING_S)
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers.values()))
        take_over.close()
        await self._host.close()
        self._stall_watch.stop()
        self._busy.stop()
        self._pauses.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._stopped.set()
        return b""
