"""Which way a request goes: over an instance's thread, or in place where the model is quicker than that."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import Instance, ModelConfig, Placement
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest, InferResponse, Tensors
from kserve_v2.scheduling.executing.in_place import MAX_TURN_NS
from kserve_v2.scheduling.executing.quickness import MAX_NS, CpuTime, Quickness
from kserve_v2.scheduling.executing.turn import CROWD_REQUESTS, LOOK_EVERY, MAX_LOOK_EVERY, PROBE_EVERY
from kserve_v2.scheduling.limiting.rate_limiter import RateLimiter
from kserve_v2.scheduling.limiting.resources import Limits, Resource
from kserve_v2.scheduling.queueing.levels import PriorityLevels, QueuePolicy
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import Outcome, infer
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import FailureReason
from kserve_v2.scheduling.target import Ticket
from kserve_v2.tracing.trace import Trace
from tests.scheduling.targets import queue_target, submit_to


class Clock:
    """Nanoseconds that pass when a model says so, of wall time and of CPU time alike."""

    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


class Fixed(Quickness):
    """Takes a model for a quick one, or for a slow one, whatever is measured; which is taken down."""

    __slots__ = ("hand_overs", "here", "there")

    def __init__(self, clock: Clock, *, quick: bool = True) -> None:
        super().__init__(clock, CpuTime(clock, 0))
        self.execution_ns, self.limit_ns = (1_000, MAX_NS) if quick else (MAX_NS, 1_000)
        self.here: list[int] = []
        self.there: list[int] = []
        self.hand_overs: list[int] = []

    def executed_here(self, took_ns: int, end_ns: int, rows: int = 1) -> None:
        self.here.append(took_ns)

    def executed_there(self, took_ns: int, rows: int = 1) -> None:
        self.there.append(took_ns)

    def handed_over(self, took_ns: int) -> None:
        self.hand_overs.append(took_ns)


class ThreadModel:
    """Answers with the input; remembers on which threads it was executed. -1 is a client's mistake.

    An execution takes `busy_ns`, of its clock.
    """

    def __init__(self, *, movable: bool = True, clock: Clock | None = None) -> None:
        self.movable = movable
        self.clock = clock or Clock()
        self.busy_ns = 0
        self.threads: list[str] = []

    def instance(self, placement: Placement) -> Instance:
        return MovableThreadInstance(self) if self.movable else ThreadInstance(self)

    def close(self) -> None:
        pass


class ThreadInstance:
    def __init__(self, model: ThreadModel) -> None:
        self.model = model

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        self.model.threads.append(threading.current_thread().name)
        self.model.clock.now_ns += self.model.busy_ns
        if (tensors["x"] < 0).any():
            raise InvalidArgumentError("input 'x' is negative")
        return tensors

    def close(self) -> None:
        pass


class MovableThreadInstance(ThreadInstance):
    movable: Literal[True] = True


class UnsureInstance(ThreadInstance):
    movable = False


def scheduler_of(
    model: ThreadModel,
    dims: str = "[1]",
    rules: BatchRules = BatchRules(8),  # noqa: B008 - frozen
    quickness: Quickness | None = None,
    **options: Any,
) -> QueueTarget:
    """A scheduler that takes its model for a quick one, unless `quickness` is given. `options`: see `queue_target`."""
    tensor = f'name: "x" data_type: TYPE_INT64 dims: {dims}'
    config = f'name: "m" max_batch_size: 8 input {{ {tensor} }} output {{ {tensor} }}'
    signature = ModelSignature(text_format.Parse(config, ModelConfig()))
    quickness = quickness or Fixed(model.clock)
    return queue_target(signature, model, rules, quickness=quickness, **options)


async def ask(scheduler: QueueTarget, value: int) -> int:
    request = InferRequest("m", {"x": np.array([[value]])})
    answer = await infer(scheduler, request)
    return int(answer.outputs["x"].item())


async def asleep(scheduler: QueueTarget) -> None:
    """Wait for the instance to sleep, in a new turn of the loop."""
    await asyncio.sleep(0)
    while not scheduler._queue.idle:  # noqa: ASYNC110 - an instance that falls asleep signals nobody
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


@pytest.mark.parametrize(("quick", "thread"), [(True, "MainThread"), (False, "instance")])
def test_a_quick_model_is_executed_in_place(quick: bool, thread: str) -> None:
    async def main() -> None:
        model = ThreadModel()
        scheduler = scheduler_of(model, quickness=Fixed(model.clock, quick=quick))
        await scheduler.start()
        await asleep(scheduler)
        assert await ask(scheduler, 5) == 5
        assert model.threads == [thread]
        statistics = scheduler.spec.statistics
        assert (statistics.success_count, statistics.waited.up_to()[-1]) == (1, 1)
        await scheduler.stop()

    run(main)


class UnsureModel(ThreadModel):
    def instance(self, placement: Placement) -> Instance:
        return UnsureInstance(self)


@pytest.mark.parametrize(
    "scheduler_and_model",
    [
        pytest.param(lambda: (model := ThreadModel(movable=False), scheduler_of(model)), id="not movable"),
        pytest.param(lambda: (model := UnsureModel(), scheduler_of(model)), id="says that it is not"),
        pytest.param(lambda: (model := ThreadModel(), scheduler_of(model, dims="[-1]")), id="shapes vary"),
        pytest.param(
            lambda: (model := ThreadModel(), scheduler_of(model, rules=BatchRules(8, max_delay_ns=1000))),
            id="batches wait",
        ),
        pytest.param(
            lambda: (
                model := ThreadModel(),
                scheduler_of(model, limiter=RateLimiter(), limits=Limits({Resource("r"): 1})),
            ),
            id="needs resources",
        ),
    ],
)
def test_some_models_are_never_executed_in_place(
    scheduler_and_model: Callable[[], tuple[ThreadModel, QueueTarget]],
) -> None:
    async def main() -> None:
        model, scheduler = scheduler_and_model()
        await scheduler.start()
        await asleep(scheduler)
        await ask(scheduler, 5)
        assert model.threads == ["instance"]
        await scheduler.stop()

    run(main)


def test_a_model_without_needs_is_executed_in_place_whatever_others_need() -> None:
    async def main() -> None:
        model = ThreadModel()
        scheduler = scheduler_of(model, limiter=RateLimiter())
        await scheduler.start()
        await asleep(scheduler)
        await ask(scheduler, 5)
        assert model.threads == ["MainThread"]
        await scheduler.stop()

    run(main)


def test_requests_of_one_turn_are_executed_by_their_priorities() -> None:
    async def main() -> None:
        model = ThreadModel()
        levels = PriorityLevels((QueuePolicy(),) * 3, default=1)
        scheduler = scheduler_of(model, rules=ONE_AT_A_TIME, levels=levels)
        await scheduler.start()
        await asleep(scheduler)
        scheduler._in_place.turn.crowded = True
        order: list[int] = []
        for value, priority in enumerate([3, 2, 1, 0, 9, 1]):
            request = InferRequest("m", {"x": np.array([[value]])}, control={"priority": priority})
            submit_to(scheduler, request, lambda _, value=value: order.append(value))
        await scheduler.drain()
        assert order == [2, 5, 1, 3, 4, 0]
        assert set(model.threads) == {"MainThread"}
        await scheduler.stop()

    run(main)


def test_a_request_that_is_traced_is_not_executed_in_place() -> None:
    """Its trace tells of the queue and the instance, as that of any other model does."""

    async def main() -> None:
        model = ThreadModel()
        scheduler = scheduler_of(model)
        await scheduler.start()
        await asleep(scheduler)
        trace = Trace(1, "m")
        await infer(scheduler, InferRequest("m", {"x": np.array([[1]])}, trace=trace))
        assert model.threads == ["instance"]
        assert {"QUEUE_START", "COMPUTE_START", "REQUEST_END"} <= {name for name, _ in trace.times}
        await scheduler.stop()

    run(main)


def test_one_that_has_been_slow_in_place_goes_to_its_thread() -> None:
    """A client can make a model slow by what it sends: the event loop waits for that once."""

    async def main() -> None:
        clock = Clock()
        model, quickness = ThreadModel(clock=clock), Quickness(clock, CpuTime(clock, 0))
        scheduler = scheduler_of(model, quickness=quickness)
        await scheduler.start()
        await asleep(scheduler)
        quickness.execution_ns, quickness.limit_ns = 1_000, MAX_NS
        await ask(scheduler, 1)
        model.busy_ns = 20_000_000_000
        await ask(scheduler, 2)
        model.busy_ns = 0
        for value in range(20):
            await asleep(scheduler)
            await ask(scheduler, value)
        assert model.threads == ["MainThread"] * 2 + ["instance"] * 20
        await scheduler.stop()

    run(main)


def test_one_that_takes_long_to_fail_in_place_goes_to_its_thread() -> None:
    async def main() -> None:
        clock = Clock()
        model, quickness = ThreadModel(clock=clock), Quickness(clock, CpuTime(clock, 0))
        scheduler = scheduler_of(model, quickness=quickness)
        await scheduler.start()
        await asleep(scheduler)
        quickness.execution_ns, quickness.limit_ns = 1_000, MAX_NS
        model.busy_ns = 20_000_000_000
        for _ in range(2):
            with pytest.raises(InvalidArgumentError):
                await ask(scheduler, -1)
        assert model.threads == ["MainThread", "instance"]
        await scheduler.stop()

    run(main)


@pytest.mark.parametrize(("busy_ns", "distrusted"), [(3 * MAX_NS, False), (3 * MAX_NS + 1, True)])
def test_a_batch_may_take_as_long_as_its_rows_would(busy_ns: int, distrusted: bool) -> None:
    async def main() -> None:
        clock = Clock()
        model, quickness = ThreadModel(clock=clock), Quickness(clock, CpuTime(clock, 0))
        scheduler = scheduler_of(model, quickness=quickness)
        await scheduler.start()
        await asleep(scheduler)
        quickness.execution_ns, quickness.limit_ns = 1_000, MAX_NS
        scheduler._in_place.turn._decisions = LOOK_EVERY - 1
        outcomes: list[Outcome] = []
        for value in range(4):
            submit(scheduler, value, outcomes)
        model.busy_ns = busy_ns
        await scheduler.drain()
        assert model.threads == ["MainThread", "MainThread"]
        assert quickness.distrusted is distrusted
        await scheduler.stop()

    run(main)


def test_the_rest_of_a_turn_goes_to_the_thread_once_the_model_has_been_slow() -> None:
    async def main() -> None:
        clock = Clock()
        model, quickness = ThreadModel(clock=clock), Quickness(clock, CpuTime(clock, 0))
        scheduler = scheduler_of(model, rules=ONE_AT_A_TIME, quickness=quickness)
        await scheduler.start()
        await asleep(scheduler)
        quickness.execution_ns, quickness.limit_ns = 1_000, MAX_NS
        scheduler._in_place.turn._decisions = LOOK_EVERY - 1
        outcomes: list[Outcome] = []
        for value in range(4):
            submit(scheduler, value, outcomes)
        model.busy_ns = MAX_NS + 1
        await scheduler.drain()
        assert model.threads == ["MainThread", "MainThread", "instance", "instance"]
        assert len(outcomes) == 4
        await scheduler.stop()

    run(main)


def test_both_ways_go_on_being_measured() -> None:
    async def main() -> None:
        model = ThreadModel()
        scheduler = scheduler_of(model)
        await scheduler.start()
        for value in range(2 * PROBE_EVERY):
            await asleep(scheduler)
            assert await ask(scheduler, value) == value
        assert model.threads.count("instance") == 2
        assert model.threads.count("MainThread") == 2 * PROBE_EVERY - 2
        quickness = scheduler._in_place._quickness
        assert isinstance(quickness, Fixed)
        assert len(quickness.there) == len(quickness.hand_overs) == 2
        assert len(quickness.here) == 2 * PROBE_EVERY - 2
        await scheduler.stop()

    run(main)


def submit(scheduler: QueueTarget, value: int, outcomes: list[Outcome]) -> Ticket | None:
    """As a front end does. None for a request that has its outcome already."""
    return submit_to(scheduler, InferRequest("m", {"x": np.array([[value]])}), outcomes.append)


@asynccontextmanager
async def quick(rules: BatchRules = BatchRules(8)) -> AsyncIterator[QueueTarget]:  # noqa: B008 - frozen
    """A scheduler that takes its model for a quick one, and will look for others after the next request."""
    scheduler = scheduler_of(ThreadModel(), rules=rules)
    await scheduler.start()
    await asleep(scheduler)
    scheduler._in_place.turn._decisions = LOOK_EVERY - 1
    yield scheduler
    await scheduler.drain()
    await scheduler.stop()


@pytest.mark.parametrize(
    ("rules", "batches"), [(BatchRules(8), {1: 1, 8: 2, 3: 1}), (ONE_AT_A_TIME, {1: 20})]
)
def test_requests_that_come_together_are_executed_at_the_end_of_the_turn(
    rules: BatchRules, batches: dict[int, int]
) -> None:
    """But for the first, which could not know."""

    async def main() -> None:
        async with quick(rules) as scheduler:
            outcomes: list[Outcome] = []
            for value in range(20):
                submit(scheduler, value, outcomes)
            assert len(outcomes) == 1
            await asyncio.sleep(0)
            assert [o.outputs["x"].item() for o in outcomes if isinstance(o, InferResponse)] == list(
                range(20)
            )
            found = {rows: each.count for rows, each in scheduler.spec.statistics.batches.items()}
            assert found == batches

    run(main)


def test_whether_there_are_others_is_not_looked_for_each_time() -> None:
    async def main() -> None:
        async with quick() as scheduler:
            scheduler._in_place.turn._decisions = 0
            outcomes: list[Outcome] = []
            at_once = [submit(scheduler, value, outcomes) is None for value in range(20)]
            assert at_once == [True] * LOOK_EVERY + [False] * (20 - LOOK_EVERY)

    run(main)


def test_for_some_time_after_that_requests_wait_for_others() -> None:
    async def main() -> None:
        async with quick() as scheduler:
            outcomes: list[Outcome] = []
            assert submit(scheduler, 0, outcomes) is None
            assert submit(scheduler, 1, outcomes) is not None
            at_once = []
            for value in range(100):
                await asyncio.sleep(0)
                at_once.append(submit(scheduler, value, outcomes) is None)
            alone = CROWD_REQUESTS - 1
            assert at_once == [False] * alone + [True] * (100 - alone)

    run(main)


@pytest.mark.parametrize(
    ("at_a_time", "execution_ns", "rules", "pays"),
    [
        pytest.param(2, 1_000, BatchRules(8), False, id="few requests, tiny model"),
        pytest.param(3, 1_000, BatchRules(8), True, id="several requests, tiny model"),
        pytest.param(2, MAX_NS // 2, BatchRules(8), True, id="few requests, longer model"),
        pytest.param(3, MAX_NS // 2, ONE_AT_A_TIME, False, id="one at a time, longer model"),
    ],
)
def test_a_crowd_is_gathered_for_as_long_as_that_is_worth_while(
    at_a_time: int, execution_ns: int, rules: BatchRules, pays: bool
) -> None:
    async def main() -> None:
        async with quick(rules) as scheduler:
            scheduler._in_place._quickness.execution_ns = execution_ns
            outcomes: list[Outcome] = []
            assert submit(scheduler, 0, outcomes) is None
            turns = -(-CROWD_REQUESTS // at_a_time)
            for turn in range(turns + LOOK_EVERY // at_a_time):
                waits = [submit(scheduler, value, outcomes) is not None for value in range(at_a_time)]
                assert waits == [pays or turn < turns] * at_a_time
                await asyncio.sleep(0)

    run(main)


def test_a_crowd_that_is_not_worth_while_is_looked_for_less_and_less_often() -> None:
    async def main() -> None:
        async with quick(ONE_AT_A_TIME) as scheduler:
            turn, outcomes = scheduler._in_place.turn, list[Outcome]()
            alone = []
            for _ in range(9):
                alone.append(0)
                while submit(scheduler, 0, outcomes) is None:
                    alone[-1] += 1
                for value in range(CROWD_REQUESTS - 1):
                    assert submit(scheduler, value, outcomes) is not None
                await asyncio.sleep(0)
                assert not turn.crowded
            # The first look was near, see `quick`; each one is at a multiple of its interval.
            assert alone == [1, 16, 32, 64, 128, 256, 512, 1024, 1024]
            scheduler.rules = BatchRules(8)
            turn._decisions = MAX_LOOK_EVERY - 1
            for value in range(CROWD_REQUESTS + 1):
                submit(scheduler, value, outcomes)
            await asyncio.sleep(0)
            assert (turn.crowded, turn._look_every) == (True, LOOK_EVERY)

    run(main)


def test_a_request_that_is_given_up_within_the_turn_is_not_executed() -> None:
    async def main() -> None:
        async with quick() as scheduler:
            outcomes: list[Outcome] = []
            _, given_up, _ = [submit(scheduler, value, outcomes) for value in range(3)]
            assert given_up is not None
            given_up.give_up()
            given_up.give_up()
            await asyncio.sleep(0)
            assert [o.outputs["x"].item() for o in outcomes if isinstance(o, InferResponse)] == [0, 2]
            statistics = scheduler.spec.statistics
            assert (statistics.success_count, statistics.failures[FailureReason.CANCELED]) == (2, 1)

    run(main)


def test_an_error_at_the_end_of_a_turn_is_one_request_s() -> None:
    async def main() -> None:
        async with quick() as scheduler:
            outcomes: list[Outcome] = []
            for value in (1, 2, -1, 3):
                submit(scheduler, value, outcomes)
            await asyncio.sleep(0)
            assert [type(outcome) for outcome in outcomes] == [
                InferResponse, InferResponse, InvalidArgumentError, InferResponse,
            ]  # fmt: skip

    run(main)


def test_a_turn_that_takes_too_long_is_finished_by_the_thread() -> None:
    async def main() -> None:
        model = ThreadModel()
        scheduler = scheduler_of(model, rules=ONE_AT_A_TIME)
        await scheduler.start()
        await asleep(scheduler)
        scheduler._in_place.turn._decisions = LOOK_EVERY - 1
        model.busy_ns = 2 * MAX_TURN_NS
        outcomes: list[Outcome] = []
        for value in range(4):
            submit(scheduler, value, outcomes)
        await scheduler.drain()
        assert model.threads == ["MainThread", "MainThread", "instance", "instance"]
        assert len(outcomes) == 4
        await scheduler.stop()

    run(main)


def test_an_error_in_place_is_the_request_s_outcome() -> None:
    async def main() -> None:
        scheduler = scheduler_of(ThreadModel())
        await scheduler.start()
        await asleep(scheduler)
        with pytest.raises(InvalidArgumentError, match="input 'x' is negative"):
            await ask(scheduler, -1)
        assert await ask(scheduler, 1) == 1
        await scheduler.stop()

    run(main)


def test_an_unknown_model_is_measured_on_its_thread_first() -> None:
    async def main() -> None:
        model, quickness = ThreadModel(), Quickness()
        scheduler = scheduler_of(model, quickness=quickness)
        await scheduler.start()
        await asleep(scheduler)
        assert not quickness.quick
        before = quickness.execution_ns, quickness.limit_ns
        await ask(scheduler, 1)
        assert model.threads == ["instance"]
        assert before != (quickness.execution_ns, quickness.limit_ns)
        assert quickness.limit_ns > 0
        await scheduler.stop()

    run(main)


class OneAtATime(ThreadModel):
    """Says so if two threads are in it at once. On its own thread it waits for `gate`."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.inside = threading.Lock()
        self.together = 0

    def instance(self, placement: Placement) -> Instance:
        return OneAtATimeInstance(self)


