"""A plug-in's outputs are copied where it may have kept them, whichever way a request goes; its inputs stay its own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import AnyInstance, ModelConfig, Placement
from kserve_v2.messages import InferRequest, InferResponse, Tensors
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import Outcome, infer, stream
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import Array
from tests.scheduling.targets import queue_target, submit_to

CONFIG = """
    name: "m" max_batch_size: 8
    input { name: "x" data_type: TYPE_INT64 dims: [2] } output { name: "y" data_type: TYPE_INT64 dims: [2] }
"""
SIGNATURE = ModelSignature(text_format.Parse(CONFIG, ModelConfig()))


class Keeping:
    """Answers with the input, in memory that it uses for every answer.

    A batch of more than one request fails once it has written to its inputs. `executed` counts executions.
    """

    def __init__(self) -> None:
        self.buffer = np.zeros((8, 2), np.int64)
        self.answer: dict[str, Array] = {"y": self.buffer}
        self.executions = 0
        self.executed = threading.Semaphore(0)

    def instance(self, placement: Placement) -> AnyInstance:
        return self

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        x = tensors["x"]
        self.executions += 1
        self.executed.release()
        x *= 10
        if len(requests) > 1:
            raise ValueError("one at a time")
        self.answer["y"] = self.buffer[: len(x)]
        self.answer["y"][:] = x
        return self.answer

    def close(self) -> None:
        pass


class MovableKeeping(Keeping):
    movable: Literal[True] = True


class VouchingKeeping(Keeping):
    """It says that its outputs are nobody else's, which is not true."""

    fresh_outputs: Literal[True] = True


class AsyncKeeping(Keeping):
    max_concurrency = 1

    async def execute_async(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        return self.execute(tensors, requests)


class StreamKeeping(Keeping):
    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors]:
        for step in range(3):
            self.buffer[0] = tensors["x"][0] + step
            yield {"y": self.buffer[:1]}


class AsyncStreamKeeping(StreamKeeping):
    max_concurrency = 1

    async def stream_async(self, tensors: Tensors, request: InferRequest) -> AsyncIterator[Tensors]:
        for outputs in self.stream(tensors, request):
            yield outputs


def request(value: int, rows: int = 1) -> InferRequest:
    asked = InferRequest("m", {"x": np.full((rows, 2), value)})
    asked.rows, asked.batch_key = SIGNATURE.check(asked)
    return asked


@asynccontextmanager
async def scheduled(model: Any, rules: BatchRules) -> AsyncIterator[QueueTarget]:
    scheduler = queue_target(SIGNATURE, model, rules)
    await scheduler.start()
    try:
        yield scheduler
    finally:
        await scheduler.drain()
        await scheduler.stop()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


async def answers(
    scheduler: QueueTarget, model: Keeping, values: Sequence[int], executions: int
) -> list[int]:
    """The answers to requests that are all executed before the first is taken."""
    outcomes: list[Outcome] = []
    for value in values:
        submit_to(scheduler, request(value), outcomes.append)
    # The loop has no turn meanwhile.
    for _ in range(executions):
        assert model.executed.acquire(timeout=60)
    while len(outcomes) < len(values):  # noqa: ASYNC110 - they come from the loop itself
        await asyncio.sleep(0)
    found: list[int] = []
    for outcome in outcomes:
        assert isinstance(outcome, InferResponse), outcome
        assert outcome.outputs["y"].shape == (1, 2)
        found.append(int(outcome.outputs["y"][0, 1]))
    return found


@pytest.mark.parametrize("kind", [Keeping, AsyncKeeping])
def test_answers_that_are_not_taken_yet_stay_as_they_are(kind: type[Keeping]) -> None:
    async def test() -> None:
        model = kind()
        async with scheduled(model, ONE_AT_A_TIME) as scheduler:
            assert await answers(scheduler, model, [1, 2, 3], 3) == [10, 20, 30]

    run(test)


class Fresh(Keeping):
    """Answers with new memory, and remembers no more of it than where it is."""

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        whole = np.zeros((8, 2), np.int64)
        whole[: len(tensors["x"])] = tensors["x"]
        self.executions = address(whole)
        return {"y": whole[: len(tensors["x"])]}


