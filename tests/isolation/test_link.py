"""The ways to a process, with the test as the process: who gets which answer, and what comes of a process that is gone."""

import asyncio
import contextlib
import itertools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from kserve_v2_child.channel.channel import Channel
from kserve_v2_child.channel.messages import Kind, MessageError
from kserve_v2_child.executing import Executing

from kserve_v2.backend import ExecutionLostError
from kserve_v2.errors import UnavailableError
from kserve_v2.isolation.async_instances import IsolatedAsyncStreamsInstance
from kserve_v2.isolation.async_link import AsyncLink
from kserve_v2.isolation.instances import IsolatedInstance, IsolatedStreamInstance
from kserve_v2.isolation.keeper import Keeper, Seat
from kserve_v2.isolation.link import Link
from kserve_v2.isolation.suspects import Suspects
from kserve_v2.messages import InferRequest, SequenceStep
from tests.integration.support import wait_until
from tests.isolation.ends import channel_ends
from tests.set_clock import SetClock


class Process:
    """What a link needs to know of one."""

    model = "m"

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.executing: dict[int, Any] = {}
        self.alive = True
        self.killed_for = ""

    def kill(self, why: str) -> None:
        self.killed_for = why
        self.alive = False

    def error(self) -> UnavailableError:
        self.alive = False
        return UnavailableError("it is gone")

    def cancelled(self, number: int, index: int) -> None:
        pass


def given(number: float) -> list[dict[str, Any]]:
    return [{"y": np.array([number])}]


def instance_on(link: Link, kind: Any = IsolatedInstance) -> Any:
    seat = Seat({})
    seat.take(link)
    keeper = SimpleNamespace(link=lambda seat: seat.link, error=lambda link: link.process.error())
    return kind(keeper, seat, Suspects())


@contextmanager
def link_and_process() -> Iterator[tuple[Link, Channel, Any]]:
    with channel_ends() as (ours, theirs):
        process: Any = Process()
        yield Link(process, ours, None), theirs, process


REQUESTS = [InferRequest("m", {}, id="r")]


def test_an_answer_to_what_nobody_waits_for_any_more_is_left_out() -> None:
    """Somebody's thread was interrupted between what it has asked and the reply."""
    with link_and_process() as (link, there, process):
        there.send(Kind.RESPOND, 3, {}, given(3))
        there.send(Kind.ERROR, 4, {})
        there.send(Kind.RESPOND, 5, {}, given(5))
        assert link.ask(Kind.EXECUTE, 5).groups[0]["y"] == 5
        there.send(Kind.RESPOND, 5, {}, given(5))
        link.post(6, {}, ())
        assert link.collect(6) is None
        there.send(Kind.RESPOND, 6, {}, given(6))
        message = link.collect(6)
        assert message is not None
        assert message.groups[0]["y"] == 6
        there.send(Kind.RESPOND, 6, {}, given(6))
        assert link.collect(0) is None
        assert process.alive


@pytest.mark.parametrize("asked", [0, 5])
def test_an_answer_to_what_was_never_asked_is_the_end_of_its_process(asked: int) -> None:
    with link_and_process() as (link, there, process):
        instance = instance_on(link)
        assert instance.descriptor == link.descriptor
        if asked:
            instance.post(given(1)[0], REQUESTS)
        there.send(Kind.RESPOND, 1000, {}, given(666))
        with pytest.raises(ExecutionLostError):
            instance.collect()
        assert process.killed_for == "has answered what it was not asked, and was killed"
        assert instance.lost


def test_nothing_is_posted_to_a_process_that_nobody_listens_to_yet() -> None:
    """The last one was so short a time gone that the event loop has not heard of it."""
    with link_and_process() as (old, old_there, old_process), link_and_process() as (new, new_there, _):
        instance = instance_on(old)
        assert instance.descriptor == old.descriptor
        old_there.close()
        old_process.alive = False
        instance._seat.take(new)
        instance.post(given(1)[0], REQUESTS)
        with pytest.raises(ExecutionLostError):
            instance.flush()
        with pytest.raises(TimeoutError):
            new_there.receive(0)
        with pytest.raises(ExecutionLostError):
            instance.collect()
        # It is on the instance's thread now, and then listened to again.
        instance.await_revival = None
        assert instance.descriptor == new.descriptor
        assert old.descriptor == -1
        instance.post(given(1)[0], REQUESTS)
        instance.flush()
        assert new_there.receive(0).kind is Kind.EXECUTE