class OneAtATimeInstance(MovableThreadInstance):
    model: OneAtATime

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        alone = self.model.inside.acquire(blocking=False)
        self.model.together += not alone
        try:
            if threading.current_thread() is not threading.main_thread():
                self.model.entered.release()
                assert self.model.gate.wait(60)
            return super().execute(tensors, requests)
        finally:
            if alone:
                self.model.inside.release()


@asynccontextmanager
async def crowded(rules: BatchRules) -> AsyncIterator[tuple[OneAtATime, QueueTarget, list[Outcome]]]:
    """A target in whose turn of the loop one request is gathered, and that cuts large ones."""
    model = OneAtATime()
    target = scheduler_of(model, rules=rules)
    target.splits_large_requests = target.spec.signature.takes_large_requests = True
    await target.start()
    await asleep(target)
    target._in_place.turn.crowded = True
    outcomes: list[Outcome] = []
    yield model, target, outcomes
    model.gate.set()
    await target.drain()
    await target.stop()
    assert model.together == 0


def values(outcomes: list[Outcome]) -> list[list[int]]:
    """Those of the answers, in any order."""
    return sorted(
        outcome.outputs["x"][:, 0].tolist() for outcome in outcomes if isinstance(outcome, InferResponse)
    )


def large(target: QueueTarget, outcomes: list[Outcome]) -> None:
    """A request of more rows than a batch has: its parts are queued at once."""
    rows = np.arange(20)[:, None]
    submit_to(target, InferRequest("m", {"x": rows}, rows=20, checked=True), outcomes.append)