class AsyncFresh(Fresh):
    max_concurrency = 1

    async def execute_async(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        return self.execute(tensors, requests)


class MovableFresh(Fresh):
    movable: Literal[True] = True


def address(array: Array) -> int:
    # Not by `ctypes`, which holds on to the array.
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("kind", [Fresh, AsyncFresh, MovableFresh])
def test_what_is_new_is_not_copied(kind: type[Fresh]) -> None:
    async def test() -> None:
        model = kind()
        async with scheduled(model, ONE_AT_A_TIME) as scheduler:
            while not scheduler._queue.idle:  # noqa: ASYNC110 - an instance that falls asleep signals nobody
                await asyncio.sleep(0)
            if kind is MovableFresh:
                quickness = scheduler._in_place._quickness
                quickness.execution_ns, quickness.limit_ns = 0.0, 1e9
            answer = await infer(scheduler, request(1))
            assert answer.outputs["y"].tolist() == [[1, 1]]
            assert address(answer.outputs["y"]) == model.executions

    run(test)


class KeepingTensors(Keeping):
    """Answers with its inputs, and keeps the mapping that they came in."""

    kept: Tensors | None = None

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        self.executed.release()
        if self.kept is not None:
            self.kept["x"][:] = -1
        self.kept = tensors
        return {"y": tensors["x"]}


def test_a_plug_in_may_keep_what_it_was_given() -> None:
    async def test() -> None:
        model = KeepingTensors()
        async with scheduled(model, ONE_AT_A_TIME) as scheduler:
            assert await answers(scheduler, model, [1, 2, 3], 3) == [1, 2, 3]

    run(test)


def test_what_an_instance_vouches_for_is_not_copied() -> None:
    async def test() -> None:
        model = VouchingKeeping()
        async with scheduled(model, ONE_AT_A_TIME) as scheduler:
            answer = await infer(scheduler, request(1))
            assert np.shares_memory(answer.outputs["y"], model.buffer)

    run(test)


@pytest.mark.parametrize("kind", [Keeping, AsyncKeeping])
def test_a_retried_request_has_the_inputs_that_came(kind: type[Keeping]) -> None:
    """The batch that fails has written to its inputs, and so does each execution of one request."""

    async def test() -> None:
        model = kind()
        rules = BatchRules(8, frozenset({3}), 10_000_000_000)
        async with scheduled(model, rules) as scheduler:
            assert await answers(scheduler, model, [1, 2, 3], 4) == [10, 20, 30]
            assert model.executions == 4

    run(test)


def test_in_place_an_answer_is_nobody_else_s() -> None:
    async def test() -> None:
        model = MovableKeeping()
        async with scheduled(model, BatchRules(8)) as scheduler:
            while not scheduler._queue.idle:  # noqa: ASYNC110 - an instance that falls asleep signals nobody
                await asyncio.sleep(0)
            quickness = scheduler._in_place._quickness
            quickness.execution_ns, quickness.limit_ns = 0.0, 1e9
            asked = request(1)
            outcomes: list[Outcome] = []
            submit_to(scheduler, asked, outcomes.append)
            submit_to(scheduler, request(2), outcomes.append)
            first, second = outcomes
            assert isinstance(first, InferResponse)
            assert isinstance(second, InferResponse)
            assert first.outputs["y"].tolist() == [[10, 10]]
            assert not np.shares_memory(first.outputs["y"], asked.inputs["x"])

    run(test)


@pytest.mark.parametrize("kind", [StreamKeeping, AsyncStreamKeeping])
def test_a_stream_s_response_stays_as_it_was_yielded(kind: type[Keeping]) -> None:
    async def test() -> None:
        scheduler = queue_target(SIGNATURE, kind(), decoupled=True)
        await scheduler.start()
        async with aclosing(stream(scheduler, request(5))) as responses:
            found = [response.outputs["y"] async for response in responses]
        assert [array.tolist() for array in found] == [[[5, 5]], [[6, 6]], [[7, 7]]]
        await scheduler.drain()
        await scheduler.stop()

    run(test)
