"""Which executions the event loop hands over itself, and which go to the instance's thread. `test_scheduler.py` has
posting instances as well: every request gets its own outcome, whichever way.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import ExecutionLostError, ModelConfig, Placement
from kserve_v2.errors import ServingError, UnavailableError
from kserve_v2.messages import InferRequest, InferResponse, Tensors
from kserve_v2.scheduling.executing.posting import MOST_POSTED, MOST_SHORT_POSTED, _are_light, _Place
from kserve_v2.scheduling.executing.quickness import Quickness
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import infer
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.target import Reply
from kserve_v2.tracing.trace import Trace
from tests.scheduling.targets import queue_target

SIGNATURE = ModelSignature(
    text_format.Parse(
        """
        name: "echo" max_batch_size: 64
        input { name: "x" data_type: TYPE_INT64 dims: [-1] }
        output { name: "x" data_type: TYPE_INT64 dims: [-1] }
        """,
        ModelConfig(),
    )
)
BATCHES = BatchRules(max_rows=64)


class Echo:
    """The model and its only instance. The test is the other process: it says when an answer is there, and what it is."""

    def __init__(self) -> None:
        self.here, self.there = socket.socketpair()
        self.here.setblocking(False)
        self.collected = 0
        self.descriptor: int | None = self.here.fileno()
        self.posted: list[Tensors] = []
        self.executed: list[Tensors] = []
        self.refuses = self.loses_unsent = False
        self.refusal: type[Exception] = ValueError
        self.closed = False

    def instance(self, placement: Placement) -> "Echo":
        return self

    def post(self, tensors: Tensors, requests: Sequence[InferRequest]) -> None:
        if self.refuses:
            raise self.refusal("no")
        self.posted.append(tensors)

    def flush(self) -> None:
        if self.loses_unsent:
            self.loses_unsent, self.descriptor = False, None
            self.posted = []
            self.refuses, self.refusal = True, ExecutionLostError
            raise ExecutionLostError

    def collect(self) -> Tensors | None:
        try:
            told = self.here.recv(1)
        except BlockingIOError:
            return None
        if not told:
            self.descriptor = None
            raise ExecutionLostError
        if told == b"e":
            self.collected += 1
            raise ValueError("mistake")
        return None if told == b"p" else self.posted[self._collected()]

    def _collected(self) -> int:
        self.collected += 1
        return self.collected - 1

    def conclude(self) -> None:
        raise UnavailableError("it is gone")

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        self.executed.append(tensors)
        return tensors

    def answer(self, how: bytes = b"a") -> None:
        self.there.send(how)

    def close(self) -> None:
        self.closed = True


class ReviveEcho(Echo):
    """Comes back when the test wants it to."""

    revives = True

    def __init__(self) -> None:
        super().__init__()
        self.lost = False
        self.waits, self.back = threading.Event(), threading.Event()

    def go(self) -> None:
        self.lost = True
        self.there.close()

    def come_back(self) -> None:
        self.here.close()
        self.here, self.there = socket.socketpair()
        self.here.setblocking(False)
        self.posted, self.collected = [], 0
        self.back.set()

    def await_revival(self) -> None:
        self.waits.set()
        assert self.back.wait(60)
        self.descriptor = self.here.fileno()
        self.lost = False


class Several:
    """A model of several instances."""

    def __init__(self, instances: Sequence[Echo]) -> None:
        self._instances = list(instances)

    def instance(self, placement: Placement) -> Echo:
        return self._instances.pop()


def run(test: Callable[[Echo, QueueTarget], Awaitable[None]], rules: BatchRules = BATCHES) -> Echo:
    async def main() -> Echo:
        echo = Echo()
        # It stands still: everything is quick, however busy the machine is.
        target = queue_target(SIGNATURE, echo, rules, quickness=Quickness(lambda: 0))
        await target.start()
        try:
            await test(echo, target)
            await target.drain()
        finally:
            await target.stop()
        assert echo.closed
        echo.here.close()
        echo.there.close()
        return echo

    return asyncio.run(asyncio.wait_for(main(), 60))


def ask(target: QueueTarget, width: int = 1, trace: Trace | None = None) -> "asyncio.Task[InferResponse]":
    request = InferRequest("echo", {"x": np.arange(width, dtype=np.int64)[None]}, trace=trace)
    request.rows, request.batch_key = SIGNATURE.check(request)
    return asyncio.create_task(infer(target, request))


async def posted(echo: Echo, count: int = 1) -> None:
    while len(echo.posted) < count:  # noqa: ASYNC110 - the other process signals nobody
        await asyncio.sleep(0)


def test_a_small_request_is_posted_and_requests_of_one_turn_share_a_batch() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        asked = [ask(target, 3) for _ in range(5)]
        await posted(echo)
        echo.answer()
        for each in asked:
            assert (await each).outputs["x"].tolist() == [[0, 1, 2]]

    echo = run(test)
    assert [tensors["x"].shape for tensors in echo.posted] == [(5, 3)]
    assert echo.executed == []


def test_what_comes_meanwhile_waits_and_an_incomplete_answer_is_waited_for() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        first = ask(target)
        await posted(echo)
        later = [ask(target), ask(target)]
        echo.answer(b"p")
        while target.depth < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert not first.done()
        echo.answer()
        await first
        await posted(echo, 2)
        echo.answer()
        await asyncio.gather(*later)

    assert [len(tensors["x"]) for tensors in run(test).posted] == [1, 2]


def test_large_tensors_are_the_thread_s() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        answer = await ask(target, 2_000_000)
        assert answer.outputs["x"].shape == (1, 2_000_000)
        small = ask(target)
        await posted(echo)
        echo.answer()
        await small

    echo = run(test)
    assert [tensors["x"].shape for tensors in echo.executed] == [(1, 2_000_000)]
    assert [tensors["x"].shape for tensors in echo.posted] == [(1, 1)]


@pytest.mark.parametrize(
    ("array", "light"),
    [
        (np.zeros(1 << 20, np.uint8), True),
        (np.zeros(4 << 20, np.uint8), True),
        (np.zeros((4 << 20) + 1, np.uint8), False),
        (np.full(16 << 10, b"", object), True),
        (np.full((16 << 10) + 1, b"", object), False),
        (np.empty(0, object), True),
    ],
)
def test_what_the_event_loop_may_copy(array: np.ndarray[Any, Any], light: bool) -> None:
    pending = Pending(InferRequest("m", {"x": array}), cast("Reply", None))
    assert _are_light([pending]) is light


def test_requests_that_are_traced_are_the_thread_s() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        await ask(target, trace=Trace(1, "echo"))

    echo = run(test)
    assert (len(echo.executed), len(echo.posted)) == (1, 0)


def test_the_members_of_a_failed_batch_are_executed_by_themselves_on_the_thread() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        asked = [ask(target), ask(target)]
        await posted(echo)
        echo.answer(b"e")
        for each in asked:
            assert (await each).outputs["x"].tolist() == [[0]]
        lone = ask(target)
        await posted(echo, 2)
        echo.answer(b"e")
        with pytest.raises(ServingError, match="ValueError: mistake"):
            await lone

    echo = run(test)
    assert [len(tensors["x"]) for tensors in echo.posted] == [2, 1]
    assert [len(tensors["x"]) for tensors in echo.executed] == [1, 1]


def test_what_cannot_be_posted_fails_alone_however_many_wait() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        echo.refuses = True
        asked = [ask(target, width) for width in range(1, 300)]
        failures = await asyncio.gather(*asked, return_exceptions=True)
        assert all("ValueError: no" in str(failure) for failure in failures)
        echo.refuses = False
        good = ask(target)
        await posted(echo)
        echo.answer()
        await good

    run(test)


def test_without_another_process_requests_go_to_the_thread() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        executing = ask(target)
        await posted(echo)
        echo.there.close()
        with pytest.raises(UnavailableError, match="it is gone"):
            await executing
        assert (await ask(target)).outputs["x"].tolist() == [[0]]

    assert len(run(test).executed) == 1


def test_the_members_of_a_batch_that_was_lost_are_executed_by_themselves() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        asked = [ask(target), ask(target)]
        await posted(echo)
        echo.there.close()
        for each in asked:
            assert (await each).outputs["x"].tolist() == [[0]]

    assert [len(tensors["x"]) for tensors in run(test).executed] == [1, 1]


def test_what_was_not_sent_because_the_other_process_is_gone_is_executed() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        echo.refuses = True
        echo.refusal = ExecutionLostError
        assert (await ask(target)).outputs["x"].tolist() == [[0]]

    assert len(run(test).executed) == 1


def test_what_was_posted_and_never_sent_is_executed() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        await warmed_up(echo, target)
        echo.loses_unsent = True
        asked = [ask(target, width) for width in (1, 2, 3)]
        for width, each in enumerate(asked, 1):
            assert (await each).outputs["x"].shape == (1, width)

    assert len(run(test, ONE_AT_A_TIME).executed) == 3


def test_an_instance_that_is_lost_gets_nothing_until_it_is_back() -> None:
    """The other one executes what comes meanwhile."""

    async def main() -> None:
        echoes = [ReviveEcho(), ReviveEcho()]
        target = queue_target(SIGNATURE, Several(echoes), BATCHES, instances=["one", "two"])
        await target.start()
        first = ask(target)
        while not any(each.posted for each in echoes):  # noqa: ASYNC110
            await asyncio.sleep(0)
        (asked,) = [each for each in echoes if each.posted]
        asked.answer()
        await first
        asked.go()
        while not asked.waits.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0)
        (other,) = [each for each in echoes if each is not asked]
        for number in range(1, 4):
            one = ask(target)
            await posted(other, number)
            other.answer()
            await one
        asked.come_back()
        both = [ask(target), ask(target, 2)]
        await posted(asked)
        await posted(other, 4)
        asked.answer()
        other.answer()
        await asyncio.gather(*both)
        assert (len(asked.executed), len(other.executed)) == (0, 0)
        await target.stop()
        for each in echoes:
            each.here.close()
            each.there.close()

    asyncio.run(asyncio.wait_for(main(), 60))


async def warmed_up(echo: "Echo", target: QueueTarget) -> None:
    """Until it is known to be quick."""
    one = ask(target)
    await posted(echo)
    echo.answer()
    await one
    echo.posted, echo.collected = [], 0


def test_batches_that_cannot_grow_wait_in_the_other_process_and_are_answered_in_order() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        await warmed_up(echo, target)
        asked = [ask(target, width) for width in range(1, MOST_POSTED + 4)]
        await posted(echo, MOST_POSTED)
        while target.depth > 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert [tensors["x"].shape[1] for tensors in echo.posted] == [*range(1, MOST_POSTED + 1)]
        for _ in asked:
            echo.answer()
        for width, each in enumerate(asked, 1):
            assert (await each).outputs["x"].shape == (1, width)

    run(test, ONE_AT_A_TIME)


def test_what_is_posted_ahead_is_shared_out() -> None:
    """One process does not have all of it while another has nothing more to do."""

    async def main() -> None:
        echoes = [Echo(), Echo()]
        target = queue_target(
            SIGNATURE,
            Several(echoes),
            ONE_AT_A_TIME,
            quickness=Quickness(lambda: 0),
            instances=["one", "two"],
        )
        await target.start()
        for count in (2, 8):
            asked = [ask(target) for _ in range(count)]
            for echo in echoes:
                await posted(echo, count // 2)
            for echo in echoes:
                for _ in range(count // 2):
                    echo.answer()
            await asyncio.gather(*asked)
            assert [len(echo.posted) for echo in echoes] == [count // 2, count // 2]
            for echo in echoes:
                echo.posted, echo.collected = [], 0
        await target.stop()
        for echo in echoes:
            echo.here.close()
            echo.there.close()

    asyncio.run(asyncio.wait_for(main(), 60))


class Pair:
    """Two instances of a model on two CPUs, one of which the event loop needs. The test sets the clock."""

    def __init__(self) -> None:
        self.echoes = [Echo(), Echo()]
        self.now_ns = 0

    def run(self, test: Callable[["Pair", QueueTarget], Awaitable[None]], **more: Any) -> None:
        async def main() -> None:
            target = queue_target(
                SIGNATURE,
                Several(self.echoes),
                ONE_AT_A_TIME,
                quickness=Quickness(lambda: self.now_ns),
                instances=["one", "two"],
                **{"cpus": 2} | more,
            )
            await target.start()
            await test(self, target)
            await target.stop()
            for echo in self.echoes:
                echo.here.close()
                echo.there.close()

        asyncio.run(asyncio.wait_for(main(), 60))

    @property
    def posted(self) -> list[int]:
        """How many executions each of them has, the one that has most first."""
        return sorted([len(each.posted) - each.collected for each in self.echoes], reverse=True)

    @property
    def busiest(self) -> Echo:
        return max(self.echoes, key=lambda each: len(each.posted) - each.collected)

    async def answer(self, asked: Sequence["asyncio.Task[InferResponse]"], took_ns: int = 0) -> None:
        """All that they have."""
        self.now_ns += took_ns
        for echo in self.echoes:
            for _ in range(len(echo.posted) - echo.collected):
                echo.answer()
        await asyncio.gather(*asked)

    async def finish(self, asked: Sequence["asyncio.Task[InferResponse]"]) -> None:
        """Answer what they have, and what comes then."""
        while not all(task.done() for task in asked):
            there = [len(each.posted) for each in self.echoes]
            for echo, count in zip(self.echoes, there, strict=True):
                for _ in range(count - echo.collected):
                    echo.answer()
            while [each.collected for each in self.echoes] != there:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.gather(*asked)

    async def settle(self, target: QueueTarget, took_ns: int, rounds: int = 40) -> None:
        """Until it is known of both how long an execution takes. They have the CPU in turns."""
        for _ in range(rounds):
            asked = [ask(target), ask(target)]
            while sum(self.posted) < len(asked):  # noqa: ASYNC110
                await asyncio.sleep(0)
            await self.answer(asked, took_ns * 2)

    async def ask(self, target: QueueTarget, count: int, *shares: int) -> list["asyncio.Task[InferResponse]"]:
        """When they have been shared out so."""
        asked = [ask(target) for _ in range(count)]
        while self.posted != list(shares):
            assert sum(self.posted) < sum(shares), self.posted
            await asyncio.sleep(0)
        # What was to be begun at the end of that turn is.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert self.posted == list(shares)
        return asked


SHORT_NS = 150_000


def test_short_executions_have_as_many_instances_as_there_are_cpus_beside_the_event_loop_s() -> None:
    async def test(pair: Pair, target: QueueTarget) -> None:
        # Nothing is known yet.
        await pair.answer(await pair.ask(target, 2, 1, 1))
        await pair.settle(target, SHORT_NS)
        await pair.answer(await pair.ask(target, 10, 10, 0))

    Pair().run(test)


@pytest.mark.parametrize(
    ("took_ns", "more"), [(300_000, {}), (SHORT_NS, {"cpus": 3}), (SHORT_NS, {"kind": "GPU"})]
)
def test_others_are_spread_over_all_instances(took_ns: int, more: dict[str, Any]) -> None:
    async def test(pair: Pair, target: QueueTarget) -> None:
        await pair.settle(target, took_ns)
        await pair.answer(await pair.ask(target, 10, 5, 5))

    Pair().run(test, **more)


@pytest.mark.parametrize(
    ("took_ns", "count", "shares"),
    [(1_200_000, 10, (2, 2)), (1_200_000, 5, (2, 1)), (1_200_000, 4, (1, 1)), (3_200_000, 10, (1, 1))],
    ids=["many wait", "one more than there are instances", "as many as there are instances", "too slow"],
)
def test_while_many_wait_an_instance_knows_what_is_next(
    took_ns: int, count: int, shares: tuple[int, int]
) -> None:
    """Unless those that are executed take long: then whoever is free first gets it."""

    async def test(pair: Pair, target: QueueTarget) -> None:
        await pair.settle(target, took_ns // 2)
        await pair.finish(await pair.ask(target, count, *shares))

    Pair().run(test)


def test_nothing_waits_in_a_process_of_which_nothing_is_known() -> None:
    async def test(pair: Pair, target: QueueTarget) -> None:
        await pair.finish(await pair.ask(target, 10, 1, 1))

    Pair().run(test)


def test_nobody_waits_for_an_instance_that_is_late_while_another_one_has_nothing_to_do() -> None:
    async def test(pair: Pair, target: QueueTarget) -> None:
        await pair.settle(target, SHORT_NS)
        asked = await pair.ask(target, MOST_SHORT_POSTED + 3, MOST_SHORT_POSTED, 0)
        # One that comes later is not needed for that.
        pair.now_ns += 4_000_000
        while sum(pair.posted) < MOST_SHORT_POSTED + 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert pair.posted == [MOST_SHORT_POSTED, 3]
        await pair.answer(asked)

    Pair().run(test)


def test_after_a_stall_nothing_waits_in_a_process_until_many_executions_have_not_stalled() -> None:
    async def test(pair: Pair, target: QueueTarget) -> None:
        await pair.settle(target, SHORT_NS)
        await pair.answer(await pair.ask(target, 10, 5, 5))
        await pair.settle(target, 51_000_000, 1)
        await pair.settle(target, SHORT_NS, 990)
        await pair.finish(await pair.ask(target, 10, 1, 1))
        await pair.settle(target, SHORT_NS)
        await pair.answer(await pair.ask(target, 10, 5, 5))

    Pair().run(test, cpus=3)


@pytest.mark.parametrize(("quick", "again"), [(32_000, 1000), (31_000, 2000)])
def test_a_stall_is_forgiven_when_many_more_executions_have_not_stalled(quick: int, again: int) -> None:
    runner: Any = SimpleNamespace(instance=None)
    place = _Place(runner)

    def execute(took_ns: int, count: int) -> None:
        place.since_ns = took_ns * count
        place.measured(0, count, 1)

    execute(101_000_000, 1)
    assert place.doubts == 1000
    execute(1_000, 1000)
    execute(1_000, quick)
    execute(101_000_000, 1)
    assert place.doubts == again


def test_what_an_instance_that_is_gone_has_not_begun_is_executed_by_the_other_one() -> None:
    async def test(pair: Pair, target: QueueTarget) -> None:
        await pair.settle(target, SHORT_NS)
        asked = await pair.ask(target, 5, 5, 0)
        gone = pair.busiest
        (other,) = [each for each in pair.echoes if each is not gone]
        before = len(other.posted)
        gone.there.close()
        await posted(other, before + 4)
        for _ in range(4):
            other.answer()
        first, *others = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(first, UnavailableError)
        assert all(isinstance(each, InferResponse) for each in others)

    Pair().run(test)


def test_batches_that_may_grow_wait_in_the_queue() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        await warmed_up(echo, target)
        first = ask(target)
        await posted(echo)
        later = [ask(target) for _ in range(3)]
        while target.depth < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        echo.answer()
        await first
        await posted(echo, 2)
        echo.answer()
        await asyncio.gather(*later)
        assert [len(tensors["x"]) for tensors in echo.posted] == [1, 3]

    run(test)


def test_what_was_posted_behind_the_one_that_was_lost_is_executed_once() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        await warmed_up(echo, target)
        asked = [ask(target, width) for width in (1, 2, 3)]
        await posted(echo, 3)
        echo.answer()
        echo.there.close()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [getattr(each, "outputs", {"x": np.empty(0)})["x"].size for each in answers] == [1, 0, 3]
        assert isinstance(answers[1], UnavailableError)
        assert [tensors["x"].size for tensors in echo.executed] == [3]

    run(test, ONE_AT_A_TIME)


def test_one_that_fails_between_others_that_are_posted_fails_alone() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        await warmed_up(echo, target)
        asked = [ask(target, width) for width in (1, 2, 3)]
        await posted(echo, 3)
        for how in (b"a", b"e", b"a"):
            echo.answer(how)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(each, InferResponse) for each in answers] == [True, False, True]

    run(test, ONE_AT_A_TIME)


def test_members_of_a_batch_that_has_failed_wait_for_those_that_are_posted() -> None:
    """The instance's thread and the event loop never use an instance at the same time."""

    async def test(echo: Echo, target: QueueTarget) -> None:
        await warmed_up(echo, target)
        full = [ask(target) for _ in range(4)]
        await posted(echo, 2)
        assert [len(tensors["x"]) for tensors in echo.posted] == [2, 2]
        echo.answer(b"e")
        while echo.collected < 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert echo.executed == []
        echo.answer()
        await asyncio.gather(*full)
        assert [len(tensors["x"]) for tensors in echo.executed] == [1, 1]

    run(test, BatchRules(max_rows=2))


