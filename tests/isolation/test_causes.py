"""Why a process is gone is told to whoever asks, however early or late: it has died, and nobody has noted that yet, or
another one has taken its place already.
"""

import asyncio
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
from kserve_v2_child.channel.channel import Channel

from kserve_v2.errors import UnavailableError
from kserve_v2.isolation.async_instances import (
    IsolatedAsyncInstance,
    IsolatedAsyncStreamInstance,
    IsolatedAsyncStreamsInstance,
)
from kserve_v2.isolation.instances import IsolatedInstance, IsolatedStreamInstance
from kserve_v2.isolation.keeper import Keeper
from kserve_v2.isolation.process import ModelProcess
from kserve_v2.isolation.suspects import MOST_DEATHS, Suspects
from kserve_v2.messages import InferRequest

REQUESTS = [InferRequest("m", {}, id="r")]
TENSORS = {"y": np.zeros(1)}


class Process:
    """Does as a `ModelProcess` would. `cause`: how it is going to end."""

    model = "m"

    def __init__(self, cause: str, ends: ExitStack) -> None:
        self.alive = True
        self.numbers = itertools.count(1)
        self.executing: dict[int, Any] = {}
        self.on_death: Callable[[], None] = lambda: None
        self._end = cause
        self._ends = ends

    @property
    def cause(self) -> str:
        return "" if self.alive else self._end

    def error(self) -> UnavailableError:
        """Waits for the end."""
        self.alive = False
        return UnavailableError(f"the process of model 'm' {self.cause}")

    def instance(self, told: dict[str, Any]) -> tuple[Channel, dict[str, Any]]:
        ours, theirs = Channel.pair()
        work = Channel(ours)
        self._ends.callback(work.close)
        self._ends.callback(theirs.close)
        return work, {"kinds": told["order"]}

    def watch(self, on_death: Callable[[], None]) -> None:
        self.on_death = on_death

    def kill(self, why: str) -> None:
        self.alive = False

    def cancelled(self, number: int, index: int) -> None:
        pass


class NoDelays:
    def after(self, lived_s: float) -> float:
        return 0.0


@contextmanager
def kept(
    *successors: str, start: Callable[[], None] = lambda: None, kind: str = "execute"
) -> Iterator[tuple[Keeper, Any, Process]]:
    """A keeper, a seat, and the process: those in its place will end in these ways, and then none can be started."""
    with ExitStack() as ends:
        following = [Process(cause, ends) for cause in successors]

        def start_next() -> Any:
            start()
            if not following:
                keeper.leave()
                raise UnavailableError("there is no memory for it")
            return following.pop(0)

        keeper = Keeper(start_next, lambda: None, None, delays=NoDelays())  # type: ignore[arg-type]
        process: Any = Process("was killed", ends)
        keeper.begin(process)
        seat, _ = keeper.make({"order": (kind,)})
        yield keeper, seat, process


WHY = "the process of model 'm' was killed; it is being started again"


async def execute_async(instance: Any) -> None:
    await instance.execute_async(TENSORS, REQUESTS)


async def stream_async(instance: Any) -> None:
    await anext(instance.stream_async(TENSORS, REQUESTS[0]))


async def streams_async(instance: Any) -> None:
    instance.streams_async([TENSORS], REQUESTS)


@pytest.mark.parametrize(
    ("kind", "ask"),
    [
        (IsolatedAsyncInstance, execute_async),
        (IsolatedAsyncStreamInstance, stream_async),
        (IsolatedAsyncStreamsInstance, streams_async),
    ],
)
def test_a_client_is_told_why_though_the_keeper_does_not_know_yet_that_the_process_is_gone(
    kind: Any, ask: Callable[[Any], Any]
) -> None:
    with kept(kind="stream_async") as (keeper, seat, process):
        instance = kind(keeper, seat, Suspects(), 4)
        process.alive = False
        assert keeper.reason == WHY
        with pytest.raises(UnavailableError) as raised:
            asyncio.run(ask(instance))
        assert raised.value.message == WHY


def executed(instance: Any) -> None:
    instance.execute(TENSORS, REQUESTS)


def streamed(instance: Any) -> None:
    next(instance.stream(TENSORS, REQUESTS[0]))


@pytest.mark.parametrize(("kind", "ask"), [(IsolatedInstance, executed), (IsolatedStreamInstance, streamed)])
@pytest.mark.parametrize("known", ["the process is gone", "its channel is closed"])
def test_what_has_died_so_often_that_it_is_not_waited_for_says_why(
    kind: Any, ask: Callable[[Any], None], known: str
) -> None:
    with kept() as (keeper, seat, process):
        instance = kind(keeper, seat, Suspects())
        seat.deaths = MOST_DEATHS
        process.alive = known != "the process is gone"
        seat.link.ended = process.alive
        with pytest.raises(UnavailableError) as raised:
            ask(instance)
        assert raised.value.message == WHY


def test_each_process_has_its_own_end() -> None:
    """Neither that of the one before it, nor what its restart has failed of."""
    failures = ["once", ""]

    def start() -> None:
        if why := failures.pop(0):
            raise UnavailableError(why)

    with kept("exited with status 3", start=start) as (keeper, seat, process):
        first = seat.link
        process.alive = False
        process.on_death()
        second = seat.link.process
        assert (keeper.process, keeper.reason) == (second, "")
        # Asked for late, of the one that is gone.
        assert keeper.error(first).message == "the process of model 'm' was killed; it has been started again"
        second.alive = False
        assert keeper.reason == "the process of model 'm' exited with status 3; it is being started again"
        assert keeper.error(seat.link).message == keeper.reason


def test_why_a_restart_fails_is_told_until_there_is_a_process() -> None:
    with kept() as (keeper, seat, process):
        process.alive = False
        process.on_death()
        assert keeper.reason == "there is no memory for it"
        with pytest.raises(UnavailableError, match=r"^there is no memory for it$"):
            keeper.link(seat)


def test_whoever_asks_while_the_model_is_closed_is_told_something() -> None:
    with kept() as (keeper, seat, process):
        keeper.leave()
        process.alive = False
        with pytest.raises(UnavailableError, match=r"^the process of model 'm' was killed$"):
            keeper.link(seat)


def test_an_instance_of_a_process_that_dies_while_it_is_made_is_not_waited_for() -> None:
    """What is started in its place may have been asked for its instances before."""
    with kept() as (keeper, seat, process):
        make = process.instance

        def make_and_die(told: Any) -> Any:
            made = make(told)
            process.alive = False
            return made

        process.instance = make_and_die  # type: ignore[method-assign]
        with pytest.raises(UnavailableError, match=r"^the process of model 'm' was killed$"):
            keeper.make({"order": ("execute",)})
        assert keeper._seats == [seat]


def test_a_process_knows_how_it_has_ended_before_anybody_can_know_that_it_has() -> None:
    process = ModelProcess("m")
    told: list[str] = []
    ended = threading.Event()

    class Gone(threading.Event):
        def set(self) -> None:
            told.append(process.cause)
            super().set()

    process._gone = Gone()
    process.watch(ended.set)
    os.kill(process.pid, signal.SIGKILL)
    assert ended.wait(60)
    assert told == ["was killed by signal 9 (SIGKILL)"]
