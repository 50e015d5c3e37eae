"""The processes of a server as its composition root sees them, and a server that has one."""

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.types import ASGIApp

from kserve_v2.inference import InferenceService
from kserve_v2.logs.settings import LogSettings
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.metrics.pauses import GcPauses
from kserve_v2.metrics.processes import ProcessFigures
from kserve_v2.net.accepted import SharedServer
from kserve_v2.processes.balance import Door
from kserve_v2.processes.busy import WINDOW_S, LoopBusy
from kserve_v2.processes.hint import BusyHint
from kserve_v2.repository.preparing.threads import cpu_budget
from kserve_v2.rest.fast_lane import FastLane


@dataclass(frozen=True, slots=True)
class FrontEnds:
    """What answers requests that come by way of another process."""

    app: ASGIApp | None
    lane: FastLane | None
    service: InferenceService


class Processes(Protocol):
    """All of it happens on the server's event loop."""

    @property
    def pids(self) -> Sequence[int]:
        """What the operating system calls them; this one first."""
        ...

    async def start(self, front_ends: FrontEnds) -> None:
        """Have the others, before models are loaded. Raises StartupError."""
        ...

    async def share(self, servers: Mapping[Door, SharedServer]) -> Collection[SharedServer]:
        """Begin to answer. Returns the servers whose connections are accepted by this; the others listen themselves."""
        ...

    def figures(self) -> Sequence[ProcessFigures]:
        """What all of them say of themselves."""
        ...

    async def tell_log_settings(self, settings: LogSettings) -> None:
        """What is logged has changed; returns when all log by that."""
        ...

    def accept_no_more(self) -> None:
        """Connections are refused from now on."""
        ...

    def go_on(self) -> None:
        """The others are about to end: have them run, in case that somebody has stopped one."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """End the others, which have so long to send what there is to send."""
        ...


class Busy:
    """How busy this process is, and a word about it when all are too busy."""

    def __init__(self, others: Callable[[], Sequence[float]] = tuple) -> None:
        """`others`: how busy those are."""
        self._loop_busy = LoopBusy()
        self._others = others
        self._hint = BusyHint(cpu_budget())
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look from now on."""
        self._loop_busy.start()
        self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self._look)

    def stop(self) -> None:
        """Look no longer."""
        self._loop_busy.stop()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def ratio(self) -> float:
        """See `LoopBusy.ratio`."""
        return self._loop_busy.ratio

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self._look)
        if self._loop_busy.seen:
            self._hint.look([self.ratio, *self._others()])


class Alone:
    """`Processes` of a server that has no other one."""

    def __init__(self, inflight: InflightBytes) -> None:
        """`inflight`: what requests in flight hold."""
        self._inflight = inflight
        self._busy = Busy()
        self._pauses = GcPauses()

    @property
    def pids(self) -> Sequence[int]:
        """See `Processes`."""
        return (os.getpid(),)

    async def start(self, front_ends: FrontEnds) -> None:
        """See `Processes`."""

    async def share(self, servers: Mapping[Door, SharedServer]) -> Collection[SharedServer]:
        """See `Processes`."""
        self._busy.start()
        self._pauses.start()
        return ()

    def figures(self) -> Sequence[ProcessFigures]:
        """See `Processes`."""
        return [own_figures(None, self._busy.ratio, self._inflight, self._pauses)]

    async def tell_log_settings(self, settings: LogSettings) -> None:
        """See `Processes`."""

    def accept_no_more(self) -> None:
        """See `Processes`."""

    def go_on(self) -> None:
        """See `Processes`."""

    async def stop(self, grace_seconds: float) -> None:
        """See `Processes`."""
        self._busy.stop()
        self._pauses.stop()


def own_figures(number: int | None, busy: float, inflight: InflightBytes, pauses: GcPauses) -> ProcessFigures:
    """What this process says of itself."""
    return ProcessFigures(
        number,
        time.process_time(),
        busy,
        inflight_bytes=inflight.used,
        inflight_limit=inflight.limit,
        inflight_refused=inflight.refused,
        gc_pauses=pauses.figures(),
    )