def test_what_was_not_sent_leaves_no_execution_untimed() -> None:
    """`execution_timeout` began for it; the next one, to another process, has a time of its own."""

    async def main() -> None:
        with link_and_process() as (old, old_there, _), link_and_process() as (new, *_, process):
            old.timeout_s, new.timeout_s = 1000.0, 0.001
            instance = instance_on(old)
            assert instance.descriptor is not None
            old_there.close()
            instance.post(given(1)[0], REQUESTS)
            with pytest.raises(ExecutionLostError):
                instance.flush()
            instance._seat.take(new)
            assert instance.descriptor is not None
            instance.post(given(1)[0], REQUESTS)
            instance.flush()
            while not process.killed_for:  # noqa: ASYNC110 - the test's own time-out ends it
                await asyncio.sleep(0)
            assert "execution_timeout of 0.001 s" in process.killed_for

    asyncio.run(main())


def test_each_execution_is_timed_from_when_it_begins() -> None:
    """That is when the one before it was answered; and when nothing is left, nobody is killed."""
    loop = SetClock()

    async def main() -> None:
        with link_and_process() as (link, there, process):
            link.timeout_s = 10.0
            instance = instance_on(link)
            assert instance.descriptor is not None
            for _ in range(3):
                instance.post(given(1)[0], REQUESTS)
            instance.flush()

            await loop.at(9)
            there.send(Kind.RESPOND, 1, {}, given(1))
            assert instance.collect() is not None
            await loop.at(18)
            there.send(Kind.RESPOND, 2, {}, given(2))
            assert instance.collect() is not None
            await loop.at(27)
            there.send(Kind.RESPOND, 3, {}, given(3))
            assert instance.collect() is not None
            await loop.at(1000)
            assert not process.killed_for

            instance.post(given(1)[0], REQUESTS)
            instance.post(given(1)[0], REQUESTS)
            instance.flush()
            await loop.at(1009)
            there.send(Kind.RESPOND, 4, {}, given(4))
            assert instance.collect() is not None
            await loop.at(1018)
            assert not process.killed_for
            await loop.at(1020)
            assert "execution_timeout of 10 s" in process.killed_for

    with contextlib.closing(loop):
        loop.run_until_complete(main())


def step(*, lost: str = "") -> InferRequest:
    return InferRequest("m", {}, sequence=SequenceStep(7, lost=lost))


def test_a_step_is_not_executed_by_a_process_that_has_not_seen_the_steps_before() -> None:
    """It was taken from the queue before its process had gone, and there is another one when it begins."""
    taken = step()
    with link_and_process() as (old, old_there, old_process), link_and_process() as (new, new_there, _):
        instance = instance_on(old)
        old_there.close()

        def gone() -> UnavailableError:
            # Everybody is told before there is another one.
            taken.sequence = SequenceStep(7, lost="the sequence has ended: it was killed")
            instance._seat.take(new)
            return UnavailableError("it is gone")

        old_process.error = gone
        with pytest.raises(UnavailableError, match="the sequence has ended: it was killed"):
            instance.execute(given(1)[0], [step(), taken])
        with pytest.raises(TimeoutError):
            new_there.receive(0)
        # What begins there is executed there.
        new_there.send(Kind.RESPOND, 1, {}, given(5))
        assert instance.execute(given(1)[0], [step()])["y"] == 5


def test_an_end_of_the_channel_is_an_end_of_the_process() -> None:
    with link_and_process() as (link, there, process):
        instance = instance_on(link)
        instance._keeper.await_process = lambda: None
        assert instance.descriptor is not None
        there.close()
        with pytest.raises(ExecutionLostError):
            instance.collect()
        assert process.alive
        assert instance.lost
        assert instance.descriptor is None
        instance.await_revival()
        assert not process.alive


def test_a_way_on_which_nobody_listens_is_closed_as_soon_as_there_is_another() -> None:
    with link_and_process() as (old, *_), link_and_process() as (new, *_):
        instance = instance_on(old, IsolatedStreamInstance)
        instance._seat.take(new)
        assert old.descriptor == -1


