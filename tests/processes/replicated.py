"""A server of text models that has workers, without front ends: those are asked over their links."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kserve_v2.processes.link import Link
from kserve_v2.processes.replica import ReplicaHost
from kserve_v2.processes.replicas import ProcessReplicas
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.models.homes import Spread
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.scheduling.shared import Shared
from tests.processes.replica_worker import ASK, VouchedBackend, serve
from tests.repository.text_models import OneBackend, TextBackend, answer

UP_TO_BYTES = 1000
ROOT = Path(__file__).resolve().parents[2]


class Worker:
    """One worker, as the home and clients see it. `host`: None if it is another process."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.link = Link(home=True)
        self.clients = Link(home=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.host: ReplicaHost | None = None
        self.others: list[Link] = []
        self.life: asyncio.Task[None] | None = None

    async def begin(self, *, apart: bool, backend: TextBackend | None) -> None:
        """`apart`: in a process of its own."""
        pairs = [socket.socketpair() for _ in range(2)]
        for link, (ours, _) in zip((self.link, self.clients), pairs, strict=True):
            await link.open(ours)
        theirs = [each for _, each in pairs]
        if apart:
            descriptors = [each.fileno() for each in theirs]
            self.process = subprocess.Popen(  # noqa: ASYNC220 - begins at once
                [sys.executable, "-m", "tests.processes.replica_worker", *map(str, descriptors)],
                pass_fds=descriptors, cwd=ROOT,
            )  # fmt: skip
            for each in theirs:
                each.close()
            return
        self.others = [Link(home=False), Link(home=False)]
        self.host = await serve(*self.others, backend or VouchedBackend())
        for link, each in zip(self.others, theirs, strict=True):
            await link.open(each)

    async def ask(self, name: str, version: str = "") -> str:
        """Its answer; "" if it leaves that to the home."""
        return (await self.clients.call(ASK, json.dumps([name, version]).encode())).decode()


class House:
    """All of it."""

    def __init__(
        self,
        root: Path,
        processes: int,
        backend: TextBackend | None = None,
        try_again_s: Sequence[float] = (),
        **options: Any,
    ) -> None:
        """`try_again_s`: see `ProcessReplicas`. `options`: further ones of RepositoryOptions."""
        self.backend = backend or VouchedBackend()
        self.is_traced: Callable[[str], bool] = lambda _: False
        shared = Shared()
        self.metrics = shared.metrics
        self.replicas = ProcessReplicas(shared.metrics, self._traced, try_again_s=try_again_s)
        given = RepositoryOptions((root,), spread=Spread(processes, UP_TO_BYTES), **options)
        self.manager = ModelManager(given, OneBackend(self.backend), 4, shared, self.replicas)
        self.workers: dict[int, Worker] = {}

    def _traced(self, name: str) -> bool:
        return self.is_traced(name)

    async def join(self, number: int, *, apart: bool = False, backend: TextBackend | None = None) -> Worker:
        """A worker begins. `apart`: in a process of its own."""
        worker = Worker(number)
        self.replicas.serve(number, worker.link)
        await worker.begin(apart=apart, backend=backend)
        joined = asyncio.Event()
        worker.life = asyncio.ensure_future(self._live(worker, joined))
        await joined.wait()
        self.workers[number] = worker
        return worker

    async def _live(self, worker: Worker, joined: asyncio.Event) -> None:
        """As the supervisor has it."""
        await self.replicas.joined(worker.number, worker.link)
        joined.set()
        await worker.link.closed
        self.replicas.left(worker.number)

    async def end(self, number: int) -> None:
        """A worker ends, on whatever terms it can."""
        worker = self.workers.pop(number)
        if worker.process is not None:
            worker.process.kill()
        for link in worker.others:
            link.abort()
        assert worker.life is not None
        await worker.life
        await worker.clients.closed
        if worker.process is not None:
            worker.process.wait()
        if worker.host is not None:
            await worker.host.close()

    async def ask_all(self, name: str, version: str = "") -> list[str]:
        """What each process answers: first the home, then the workers."""
        workers = [worker for _, worker in sorted(self.workers.items())]
        return [
            await answer(self.manager, name, version),
            *await asyncio.gather(*(worker.ask(name, version) for worker in workers)),
        ]


@asynccontextmanager
async def house(root: Path, workers: int = 2, *, apart: bool = False, **options: Any) -> AsyncIterator[House]:
    made = House(root, max(2, workers + 1), **options)
    try:
        await asyncio.gather(*(made.join(number, apart=apart) for number in range(1, workers + 1)))
        yield made
    finally:
        made.backend.load_gate.set()
        made.backend.execution_gate.set()
        await made.manager.drain()
        for number in list(made.workers):
            await made.end(number)
        await made.manager.stop()
        assert made.backend.open == 0


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))
