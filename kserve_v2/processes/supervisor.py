"""Starts workers, starts them again when they die, and ends them."""

import asyncio
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from kserve_v2.errors import ServingError
from kserve_v2.isolation.death import cause_of_death
from kserve_v2.isolation.delays import RestartDelays
from kserve_v2.isolation.spawner import SPAWNER
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.memory.limit import oom_kills
from kserve_v2.metrics.processes import ProcessFigures
from kserve_v2.processes.handing import HandOver
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link
from kserve_v2.startup import StartupError

logger = logging.getLogger(__name__)

_MAIN = Path(__file__).with_name("__main__.py")
# How long a worker may take from its start until it says that it is ready, however busy the machine is.
_READY_S = 120.0
# One whose link is closed is about to be gone; if it is not, its event loop is stuck.
_LAST_MOMENTS_S = 2.0
# It tells its figures each second. One that has told none for so many looks answers nobody: it is stopped, or stuck.
# Looks are counted, not seconds, in which this process may have been stopped itself.
_LOOK_EVERY_S = 5.0
_MOST_SILENT_LOOKS = 12


class Worker:
    """One process beside the home, from its start to its end. `number`: that of the process, which its successor gets,
    too. `figures`: what it has last said of itself. `ended`: why it was ended, in words; "" if it was not.
    """

    def __init__(self, number: int, link: Link, process: "subprocess.Popen[bytes]") -> None:
        self.number = number
        self.link = link
        self.ready = asyncio.Event()
        self.figures: ProcessFigures | None = None
        self.connections: HandOver | None = None
        self.ended = ""
        self._process = process
        self._oom_kills = oom_kills()

    def __repr__(self) -> str:
        return f"<Worker {self.number} pid={self.pid} {'ready' if self.ready.is_set() else 'starting'}>"

    @property
    def pid(self) -> int:
        """Its number for the operating system."""
        return self._process.pid

    def go_on(self) -> None:
        """Have it run, in case that somebody has stopped it."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self, why: str = "") -> None:
        """End it there and then."""
        self.ended = why
        self._process.kill()

    def reap(self) -> str:
        """Wait until it has ended, and make it end if it does not. Returns how it has ended, in words. Blocks."""
        try:
            status = self._process.wait(_LAST_MOMENTS_S)
            return self.ended or cause_of_death(status, self._oom_kills)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return "did not answer any more and was ended"
        finally:
            SPAWNER.ended(self.pid)


class Owner(Protocol):
    """What the supervisor needs of who has it."""

    def begin(self, worker: Worker, connections: socket.socket) -> None:
        """A worker was started, and is about to ask what it is to do: set the handlers of its link."""
        ...

    async def join(self, worker: Worker) -> None:
        """A worker is ready to answer. Does not raise."""
        ...

    def leave(self, worker: Worker) -> None:
        """A worker that was begun is gone."""
        ...


class Supervisor:
    """On the home's event loop."""

    def __init__(self, owner: Owner, inflight: InflightBytes) -> None:
        """`inflight`: where links count what comes over them."""
        self.workers: dict[int, Worker] = {}
        """Those that live, ready or not."""
        self._owner = owner
        self._inflight = inflight
        self._stopping = asyncio.Event()
        self._keeping: list[asyncio.Task[None]] = []

    async def start(self, numbers: Iterable[int]) -> None:
        """Start workers of these numbers; returns when all are ready. Raises StartupError if one ends instead."""
        loop = asyncio.get_running_loop()
        begun = []
        for number in numbers:
            first = loop.create_future()
            begun.append(first)
            self._keeping.append(loop.create_task(self._keep(number, first)))
        try:
            await asyncio.gather(*begun)
        finally:
            for first in begun:
                if not first.cancel() and not first.cancelled():
                    # What has failed besides the first one needs no word of its own.
                    first.exception()

    def go_on(self) -> None:
        """Have workers run that somebody has stopped: whoever asks all of them something would wait for those."""
        for worker in self.workers.values():
            worker.go_on()

    async def stop(self, grace_s: float) -> None:
        """Have all workers finish what is under way, for so long, and end. If this is cancelled they are killed."""
        self._stopping.set()
        try:
            await asyncio.gather(*(self._stop(worker, grace_s) for worker in list(self.workers.values())))
            await asyncio.gather(*self._keeping, return_exceptions=True)
        finally:
            for worker in self.workers.values():
                worker.kill()
            for task in self._keeping:
                task.cancel()

    async def _stop(self, worker: Worker, grace_s: float) -> None:
        # One that is stopped would not hear that it is to end, and all would wait for it.
        worker.go_on()
        if worker.ready.is_set():
            with suppress(ServingError):
                await worker.link.call(Kind.STOP, repr(grace_s).encode())
        worker.link.close()

    async def _keep(self, number: int, first: "asyncio.Future[None]") -> None:
        """Have a worker of this number, always."""
        delays = RestartDelays()
        time_of = asyncio.get_running_loop().time
        while True:
            began_s = time_of()
            try:
                cause = await self._live(number, first)
            except OSError as error:
                cause = f"cannot be started: {error.strerror}"
            if self._stopping.is_set():
                return
            if not first.done():
                first.set_exception(
                    StartupError(f"--processes: process {number} {cause}; see what it has written before")
                )
                return
            delay_s = delays.after(time_of() - began_s)
            when = f"in {delay_s:.3g} s" if delay_s else "now"
            logger.error("process %d %s; another one takes its place %s", number, cause, when)
            await self._pause(delay_s)
            if self._stopping.is_set():
                return

    async def _pause(self, seconds: float) -> None:
        """Wait for so long, or for the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _live(self, number: int, first: "asyncio.Future[None]") -> str:
        """The life of one worker. Returns how it has ended, in words. Raises OSError if it cannot be started."""
        worker = await self._spawn(number)
        watching: asyncio.Task[None] | None = None
        try:
            if await self._is_ready(worker):
                watching = asyncio.ensure_future(_watch(worker))
                await self._owner.join(worker)
                if worker.link.alive and not first.done():
                    first.set_result(None)
                await worker.link.closed
        except Exception:
            # A defect of ours, which the next one may be spared.
            logger.exception("process %d is given up", number)
        finally:
            if watching is not None:
                watching.cancel()
            self.workers.pop(number, None)
            self._owner.leave(worker)
            worker.link.close()
            if worker.connections is not None:
                worker.connections.close()
        return await asyncio.to_thread(worker.reap)

    async def _spawn(self, number: int) -> Worker:
        ours, theirs = socket.socketpair()
        connections, their_connections = socket.socketpair()
        try:
            with theirs, their_connections:
                program = (sys.executable, str(_MAIN))
                descriptors = (theirs.fileno(), their_connections.fileno())
                process = await asyncio.to_thread(SPAWNER.start, program, None, descriptors)
        except BaseException:
            ours.close()
            connections.close()
            raise
        worker = Worker(number, Link(home=True, inflight=self._inflight), process)
        self.workers[number] = worker
        worker.link.on(Kind.READY, lambda _: worker.ready.set())
        self._owner.begin(worker, connections)
        await worker.link.open(ours)
        if self._stopping.is_set():
            worker.link.close()
        return worker

    async def _is_ready(self, worker: Worker) -> bool:
        ready = asyncio.ensure_future(worker.ready.wait())
        await asyncio.wait((ready, worker.link.closed), timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not worker.ready.is_set() and worker.link.alive:
            worker.kill(f"was not ready within {_READY_S:g} s and was ended")
        return worker.ready.is_set()


async def _watch(worker: Worker) -> None:
    """End a worker that says nothing any more."""
    said, silent = worker.figures, 0
    while silent < _MOST_SILENT_LOOKS:
        await asyncio.sleep(_LOOK_EVERY_S)
        silent = silent + 1 if worker.figures is said else 0
        said = worker.figures
    worker.kill(f"has said nothing for {_MOST_SILENT_LOOKS * _LOOK_EVERY_S:g} s and was ended")