def test_a_stream_is_left_though_its_process_is_gone() -> None:
    with link_and_process() as (link, there, _):
        instance = instance_on(link, IsolatedStreamInstance)
        there.send(Kind.RESPOND, 1, {"parameters": [{}]}, given(1))
        responses = instance.stream(given(1)[0], REQUESTS[0])
        assert next(responses)["y"] == 1
        there.close()
        responses.close()


def test_nothing_comes_behind_a_last_response_though_the_process_is_gone() -> None:
    async def main() -> None:
        with channel_ends() as (ours, there):
            process: Any = Process()
            link = AsyncLink(process, ours, None, paced=True)
            instance = instance_on(link, partial(IsolatedAsyncStreamsInstance, max_concurrency=2, paced=True))
            (responses,) = instance.streams_async([given(1)[0]], REQUESTS)
            asked = await asyncio.to_thread(there.receive)
            last = {"parameters": [{}], "marked": {"final": True}}
            there.send(Kind.RESPOND, asked.number, last, given(1))
            assert (await anext(responses)).outputs["y"] == 1
            there.close()
            await asyncio.to_thread(link._reader.join, 10)
            with pytest.raises(StopAsyncIteration):
                await anext(responses)
            await responses.aclose()
            assert process.executing == {}
            link.close()

    asyncio.run(main())


def test_what_cannot_be_sent_is_waited_for_by_nobody() -> None:
    """It would be found to take too long, and the process would be killed for it."""

    async def main() -> None:
        with channel_ends() as (ours, _):
            process: Any = Process()
            link = AsyncLink(process, ours, 1000.0)
            with pytest.raises(MessageError):
                await link.ask_async(Kind.EXECUTE, 1, {"text": "x" * (65 * 2**20)})
            assert link._waiting == {}
            process.alive = False
            link.close()
            link._reader.join(60)
            assert link.descriptor == -1

    asyncio.run(main())


def test_a_cancellation_may_be_there_before_what_it_cancels() -> None:
    executing = Executing()
    executing.cancel(7, 1)
    requests = [SimpleNamespace(cancelled=False) for _ in range(2)]
    executing.begin(6, requests)
    assert [each.cancelled for each in requests] == [False, False]
    executing.end(6)
    executing.begin(7, requests)
    assert [each.cancelled for each in requests] == [False, True]


def test_an_answer_s_tensors_live_no_longer_than_who_has_got_them() -> None:
    async def main() -> None:
        with channel_ends() as (ours, there):
            process: Any = Process()
            link = AsyncLink(process, ours, None)
            reply = asyncio.create_task(link.ask_async(Kind.EXECUTE, 1))
            await asyncio.to_thread(there.receive)
            there.send(Kind.RESPOND, 1, {}, given(1))
            message = await reply
            last = weakref.ref(message.groups[0]["y"])
            del message, reply
            await asyncio.to_thread(wait_until, lambda: last() is None)
            process.alive = False
            link.close()

    asyncio.run(main())


class MakingProcess(Process):
    """One that makes instances."""

    cause = "was killed"

    def __init__(self) -> None:
        super().__init__()
        self.on_death: Any = None
        self.ends: list[Any] = []

    def instance(self, told: dict[str, Any]) -> tuple[Channel, dict[str, Any]]:
        ours, theirs = Channel.pair()
        self.ends.append(theirs)
        return Channel(ours), {}

    def watch(self, on_death: Any) -> None:
        self.on_death = on_death


def test_that_a_process_is_there_again_is_told_before_it_can_answer() -> None:
    """A client that has an answer of it must not be told next that the model is away."""
    first, second = MakingProcess(), MakingProcess()
    seen: list[tuple[bool, bool]] = []
    keeper = Keeper(lambda: second, lambda: seen.append((keeper.alive, seat.link is old)), None)  # type: ignore[arg-type,return-value]
    keeper.begin(first)  # type: ignore[arg-type]
    seat, _ = keeper.make({"order": ("execute",)})
    old = seat.link
    first.alive = False
    first.on_death()
    # When it has died, and when it is there again: with the way to it not known yet.
    assert seen == [(False, True), (True, True)]
    assert seat.link is not old
    assert seat.link is not None
    assert seat.link.process is second
    for link in (old, seat.link):
        assert link is not None
        link.forget()
    for end in first.ends + second.ends:
        end.close()
