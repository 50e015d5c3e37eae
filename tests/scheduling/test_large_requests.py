"""Requests of more rows than a batch may have: one outcome, made of the outcomes of their parts."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kserve_v2.backend import AnyInstance, ModelConfig, Placement
from kserve_v2.errors import (
    InternalError,
    InvalidArgumentError,
    OverloadedError,
    ServingError,
    UnavailableError,
)
from kserve_v2.memory.inflight import InflightBytes, tensor_bytes
from kserve_v2.messages import InferRequest, InferResponse, Tensors
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.levels import QueuePolicy
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import Outcome, infer
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import FailureReason
from tests.scheduling.targets import queue_target, submit_to

CONFIG = """
    name: "m" max_batch_size: 4
    input { name: "x" data_type: TYPE_INT64 dims: [2] } input { name: "s" data_type: TYPE_STRING dims: [1] }
    output { name: "y" data_type: TYPE_INT64 dims: [-1] } output { name: "s" data_type: TYPE_STRING dims: [1] }
"""


def signature() -> ModelSignature:
    made = ModelSignature(text_format.Parse(CONFIG, ModelConfig()))
    made.takes_large_requests = True
    return made


POISON, WIDE = -1, -2


class Model:
    """Answers 10 times the input. Rows of POISON fail, and a batch with WIDE in it has wider rows.

    While `gate` is closed, executions wait; `entered` counts those that do. `batches` are the rows of executions.
    """

    def __init__(self, *, open_gate: bool = True) -> None:
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.batches: list[int] = []
        self.cancelled = 0
        self.fresh_outputs = False
        if open_gate:
            self.gate.set()

    def instance(self, placement: Placement) -> AnyInstance:
        return self

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        x = tensors["x"]
        self.batches.append(len(x))
        self.entered.release()
        assert self.gate.wait(60)
        self.cancelled += sum(request.cancelled for request in requests)
        for request in requests:
            request.response_parameters["first"] = int(request.inputs["x"][0, 0])
        if POISON in x:
            raise InvalidArgumentError("poison")
        y = np.repeat(x * 10, 2, axis=1) if WIDE in x else x * 10
        return {"y": y, "s": tensors["s"]}

    def close(self) -> None:
        pass


@asynccontextmanager
async def scheduled(
    model: Model,
    rules: BatchRules = ONE_AT_A_TIME,
    policy: QueuePolicy | None = None,
    instances: int = 1,
    inflight: InflightBytes | None = None,
) -> AsyncIterator[QueueTarget]:
    names = [f"m_{n}" for n in range(instances)]
    scheduler = queue_target(signature(), model, rules, policy, names, inflight=inflight)
    scheduler.splits_large_requests = True
    await scheduler.start()
    try:
        yield scheduler
    finally:
        model.gate.set()
        await scheduler.drain()
        await scheduler.stop()


def request(values: Sequence[int], **fields: Any) -> InferRequest:
    x = np.repeat(np.array(values, np.int64)[:, None], 2, axis=1)
    s = np.array([[b"%d" % value] for value in values], object)
    asked = InferRequest("m", {"x": x, "s": s}, id="large", **fields)
    asked.rows, asked.batch_key = signature().check(asked)
    asked.checked = True
    return asked


def submit(scheduler: QueueTarget, *values: int, **fields: Any) -> tuple[list[Outcome], Pending]:
    outcomes: list[Outcome] = []
    pending = submit_to(scheduler, request(values, **fields), outcomes.append)
    if pending is None:
        assert isinstance(outcomes[0], ServingError)
        raise outcomes[0]
    assert isinstance(pending, Pending)
    return outcomes, pending


async def one(outcomes: list[Outcome]) -> Outcome:
    while not outcomes:  # noqa: ASYNC110 - whoever waits for it is a callback
        await asyncio.sleep(0)
    assert len(outcomes) == 1
    return outcomes[0]


async def entered(model: Model, executions: int = 1) -> None:
    for _ in range(executions):
        assert await asyncio.get_running_loop().run_in_executor(None, model.entered.acquire, True, 20)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


def failures(scheduler: QueueTarget) -> dict[FailureReason, int]:
    return {reason: count for reason, count in scheduler.spec.statistics.failures.items() if count}


@pytest.mark.parametrize("rules", [ONE_AT_A_TIME, BatchRules(4)])
@pytest.mark.parametrize("instances", [1, 3])
@pytest.mark.parametrize("rows", [5, 8, 150])
def test_the_answer_has_all_rows_in_order(rows: int, instances: int, rules: BatchRules) -> None:
    async def test() -> None:
        model = Model()
        async with scheduled(model, rules, instances=instances) as scheduler:
            answer = await infer(scheduler, request(range(rows)))
            assert answer.outputs["y"].tolist() == [[10 * n, 10 * n] for n in range(rows)]
            assert answer.outputs["s"].tolist() == [[b"%d" % n] for n in range(rows)]
            assert (answer.id, answer.batch_rows) == ("large", rows)
            # Of a parameter that each part has, the last one's.
            assert answer.parameters == {"first": (rows - 1) // 4 * 4}
            assert max(model.batches) == 4
            assert sum(model.batches) == rows
            statistics = scheduler.spec.statistics
            assert (statistics.success_count, statistics.inference_count) == (1, rows)
            assert statistics.execution_count == len(model.batches) == -(-rows // 4)
            assert statistics.success_ns >= statistics.queue_ns > 0
            assert statistics.compute_infer_ns == sum(
                batch.compute_infer_ns for batch in statistics.batches.values()
            )
            assert failures(scheduler) == {}

    run(test)


def test_only_the_outputs_that_were_asked_for() -> None:
    async def test() -> None:
        async with scheduled(Model()) as scheduler:
            answer = await infer(scheduler, request(range(9), requested_outputs=("s",)))
            assert list(answer.outputs) == ["s"]

    run(test)


def test_an_error_of_a_part_is_the_request_s_and_ends_it() -> None:
    async def test() -> None:
        model = Model()
        async with scheduled(model) as scheduler:
            outcomes, pending = submit(scheduler, *range(5), POISON, *range(394))
            error = await one(outcomes)
            assert isinstance(error, InvalidArgumentError)
            assert error.message == "poison"
            assert pending.done
            assert failures(scheduler) == {FailureReason.BACKEND: 1}
            assert scheduler.spec.statistics.success_count == 0
            # The next one is not disturbed.
            assert (await infer(scheduler, request(range(9)))).outputs["y"].shape == (9, 2)
        assert len(model.batches) < 100, "what came after the error was not executed"
        assert len(outcomes) == 1

    run(test)


def test_giving_it_up_gives_all_parts_up() -> None:
    async def test() -> None:
        model = Model(open_gate=False)
        async with scheduled(model) as scheduler:
            outcomes, pending = submit(scheduler, *range(100))
            await entered(model)
            pending.give_up()
            pending.give_up()
            assert scheduler.depth == 0
            assert failures(scheduler) == {FailureReason.CANCELED: 1}
        # The model has stopped.
        assert outcomes == []
        assert (model.batches, model.cancelled) == ([4], 1)
        assert failures(scheduler) == {FailureReason.CANCELED: 1}
        assert scheduler.spec.statistics.success_count == 0

    run(test)


def test_few_parts_are_under_way_at_a_time_and_others_come_in_between() -> None:
    async def test() -> None:
        model = Model(open_gate=False)
        async with scheduled(model) as scheduler:
            large, _ = submit(scheduler, *range(4000))
            assert scheduler.depth <= 8
            small, _ = submit(scheduler, 7)
            model.gate.set()
            answer = await one(small)
            assert isinstance(answer, InferResponse)
            assert answer.outputs["y"].tolist() == [[70, 70]]
            assert large == []
            answer = await one(large)
            assert isinstance(answer, InferResponse)
            assert answer.outputs["y"][:, 0].tolist() == [10 * n for n in range(4000)]

    run(test)


def test_a_full_queue_refuses_it_at_the_door_and_not_half_way() -> None:
    async def test() -> None:
        model = Model(open_gate=False)
        async with scheduled(model, policy=QueuePolicy(max_size=1)) as scheduler:
            first, _ = submit(scheduler, 1)
            await entered(model)
            large, _ = submit(scheduler, *range(100))
            with pytest.raises(UnavailableError, match="Exceeds maximum queue size"):
                submit(scheduler, *range(100))
            assert failures(scheduler) == {FailureReason.REJECTED: 1}
            model.gate.set()
            answer = await one(large)
            assert isinstance(answer, InferResponse)
            assert len(answer.outputs["y"]) == 100
            assert isinstance(await one(first), InferResponse)
            assert failures(scheduler) == {FailureReason.REJECTED: 1}

    run(test)


def test_its_time_in_the_queue_is_that_of_its_first_part() -> None:
    async def test() -> None:
        model = Model(open_gate=False)
        policy = QueuePolicy(timeout_us=10**9, allow_override=True)
        async with scheduled(model, policy=policy) as scheduler:
            first, _ = submit(scheduler, 1)
            await entered(model)
            outcomes, _ = submit(scheduler, *range(100), control={"timeout": 1})
            error = await one(outcomes)
            assert isinstance(error, UnavailableError)
            assert error.message == "Request timeout expired"
            assert scheduler.depth == 0
            assert failures(scheduler) == {FailureReason.REJECTED: 1}
            model.gate.set()
            assert isinstance(await one(first), InferResponse)
            # Once it has begun, it is not for a time-out to end it.
            model.gate.clear()
            outcomes, _ = submit(scheduler, *range(100), control={"timeout": 10**9})
            await entered(model)
            assert [pending.timer for pending in scheduler._queue._waiting] == [None] * 7
            model.gate.set()
            assert isinstance(await one(outcomes), InferResponse)

    run(test)


def test_parts_that_do_not_fit_together_are_an_error() -> None:
    async def test() -> None:
        async with scheduled(Model()) as scheduler:
            outcomes, _ = submit(scheduler, *range(6), WIDE, *range(100))
            error = await one(outcomes)
            assert isinstance(error, InvalidArgumentError)
            assert error.message.startswith("output 'y' has rows of shape [2] and of [4] in different parts")
            assert "send at most 4 rows at a time" in error.message
            assert failures(scheduler) == {FailureReason.BACKEND: 1}

    run(test)


def test_a_failure_to_put_it_together_is_its_outcome() -> None:
    """Such as memory that there is none of."""

    async def test() -> None:
        model = Model()
        async with scheduled(model) as scheduler:
            # Rows of which the whole would have a few exabytes.
            wide = np.broadcast_to(np.int64(0), (4, 2**56))
            model.execute = lambda tensors, requests: {"y": wide, "s": tensors["s"]}  # type: ignore
            model.fresh_outputs = True
            outcomes, _ = submit(scheduler, *range(8))
            error = await one(outcomes)
            assert isinstance(error, InternalError)
            assert failures(scheduler) == {FailureReason.BACKEND: 1}

    run(test)


def test_an_exit_ends_it() -> None:
    async def test() -> None:
        model = Model(open_gate=False)
        async with scheduled(model) as scheduler:
            outcomes, _ = submit(scheduler, *range(100))
            await entered(model)
            scheduler.abandon()
            assert isinstance(await one(outcomes), UnavailableError)
            assert failures(scheduler) == {FailureReason.CANCELED: 1}

    run(test)


def test_what_the_signature_lets_pass_is_executed_whole_where_it_is_not_to_be_split() -> None:
    async def test() -> None:
        model = Model()
        async with scheduled(model) as scheduler:
            scheduler.splits_large_requests = False
            answer = await infer(scheduler, request(range(9)))
            assert len(answer.outputs["y"]) == 9
            assert model.batches == [9]

    run(test)


Sizes = st.lists(
    st.lists(st.sampled_from([0, 1, 2, 3, POISON]), min_size=1, max_size=20), min_size=1, max_size=8
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(Sizes, st.booleans(), st.integers(1, 3), st.data())
def test_every_request_has_one_outcome_and_it_is_its_own(
    requests: list[list[int]], merges: bool, instances: int, data: st.DataObject
) -> None:
    """Whatever is sent at the same time, and given up."""

    async def test() -> None:
        model = Model()
        rules = BatchRules(4) if merges else ONE_AT_A_TIME
        async with scheduled(model, rules, instances=instances) as scheduler:
            given_up: set[int] = set()
            sent = [submit(scheduler, *values) for values in requests]
            for index in data.draw(st.sets(st.integers(0, len(sent) - 1))):
                sent[index][1].give_up()
                given_up.add(index)
        for index, (values, (outcomes, _)) in enumerate(zip(requests, sent, strict=True)):
            if index in given_up:
                assert outcomes == []
                continue
            (outcome,) = outcomes
            if POISON in values:
                assert isinstance(outcome, ServingError)
                assert not isinstance(outcome, InternalError)
            else:
                assert isinstance(outcome, InferResponse)
                assert outcome.outputs["y"][:, 0].tolist() == [10 * value for value in values]
        statistics = scheduler.spec.statistics
        assert statistics.success_count + statistics.fail.count == len(requests)

    run(test)


@pytest.mark.parametrize("end", ["answered", "failed", "given up", "abandoned"])
@pytest.mark.parametrize("rows", [3, 50], ids=["small", "large"])
def test_its_memory_is_counted_once_for_as_long_as_it_is_there(rows: int, end: str) -> None:
    """The parts of a large request are parts of its tensors."""

    async def test() -> None:
        values = [POISON if end == "failed" else number for number in range(rows)]
        size = tensor_bytes(request(values).inputs)
        model, inflight = Model(open_gate=False), InflightBytes(size + 10)
        async with scheduled(model, inflight=inflight) as scheduler:
            outcomes, pending = submit(scheduler, *values)
            assert inflight.used == size
            await entered(model)
            for _ in range(2):
                with pytest.raises(OverloadedError):
                    submit(scheduler, *values)
            assert (inflight.used, inflight.refused) == (size, 2)
            assert failures(scheduler)[FailureReason.REJECTED] == 2
            if end == "given up":
                pending.give_up()
                assert inflight.used == 0
                return
            if end == "abandoned":
                scheduler.abandon()
            model.gate.set()
            outcome = await one(outcomes)
            assert isinstance(outcome, InferResponse) == (
                end == "answered" or (end == "abandoned" and rows == 3)
            )
            assert inflight.used == 0

    run(test)


def test_a_full_queue_gives_the_memory_back() -> None:
    async def test() -> None:
        model, inflight = Model(open_gate=False), InflightBytes(10**6)
        policy = QueuePolicy(max_size=1)
        async with scheduled(model, policy=policy, inflight=inflight) as scheduler:
            first, _ = submit(scheduler, 1)
            await entered(model)
            second, _ = submit(scheduler, 2)
            used = inflight.used
            for values in ([3], list(range(20))):
                with pytest.raises(UnavailableError, match="Exceeds maximum queue size"):
                    submit(scheduler, *values)
                assert inflight.used == used
            model.gate.set()
            await one(first)
            await one(second)
            assert inflight.used == 0

    run(test)
