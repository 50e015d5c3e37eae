"""The scheduler with a tagged identity model: every request gets its own answer or its own error, exactly
once.
"""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import ClassVar

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kserve_v2.backend import AsyncInstance, Instance, ModelConfig, Placement
from kserve_v2.errors import InternalError, InvalidArgumentError, ServingError, UnavailableError
from kserve_v2.messages import InferRequest, InferResponse, Tensors
from kserve_v2.scheduling.executing.posting import MOST_POSTED
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.levels import QueuePolicy
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import Outcome, infer
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import FailureReason, ModelStatistics
from tests.scheduling.targets import queue_target, submit_to

CONFIG = """
    name: "tagged" max_batch_size: 8
    input { name: "tag" data_type: TYPE_INT64 dims: [-1] }
    output { name: "tag" data_type: TYPE_INT64 dims: [-1] }
    output { name: "batch" data_type: TYPE_INT64 dims: [1] }
"""
SIGNATURE = ModelSignature(text_format.Parse(CONFIG, ModelConfig()))
POISON = -1
CLIENT_MISTAKE = -2


@dataclass
class TaggedModel:
    """Gives each row back, with the number of rows that it was executed with. Negative tags fail.

    While `gate` is closed, executions wait; `entered` tells that one does.
    """

    # Whether executions are done elsewhere, and handed over by the event loop; see `PostingInstance`.
    posted: ClassVar[bool] = False

    asynchronous: bool = False
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    executed: Counter[int] = field(default_factory=Counter)
    instances: int = 0

    def instance(self, placement: Placement) -> Instance | AsyncInstance:
        self.instances += 1
        if self.asynchronous:
            return AsyncTagged(self)
        return PostedTagged(self) if self.posted else Tagged(self)

    def close(self) -> None:
        pass

    def answer(self, tensors: Tensors) -> Tensors:
        tags = tensors["tag"]
        self.entered.set()
        assert self.gate.wait(60)
        if POISON in tags:
            raise ValueError("poison")
        if CLIENT_MISTAKE in tags:
            raise InvalidArgumentError("input 'tag' is -2")
        self.executed.update(tags[:, 0].tolist())
        return {"tag": tags, "batch": np.full((len(tags), 1), len(tags))}


class Tagged:
    def __init__(self, model: TaggedModel) -> None:
        self.model = model

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        return self.model.answer(tensors)

    def close(self) -> None:
        self.model.instances -= 1


class PostedTagged(Tagged):
    """What is posted is executed on a thread, which stands for another process."""

    def __init__(self, model: TaggedModel) -> None:
        super().__init__(model)
        self.here, self.there = socket.socketpair()
        self.here.setblocking(False)
        self.elsewhere = ThreadPoolExecutor(1)
        self.answers: SimpleQueue[Future[Tensors]] = SimpleQueue()
        self.under_way = 0

    @property
    def descriptor(self) -> int | None:
        return self.here.fileno()

    def post(self, tensors: Tensors, requests: Sequence[InferRequest]) -> None:
        self.under_way += 1
        assert self.under_way <= MOST_POSTED
        self.answers.put(self.elsewhere.submit(self._execute, tensors, requests))

    def _execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        try:
            return super().execute(tensors, requests)
        finally:
            self.there.send(b"x")

    def collect(self) -> Tensors | None:
        try:
            assert self.here.recv(1) == b"x"
        except BlockingIOError:
            return None
        self.under_way -= 1
        return self.answers.get().result()

    def flush(self) -> None:
        pass

    def conclude(self) -> None:
        raise AssertionError("nothing is lost")

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        assert self.under_way == 0
        self.under_way += 1
        try:
            return super().execute(tensors, requests)
        finally:
            self.under_way -= 1

    def close(self) -> None:
        self.elsewhere.shutdown()
        self.here.close()
        self.there.close()
        super().close()


