"""Workers that go wrong."""

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.processes import supervisor
from kserve_v2.processes.supervisor import Supervisor, Worker


class Owner:
    """Has nothing for workers to do. `left`: how many are gone."""

    def __init__(self) -> None:
        self.left = 0
        self.second = asyncio.Event()

    def begin(self, worker: Worker, connections: socket.socket) -> None:
        connections.close()

    async def join(self, worker: Worker) -> None:
        if self.left:
            self.second.set()

    def leave(self, worker: Worker) -> None:
        self.left += 1


@pytest.mark.slow
def test_a_worker_that_says_nothing_any_more_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "_MAIN", Path(__file__).with_name("silent_worker.py"))
    monkeypatch.setattr(supervisor, "_LOOK_EVERY_S", 0.01)

    async def main() -> None:
        owner = Owner()
        workers = Supervisor(owner, InflightBytes(sys.maxsize))
        await workers.start([1])
        await owner.second.wait()
        await workers.stop(0)
        assert not workers.workers

    with caplog.at_level(logging.ERROR):
        asyncio.run(asyncio.wait_for(main(), 60))
    assert (
        "process 1 has said nothing for 0.12 s and was ended; another one takes its place now" in caplog.text
    )


@pytest.mark.slow
def test_a_worker_that_is_stopped_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would end the wait for it before the time for the exit is over, which does not come here."""
    monkeypatch.setattr(supervisor, "_MAIN", Path(__file__).with_name("silent_worker.py"))

    async def main() -> None:
        workers = Supervisor(Owner(), InflightBytes(sys.maxsize))
        await workers.start([1])
        [worker] = workers.workers.values()
        os.kill(worker.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)  # noqa: ASYNC222
        await workers.stop(1e6)

    asyncio.run(asyncio.wait_for(main(), 60))