@pytest.mark.parametrize("rules", [BatchRules(8), ONE_AT_A_TIME])
def test_what_is_gathered_is_not_executed_beside_the_parts_of_a_large_request(rules: BatchRules) -> None:
    async def main() -> None:
        async with crowded(rules) as (model, target, outcomes):
            submit(target, 100, outcomes)
            large(target, outcomes)
            # The instance is at work before the turn ends.
            assert model.entered.acquire(timeout=60)
            await asyncio.sleep(0)
            model.gate.set()
            await target.drain()
            assert values(outcomes) == [list(range(20)), [100]]

    run(main)


def test_what_is_gathered_is_not_executed_beside_what_an_answer_has_brought() -> None:
    async def main() -> None:
        async with crowded(ONE_AT_A_TIME) as (model, target, outcomes):

            def go_on(outcome: Outcome) -> None:
                outcomes.append(outcome)
                large(target, outcomes)
                assert model.entered.acquire(timeout=60)

            request = InferRequest("m", {"x": np.array([[100]])}, checked=True)
            submit_to(target, request, go_on)
            submit(target, 200, outcomes)
            given_up = submit(target, 300, outcomes)
            await asyncio.sleep(0)
            assert given_up is not None
            given_up.give_up()
            model.gate.set()
            await target.drain()
            assert values(outcomes) == [list(range(20)), [100], [200]]
            assert target.spec.statistics.failures[FailureReason.CANCELED] == 1

    run(main)


def test_an_answer_may_give_up_what_waits_for_the_same_turn() -> None:
    async def main() -> None:
        async with crowded(ONE_AT_A_TIME) as (model, target, outcomes):
            waiting: list[Ticket] = []

            def give_up(outcome: Outcome) -> None:
                outcomes.append(outcome)
                waiting[0].give_up()

            submit_to(target, InferRequest("m", {"x": np.array([[100]])}, checked=True), give_up)
            second = submit(target, 200, outcomes)
            assert second is not None
            waiting.append(second)
            await asyncio.sleep(0)
            assert values(outcomes) == [[100]]
            assert len(model.threads) == 1
            assert target.spec.statistics.failures[FailureReason.CANCELED] == 1

    run(main)
