"""The home: the process that was started first, which has all models and accepts all connections, and what it does for
the workers beside it.
"""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial

import orjson
from starlette.types import Receive, Scope, Send

from kserve_v2.logs import log
from kserve_v2.logs.settings import LogSettings
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.metrics.pauses import GcPauses, added
from kserve_v2.metrics.processes import ProcessFigures
from kserve_v2.net.accepted import SharedServer
from kserve_v2.net.sockets import EXHAUSTED_PAUSE_S
from kserve_v2.processes.acceptor import Acceptor
from kserve_v2.processes.alone import Busy, FrontEnds, own_figures
from kserve_v2.processes.answering.answering import Answering
from kserve_v2.processes.balance import HOME, Balance, Door
from kserve_v2.processes.handing import HandOver
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.replicas import ProcessReplicas
from kserve_v2.processes.supervisor import Supervisor, Worker
from kserve_v2.rpc.servicer import all_rpcs
from kserve_v2.settings import flags
from kserve_v2.settings.settings import Settings

logger = logging.getLogger(__name__)

# How long a worker may take to log by new settings: one that is stuck must not hold up who has asked for them.
_SETTINGS_S = 5.0


class Home:
    """`Processes` of a server that has several. Owns its supervisor, and answers for the models that workers lack."""

    def __init__(
        self, settings: Settings, count: int, inflight: InflightBytes, replicas: ProcessReplicas
    ) -> None:
        """`inflight`: what requests in flight hold in this process. `replicas`: what workers have of its models."""
        self._count = count
        self._settings = settings
        self._inflight = inflight
        self._replicas = replicas
        self._answering: Answering | None = None
        self._supervisor = Supervisor(self, inflight)
        self._busy = Busy(lambda: [each.figures.busy for each in self._workers() if each.figures])
        self._balance = Balance()
        self._servers: Mapping[Door, SharedServer] = {}
        self._acceptors: list[Acceptor] = []
        # Those that have had too many files open, a moment ago.
        self._full: set[int] = set()
        # The event loop holds tasks weakly.
        self._beginning: set[asyncio.Task[None]] = set()
        # What workers that are gone have said last, by number.
        self._pauses = GcPauses()
        self._past: dict[int, ProcessFigures] = {}

    def _workers(self) -> list[Worker]:
        return sorted(self._supervisor.workers.values(), key=lambda worker: worker.number)

    @property
    def pids(self) -> Sequence[int]:
        """See `Processes`."""
        return [os.getpid(), *(worker.pid for worker in self._workers())]

    async def start(self, front_ends: FrontEnds) -> None:
        """See `Processes`."""
        self._answering = Answering(
            front_ends.app or _no_rest, front_ends.lane, all_rpcs(front_ends.service), self._inflight
        )
        await self._supervisor.start(range(1, self._count))

    async def share(self, servers: Mapping[Door, SharedServer]) -> Collection[SharedServer]:
        """See `Processes`."""
        self._servers = servers
        for door, server in servers.items():
            await server.start(listen=False)
            assert server.place is not None  # noqa: S101 - it is bound
            self._acceptors.append(Acceptor(server.place.socket, partial(self._take, door)))
        for acceptor in self._acceptors:
            acceptor.start()
        self._busy.start()
        self._pauses.start()
        return servers.values()

    async def tell_log_settings(self, settings: LogSettings) -> None:
        """See `Processes`. Also workers that are starting are told: they may have been told the old ones."""
        told = [
            asyncio.ensure_future(worker.link.call(Kind.LOG_SETTINGS, orjson.dumps(asdict(settings))))
            for worker in self._workers()
        ]
        if not told:
            return
        done, late = await asyncio.wait(told, timeout=_SETTINGS_S)
        for call in done:
            # One that is gone by now leaves its place to one that begins with the new settings.
            call.exception()
        for call in late:
            call.cancel()
            logger.warning("a process does not answer, and may still log by the old settings")

    def figures(self) -> Sequence[ProcessFigures]:
        """See `Processes`."""
        connections = {number: self._connections(number) for number in range(self._count)}
        own = own_figures(HOME, self._busy.ratio, self._inflight, self._pauses)
        return [
            replace(own, connections=connections[HOME]),
            *(
                replace(self._figures(number), connections=connections[number])
                for number in range(1, self._count)
            ),
        ]

    def _figures(self, number: int) -> ProcessFigures:
        """Of a worker, and of those before it that had its number."""
        past = self._past.get(number, _nothing(number))
        worker = self._supervisor.workers.get(number)
        now = worker.figures if worker is not None else None
        return past if now is None else _sum(past, now)

    def _connections(self, number: int) -> dict[str, int]:
        return {door.name.lower(): self._balance.count(number, door) for door in self._servers}

    def accept_no_more(self) -> None:
        """See `Processes`."""
        for acceptor in self._acceptors:
            acceptor.stop()
        self._acceptors.clear()

    def go_on(self) -> None:
        """See `Processes`."""
        self._supervisor.go_on()

    async def stop(self, grace_seconds: float) -> None:
        """See `Processes`."""
        self.accept_no_more()
        self._busy.stop()
        self._pauses.stop()
        await self._supervisor.stop(grace_seconds)

    # --- connections ----------------------------------------------------------------------------------------------

    def _take(self, door: Door, connection: socket.socket) -> None:
        """Have a process serve a new connection: this one, if no other can."""
        for number in self._balance.order(door):
            worker = self._supervisor.workers.get(number)
            if number == HOME or worker is None or worker.connections is None:
                break
            if number in self._full:
                continue
            if worker.connections.hand(door, connection):
                self._balance.opened(number, door)
                return
        self._balance.opened(HOME, door)
        on_lost = partial(self._balance.closed, HOME, door)
        task = asyncio.ensure_future(self._servers[door].serve(connection, on_lost))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    def _take_back(self, number: int, door: Door, connection: socket.socket) -> None:
        """A process has too many files open: it gets no connections for a while."""
        if number not in self._full:
            self._full.add(number)
            asyncio.get_running_loop().call_later(EXHAUSTED_PAUSE_S, self._full.discard, number)
        self._take(door, connection)

    # --- workers: see `supervisor.Owner` --------------------------------------------------------------------------

    def begin(self, worker: Worker, connections: socket.socket) -> None:
        """Set the handlers of its link."""
        number, link = worker.number, worker.link
        closed = partial(self._balance.closed, number)
        worker.connections = HandOver(connections, closed, partial(self._take_back, number))
        link.on(Kind.SETTINGS, lambda _: self._description(number))
        link.on(Kind.FIGURES, partial(_note_figures, worker))
        assert self._answering is not None  # noqa: S101 - after `start`
        self._answering.serve(link)
        self._replicas.serve(number, link)

    async def join(self, worker: Worker) -> None:
        """It gets connections once it has what it is to answer."""
        await self._replicas.joined(worker.number, worker.link)
        if worker.link.alive:
            self._balance.join(worker.number)
            if self._acceptors:
                # It was started after the others.
                logger.info("process %d answers again, as pid %d", worker.number, worker.pid)

    def leave(self, worker: Worker) -> None:
        """What it has counted stays counted."""
        number = worker.number
        self._balance.leave(number)
        self._replicas.left(number)
        past = self._past.get(number, _nothing(number))
        if worker.figures is not None:
            past = _sum(past, worker.figures)
        self._past[number] = replace(
            past, busy=0, inflight_bytes=0, inflight_limit=0, restarts=past.restarts + 1
        )

    def _description(self, number: int) -> bytes:
        """All that a worker has to know."""
        return orjson.dumps(
            {
                "number": number,
                "processes": self._count,
                "settings": flags.texts(self._settings),
                "log_settings": asdict(log.current()),
                "path": [each for each in sys.path if isinstance(each, str)],
            }
        )


async def _no_rest(scope: Scope, receive: Receive, send: Send) -> None:
    """Where REST is not served no worker hands any of it over."""


def _nothing(number: int) -> ProcessFigures:
    return ProcessFigures(number, cpu_seconds=0, busy=0)


def _note_figures(worker: Worker, payload: bytes | memoryview) -> None:
    worker.figures = ProcessFigures(**orjson.loads(payload))


def _sum(past: ProcessFigures, now: ProcessFigures) -> ProcessFigures:
    return replace(
        now,
        cpu_seconds=past.cpu_seconds + now.cpu_seconds,
        inflight_refused=past.inflight_refused + now.inflight_refused,
        restarts=past.restarts,
        gc_pauses=added(past.gc_pauses, now.gc_pauses),
    )