def test_a_batch_that_fails_before_one_that_is_lost_costs_the_instance_no_turn() -> None:
    """The members of both are executed by themselves, those of the first before it is known what the second has."""

    async def test(echo: Echo, target: QueueTarget) -> None:
        await warmed_up(echo, target)
        asked = [ask(target, width) for width in (1, 1, 2, 2)]
        await posted(echo, 2)
        echo.answer(b"e")
        while echo.collected < 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
        echo.there.close()
        for each, width in zip(asked, (1, 1, 2, 2), strict=True):
            assert (await each).outputs["x"].shape == (1, width)
        # The thread tells that it is idle, and gets what comes now.
        assert (await ask(target, 3)).outputs["x"].shape == (1, 3)

    assert [tensors["x"].shape for tensors in run(test, BatchRules(max_rows=2)).executed] == [
        *[(1, 1)] * 2,
        *[(1, 2)] * 2,
        (1, 3),
    ]


def test_the_time_in_front_of_an_execution_is_no_part_of_it() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        await warmed_up(echo, target)
        asked = [ask(target) for _ in range(4)]
        await posted(echo, 4)
        told_ns = time.monotonic_ns()
        for _ in range(4):
            echo.answer()
        first, *others = [await each for each in asked]
        assert first.taken_ns < told_ns
        assert all(each.taken_ns >= told_ns for each in others)

    run(test, ONE_AT_A_TIME)