@pytest.fixture(autouse=True, params=[False, True], ids=["thread", "posted"])
def posted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Each test with instances that pull their batches, and with those that are handed them by the event loop."""
    monkeypatch.setattr(TaggedModel, "posted", request.param)
    return bool(request.param)


class AsyncTagged(Tagged):
    max_concurrency = 4

    async def execute_async(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        await asyncio.sleep(0)
        return self.model.answer(tensors)


@asynccontextmanager
async def scheduled(
    model: TaggedModel,
    rules: BatchRules = BatchRules(max_rows=8),  # noqa: B008 - frozen
    policy: QueuePolicy = QueuePolicy(),  # noqa: B008 - frozen
    instances: int = 1,
    *,
    open_gate: bool = True,
) -> AsyncIterator[QueueTarget]:
    names = [f"tagged_{n}" for n in range(instances)]
    scheduler = queue_target(SIGNATURE, model, rules, policy, names)
    if open_gate:
        model.gate.set()
    await scheduler.start()
    if type(model) is TaggedModel:
        assert (scheduler._poster is not None) == (model.posted and not model.asynchronous)
    try:
        yield scheduler
    finally:
        model.gate.set()
        await scheduler.drain()
        await scheduler.stop()
        assert model.instances == 0


def ask(
    scheduler: QueueTarget, *tags: int, width: int = 1, **parameters: int
) -> "asyncio.Task[InferResponse]":
    """Send one request with a row for each tag."""
    rows = np.repeat(np.array(tags, np.int64)[:, None], width, axis=1)
    request = InferRequest("tagged", {"tag": rows}, id=str(tags[0]), control=dict(parameters))
    return asyncio.create_task(_infer(scheduler, request))


async def _infer(scheduler: QueueTarget, request: InferRequest) -> InferResponse:
    request.rows, request.batch_key = SIGNATURE.check(request)
    return await infer(scheduler, request)


async def blocked(model: TaggedModel, scheduler: QueueTarget, tag: int = 0) -> "asyncio.Task[InferResponse]":
    """Send a request and wait until the instance holds it at the closed gate."""
    task = ask(scheduler, tag)
    await asyncio.get_running_loop().run_in_executor(None, model.entered.wait, 30)
    return task


async def queued(scheduler: QueueTarget, depth: int) -> None:
    """Give the tasks their turn until `depth` requests wait."""
    while scheduler.depth != depth:  # noqa: ASYNC110 - the tasks that change it signal nobody
        await asyncio.sleep(0)


def statistics(scheduler: QueueTarget) -> ModelStatistics:
    return scheduler.spec.statistics


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


def test_what_waits_is_executed_as_one_batch() -> None:
    async def main() -> None:
        model = TaggedModel()
        async with scheduled(model, open_gate=False) as scheduler:
            first = await blocked(model, scheduler)
            others = [ask(scheduler, tag, tag + 100) for tag in (1, 2, 3)]
            await queued(scheduler, 3)
            model.gate.set()
            await first
            answers = [await task for task in others]
        assert [answer.outputs["tag"][:, 0].tolist() for answer in answers] == [[1, 101], [2, 102], [3, 103]]
        assert [answer.outputs["batch"][0, 0] for answer in answers] == [6, 6, 6]
        assert {size: b.count for size, b in statistics(scheduler).batches.items()} == {
            1: 1,
            6: 1,
        }
        assert statistics(scheduler).inference_count == 7
        assert statistics(scheduler).success_count == 4

    run(main)


def test_unequal_shapes_are_never_merged() -> None:
    async def main() -> None:
        model = TaggedModel()
        async with scheduled(model, open_gate=False) as scheduler:
            first = await blocked(model, scheduler)
            others = [ask(scheduler, tag, width=width) for tag, width in ((1, 1), (2, 3), (3, 3))]
            await queued(scheduler, 3)
            model.gate.set()
            answers = [await task for task in (first, *others)]
        assert [answer.outputs["batch"][0, 0] for answer in answers] == [1, 1, 2, 2]

    run(main)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_bad_request_does_not_fail_those_beside_it(asynchronous: bool) -> None:
    async def main() -> None:
        model = TaggedModel(asynchronous)
        rules = BatchRules(max_rows=4, max_delay_ns=30_000_000_000)
        async with scheduled(model, rules) as scheduler:
            tasks = [ask(scheduler, tag) for tag in (1, POISON, CLIENT_MISTAKE, 4)]
            results = await asyncio.gather(*tasks, return_exceptions=True)
        good, poison, mistake, last = results
        assert isinstance(good, InferResponse)
        assert isinstance(last, InferResponse)
        assert [good.outputs["tag"].item(), last.outputs["tag"].item()] == [1, 4]
        assert isinstance(poison, InternalError)
        assert poison.message.startswith(
            "Failed to process the request(s) for model 'tagged_0', message: ValueError: poison (request_id="
        )
        assert isinstance(mistake, InvalidArgumentError)
        assert statistics(scheduler).failures[FailureReason.BACKEND] == 2
        assert statistics(scheduler).success_count == 2

    run(main)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_members_that_have_left_are_not_executed_again(asynchronous: bool) -> None:
    async def main() -> None:
        model = TaggedModel(asynchronous)
        taken: dict[int, list[Outcome]] = {tag: [] for tag in (1, POISON, 2, 3)}
        async with scheduled(model, BatchRules(4, max_delay_ns=30_000_000_000), open_gate=False) as scheduler:
            made = [submit(scheduler, tag, outcomes.append) for tag, outcomes in taken.items()]
            await asyncio.get_running_loop().run_in_executor(None, model.entered.wait, 30)
            made[0].give_up()
            made[3].give_up()
            model.gate.set()
            await scheduler.drain()
        assert model.executed == {2: 1}
        assert [len(outcomes) for outcomes in taken.values()] == [0, 1, 1, 0]
        assert isinstance(taken[POISON][0], InternalError)
        counted = statistics(scheduler)
        assert (counted.success_count, counted.inference_count) == (1, 1)
        assert counted.failures[FailureReason.CANCELED] == 2
        assert counted.failures[FailureReason.BACKEND] == 1

    run(main)


def test_what_a_failed_batch_has_said_of_its_members_is_forgotten() -> None:
    class Talkative(TaggedModel):
        def instance(self, placement: Placement) -> Instance:
            class Talking(Tagged):
                def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
                    for request in requests:
                        request.response_parameters[f"with {len(requests)}"] = True
                    return super().execute(tensors, requests)

            self.instances += 1
            return Talking(self)

    async def main() -> None:
        async with scheduled(Talkative(), BatchRules(2, max_delay_ns=30_000_000_000)) as scheduler:
            good, bad = ask(scheduler, 1), ask(scheduler, POISON)
            with pytest.raises(InternalError):
                await bad
            assert (await good).parameters == {"with 1": True}

    run(main)


def test_a_full_queue_refuses_at_once() -> None:
    async def main() -> None:
        model = TaggedModel()
        async with scheduled(model, policy=QueuePolicy(max_size=1), open_gate=False) as scheduler:
            running = await blocked(model, scheduler)
            waiting = ask(scheduler, 1)
            await queued(scheduler, 1)
            with pytest.raises(UnavailableError, match=r"\[request id: 2\] Exceeds maximum queue size"):
                await ask(scheduler, 2)
            model.gate.set()
            await running
            await waiting
        assert statistics(scheduler).failures[FailureReason.REJECTED] == 1

    run(main)


def test_a_cancelled_request_that_waits_never_runs() -> None:
    async def main() -> None:
        model = TaggedModel()
        async with scheduled(model, open_gate=False) as scheduler:
            running = await blocked(model, scheduler)
            left, stays = ask(scheduler, 1), ask(scheduler, 2)
            await queued(scheduler, 2)
            left.cancel()
            with pytest.raises(asyncio.CancelledError):
                await left
            assert scheduler.depth == 1
            model.gate.set()
            await running
            await stays
        assert model.executed == {0: 1, 2: 1}
        assert statistics(scheduler).failures[FailureReason.CANCELED] == 1

    run(main)


def test_cancelling_a_request_that_runs_does_not_disturb_its_batch() -> None:
    async def main() -> None:
        model = TaggedModel()
        rules = BatchRules(max_rows=2, max_delay_ns=30_000_000_000)
        async with scheduled(model, rules, open_gate=False) as scheduler:
            left, stays = ask(scheduler, 1), ask(scheduler, 2)
            await asyncio.get_running_loop().run_in_executor(None, model.entered.wait, 30)
            left.cancel()
            with pytest.raises(asyncio.CancelledError):
                await left
            model.gate.set()
            assert (await stays).outputs["tag"].item() == 2

    run(main)


def test_a_queue_time_out_rejects_while_the_instance_is_busy() -> None:
    async def main() -> None:
        model = TaggedModel()
        policy = QueuePolicy(timeout_us=30_000_000, allow_override=True)
        async with scheduled(model, policy=policy, open_gate=False) as scheduler:
            running = await blocked(model, scheduler)
            with pytest.raises(UnavailableError, match="Request timeout expired"):
                await ask(scheduler, 1, timeout=1000)
            # The instance is still inside the first request: the time-out did not wait for it.
            assert not running.done()
            model.gate.set()
            await running
        assert model.executed == {0: 1}
        assert statistics(scheduler).failures[FailureReason.REJECTED] == 1

    run(main)


def test_the_model_s_time_out_is_that_of_requests_that_ask_for_none(posted: bool) -> None:
    if posted:
        pytest.skip("a loop that stands still hands nothing over")

    async def main() -> None:
        model = TaggedModel()
        async with scheduled(model, policy=QueuePolicy(timeout_us=1000), open_gate=False) as scheduler:
            executed: list[Outcome] = []
            submit(scheduler, 0, executed.append)
            # The loop stands still until the instance has it: it is not too late, however long that takes.
            assert model.entered.wait(60)
            expired: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            submit(scheduler, 1, expired.set_result)
            assert isinstance(await expired, UnavailableError)
            model.gate.set()
            await scheduler.drain()
        (answer,) = executed
        assert isinstance(answer, InferResponse)
        assert model.executed == {0: 1}

    run(main)


@pytest.mark.parametrize("given_up", [False, True])
def test_what_is_over_has_no_timer_any_more(given_up: bool) -> None:
    """It would keep the request, and all that belongs to it, for as long as it might have waited."""

    async def main() -> None:
        model = TaggedModel()
        async with scheduled(
            model, policy=QueuePolicy(timeout_us=3_600_000_000), open_gate=False
        ) as scheduler:
            made = [submit(scheduler, tag, lambda _: None) for tag in range(3)]
            if given_up:
                for pending in made:
                    pending.give_up()
            model.gate.set()
            await scheduler.drain()
            assert [pending.timer for pending in made] == [None] * 3

    run(main)


def test_a_delayed_request_is_executed_after_those_in_time() -> None:
    async def main() -> None:
        model = TaggedModel()
        policy = QueuePolicy(timeout_us=30_000_000, reject=False, allow_override=True)
        async with scheduled(model, ONE_AT_A_TIME, policy, open_gate=False) as scheduler:
            order: list[int] = []
            running = await blocked(model, scheduler)
            late = ask(scheduler, 1, timeout=1000)
            in_time = ask(scheduler, 2)
            for tag, task in ((1, late), (2, in_time)):
                task.add_done_callback(lambda _, tag=tag: order.append(tag))
            await queued(scheduler, 2)
            while next(iter(scheduler._queue._waiting)).request.id == "1":  # noqa: ASYNC110
                await asyncio.sleep(0)
            model.gate.set()
            await asyncio.gather(running, late, in_time)
            assert order == [2, 1]

    run(main)


def test_a_failing_instance_fails_the_start_and_closes_the_others() -> None:
    class SecondFails(TaggedModel):
        def instance(self, placement: Placement) -> Instance | AsyncInstance:
            if placement.name == "tagged_1":
                raise RuntimeError("no memory")
            return super().instance(placement)

    async def main() -> None:
        model = SecondFails()
        scheduler = queue_target(SIGNATURE, model, instances=[f"tagged_{n}" for n in range(3)])
        with pytest.raises(RuntimeError, match="no memory"):
            await scheduler.start()
        assert model.instances == 0

    run(main)


def test_an_async_instance_runs_batches_at_the_same_time() -> None:
    class Meeting(TaggedModel):
        """Ends only when four executions are under way at once."""

        def instance(self, placement: Placement) -> AsyncInstance:
            barrier = asyncio.Barrier(4)

            class Attendee(AsyncTagged):
                async def execute_async(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
                    await barrier.wait()
                    return self.model.answer(tensors)

            self.instances += 1
            return Attendee(self)

    async def main() -> None:
        async with scheduled(Meeting(), ONE_AT_A_TIME) as scheduler:
            answers = await asyncio.gather(*(ask(scheduler, tag) for tag in range(8)))
        assert [answer.outputs["tag"].item() for answer in answers] == list(range(8))

    run(main)


def test_abandoned_requests_get_an_answer() -> None:
    async def main() -> None:
        model = TaggedModel()
        async with scheduled(model, open_gate=False) as scheduler:
            running = await blocked(model, scheduler)
            waiting = ask(scheduler, 1)
            await queued(scheduler, 1)
            scheduler.abandon()
            with pytest.raises(UnavailableError, match="Server exiting"):
                await waiting
            model.gate.set()
            await running

    run(main)


@dataclass(frozen=True)
class Step:
    """One request of the property test: its rows, shape and fate."""

    rows: int
    width: int
    fate: str


steps = st.lists(
    st.builds(
        Step,
        st.integers(1, 8),
        st.integers(1, 2),
        st.sampled_from(["answer", "answer", "answer", "poison", "mistake", "cancel", "cancel later"]),
    ),
    min_size=1,
    max_size=60,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps,
    st.sampled_from([ONE_AT_A_TIME, BatchRules(8), BatchRules(8, frozenset({2, 5}), 200_000)]),
    st.integers(1, 3),
    st.booleans(),
)
def test_every_request_has_exactly_one_outcome_and_it_is_its_own(
    plan: list[Step], rules: BatchRules, instances: int, asynchronous: bool
) -> None:
    async def main() -> None:
        model = TaggedModel(asynchronous)
        async with scheduled(model, rules, instances=instances) as scheduler:
            tasks = []
            for number, step in enumerate(plan):
                first = {"poison": POISON, "mistake": CLIENT_MISTAKE}.get(step.fate, number)
                tasks.append(ask(scheduler, first, *[number] * (step.rows - 1), width=step.width))
                if step.fate == "cancel":
                    tasks[-1].cancel()
                if number % 5 == 0:
                    await asyncio.sleep(0)
            for task, step in zip(tasks, plan, strict=True):
                if step.fate == "cancel later":
                    task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for number, (step, outcome) in enumerate(zip(plan, outcomes, strict=True)):
            check_outcome(number, step, outcome)
        answered = sum(isinstance(outcome, InferResponse) for outcome in outcomes)
        assert answered <= statistics(scheduler).success_count
        assert all(size <= 8 for size in statistics(scheduler).batches)

    run(main)


def check_outcome(number: int, step: Step, outcome: InferResponse | BaseException) -> None:
    """The outcome that this step's fate allows, with this request's own data in it."""
    if step.fate == "poison":
        assert isinstance(outcome, InternalError)
    elif step.fate == "mistake":
        assert isinstance(outcome, InvalidArgumentError)
    elif step.fate == "answer" or isinstance(outcome, InferResponse):
        assert isinstance(outcome, InferResponse)
        assert outcome.id == str(number)
        assert outcome.outputs["tag"].tolist() == [[number] * step.width] * step.rows
    else:
        assert isinstance(outcome, asyncio.CancelledError)
        assert not isinstance(outcome, ServingError)


def submit(scheduler: QueueTarget, tag: int, on_outcome: Callable[[Outcome], object]) -> Pending:
    request = InferRequest("tagged", {"tag": np.array([[tag]])}, id=str(tag))
    request.rows, request.batch_key = SIGNATURE.check(request)
    pending = submit_to(scheduler, request, on_outcome)
    assert isinstance(pending, Pending)
    return pending


def test_a_submitted_request_has_one_outcome_and_one_given_up_has_none() -> None:
    """What waits is not executed after it was given up; what is being executed is, and nobody is told."""

    async def main() -> None:
        model = TaggedModel()
        taken: dict[int, list[Outcome]] = {tag: [] for tag in (0, 1, 2, POISON)}
        async with scheduled(model, open_gate=False) as scheduler:
            executing = submit(scheduler, 0, taken[0].append)
            await asyncio.get_running_loop().run_in_executor(None, model.entered.wait, 30)
            waiting, *_ = [submit(scheduler, tag, taken[tag].append) for tag in (1, 2, POISON)]
            for given_up in (executing, waiting, waiting):
                given_up.give_up()
            model.gate.set()
            await scheduler.drain()
            assert statistics(scheduler).failures[FailureReason.CANCELED] == 1
        assert taken[0] == taken[1] == []
        (answer,), (error,) = taken[2], taken[POISON]
        assert isinstance(answer, InferResponse)
        assert answer.outputs["tag"].item() == 2
        assert isinstance(error, InternalError)
        assert model.executed == {0: 1, 2: 1}

    run(main)


def test_an_outcome_that_is_not_taken_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(outcome: Outcome) -> None:
        raise ValueError("a defect of the front end")

    async def main() -> None:
        model = TaggedModel()
        taken: list[Outcome] = []
        async with scheduled(model, open_gate=False) as scheduler:
            for on_outcome in (refuse, taken.append):
                submit(scheduler, 1, on_outcome)
            model.gate.set()
            await scheduler.drain()
        assert len(taken) == 1

    run(main)
    assert "a defect of the front end" in caplog.text