def test_another_process_that_goes_while_nothing_is_posted_is_noticed() -> None:
    async def test(echo: Echo, target: QueueTarget) -> None:
        echo.there.close()
        while echo.descriptor is not None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert (await ask(target)).outputs["x"].tolist() == [[0]]

    assert len(run(test).executed) == 1


def test_a_batch_may_wait_to_grow() -> None:
    async def main() -> None:
        echo = Echo()
        rules = BatchRules(max_rows=2, max_delay_ns=3_600_000_000_000)
        target = queue_target(SIGNATURE, echo, rules)
        await target.start()
        first = ask(target)
        while target.depth < 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        assert echo.posted == []
        second = ask(target)
        await posted(echo)
        echo.answer()
        await asyncio.gather(first, second)
        assert len(echo.posted[0]["x"]) == 2
        last = ask(target)
        while target.depth < 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
        # Closed: nothing can come any more that would be worth waiting for.
        stopping = asyncio.create_task(target.stop())
        await posted(echo, 2)
        assert not stopping.done()
        echo.answer()
        await last
        await stopping
        echo.here.close()
        echo.there.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_closed_loop_s_thread_ends() -> None:
    before = set(threading.enumerate())
    run(lambda _, __: asyncio.sleep(0))
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()


def test_a_thread_that_tells_twice_that_it_is_idle_gives_nothing_away() -> None:
    """It was interrupted between the two."""

    async def test(echo: Echo, target: QueueTarget) -> None:
        poster = target._poster
        assert poster is not None
        (place,) = poster._places
        tell = place.runner.on_idle
        assert tell is not None
        told: list[int] = []
        place.runner.on_idle = lambda turn: (told.append(turn), tell(turn))
        await ask(target, 2_000_000)
        while not told:  # noqa: ASYNC110
            await asyncio.sleep(0)
        first = ask(target, 1)
        await posted(echo)
        tell(told[0])
        second = ask(target, 2)
        while target.depth < 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
        tell(told[0])
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(echo.posted) == 1
        echo.answer()
        assert (await first).outputs["x"].shape == (1, 1)
        await posted(echo, 2)
        echo.answer()
        assert (await second).outputs["x"].shape == (1, 2)

    run(test)


@pytest.mark.parametrize(("together", "takes_more"), [(1, False), (MOST_POSTED, True)])
def test_answers_that_come_together_have_each_taken_a_part_of_the_time(
    together: int, takes_more: bool
) -> None:
    """Another process sends several answers at a time. The first has not taken all of it, nor the others nothing."""
    runner: Any = SimpleNamespace(instance=None)
    place = _Place(runner)
    execution: Any = SimpleNamespace(begins=lambda: None)
    place.since_ns = 1_000_000
    place.posted.extend([execution] * (together + 1))
    for _ in range(together):
        place.answered(6_000_000)
    place.measured(1_000_000, together, 1)
    assert place.takes_more(crowded=False) is takes_more
