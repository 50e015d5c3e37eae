"""Decoupled models that get several requests at a time: each has responses and an end of its own, and the batch counts as
one execution. And instances that say when they begin the next batch.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import AnyInstance, ModelConfig, Placement
from kserve_v2.errors import InternalError
from kserve_v2.messages import InferRequest, InferResponse, Tensors
from kserve_v2.scheduling.merging.separate import SeparateMerger
from kserve_v2.scheduling.queueing.policy import BatchRules
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import stream
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import BatchReason, FailureReason
from tests.scheduling.targets import queue_target

SIGNATURE = ModelSignature(
    text_format.Parse(
        """
        name: "counter" max_batch_size: 8 model_transaction_policy { decoupled: true }
        input { name: "n" data_type: TYPE_INT64 dims: [1] }
        output { name: "i" data_type: TYPE_INT64 dims: [1] }
        """,
        ModelConfig(),
    )
)


class Counter:
    """Counts up to n; for a negative n it fails after -n responses. The test says when it is free, and may hold a number
    back.
    """

    max_concurrency = 4

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.streams_too_few = False
        # Whether it is busy from the next batch on.
        self.becomes_busy = self.busy = False
        self.raises: BaseException | None = None
        self.held: dict[int, asyncio.Event] = {}
        self.left: list[int] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._told: list[Callable[[], None]] = []

    def instance(self, placement: Placement) -> AnyInstance:
        return self

    def streams_async(
        self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]
    ) -> Sequence[AsyncIterator[Tensors]]:
        self.loop = asyncio.get_running_loop()
        numbers = [each["n"].item() for each in tensors]
        assert [request.inputs["n"].item() for request in requests] == numbers
        self.batches.append(numbers)
        with self._lock:
            self.busy, self.becomes_busy = self.becomes_busy, False
        if self.raises is not None:
            raise self.raises
        streams = [self._responses(number) for number in numbers]
        return streams[1:] if self.streams_too_few else streams

    async def _responses(self, n: int) -> AsyncIterator[Tensors]:
        try:
            for i in range(abs(n)):
                yield {"i": np.array([[i]])}
                if n in self.held:
                    await self.held[n].wait()
            if n < 0:
                raise ValueError("no more")
        finally:
            self.left.append(n)

    def let_go(self, n: int) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.held[n].set)

    def when_free(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if self.busy:
                self._told.append(callback)
                return
        callback()

    def be_free(self) -> None:
        with self._lock:
            self.busy, told, self._told = False, self._told, []
        for callback in told:
            callback()

    def close(self) -> None:
        pass


@asynccontextmanager
async def scheduled(model: Counter) -> AsyncIterator[QueueTarget]:
    target = queue_target(
        SIGNATURE, model, BatchRules(max_rows=8), decoupled=True, merger=SeparateMerger(SIGNATURE)
    )
    await target.start()
    try:
        yield target
    finally:
        model.be_free()
        await target.drain()
        await target.stop()


def ask(target: QueueTarget, n: int) -> AsyncGenerator[InferResponse, None]:
    request = InferRequest("counter", {"n": np.array([[n]])}, id=str(n))
    request.rows, request.batch_key = SIGNATURE.check(request)
    return stream(target, request)


async def numbers(target: QueueTarget, n: int) -> list[int]:
    return [answer.outputs["i"].item() async for answer in ask(target, n)]


async def become_busy(model: Counter, target: QueueTarget) -> None:
    model.becomes_busy = True
    assert await numbers(target, 1) == [0]


async def batch(model: Counter, target: QueueTarget, *each: int) -> "list[asyncio.Task[list[int]]]":
    """Requests that are executed together, once the instance is free."""
    await become_busy(model, target)
    tasks = [asyncio.create_task(numbers(target, n)) for n in each]
    while target.depth < len(each):  # noqa: ASYNC110
        await asyncio.sleep(0)
    model.be_free()
    return tasks


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


def test_a_batch_is_one_execution_with_streams_of_their_own() -> None:
    async def main() -> None:
        model = Counter()
        async with scheduled(model) as target:
            tasks = await batch(model, target, 2, 0, 3)
            assert await asyncio.gather(*tasks) == [[0, 1], [], [0, 1, 2]]
            statistics = target.spec.statistics
        assert model.batches == [[1], [2, 0, 3]]
        assert (statistics.execution_count, statistics.inference_count) == (2, 4)
        assert (statistics.success_count, sum(statistics.failures.values())) == (4, 0)
        assert {rows: each.count for rows, each in statistics.batches.items()} == {1: 1, 3: 1}
        assert sum(statistics.batch_reasons.values()) == 2
        assert statistics.batch_reasons[BatchReason.NOT_BATCHABLE] == 0
        assert sum(statistics.waited.counts) == 4

    run(main)


def test_one_that_fails_leaves_the_others_their_responses() -> None:
    async def main() -> None:
        model = Counter()
        async with scheduled(model) as target:
            bad, good = await batch(model, target, -2, 3)
            assert await good == [0, 1, 2]
            with pytest.raises(InternalError, match="ValueError: no more"):
                await bad
            statistics = target.spec.statistics
        assert (statistics.execution_count, statistics.inference_count, statistics.success_count) == (2, 2, 2)
        assert statistics.failures[FailureReason.BACKEND] == 1

    run(main)


@pytest.mark.parametrize("too_few", [False, True])
def test_what_cannot_begin_fails_for_each(too_few: bool) -> None:
    async def main() -> None:
        model = Counter()
        async with scheduled(model) as target:
            await become_busy(model, target)
            model.streams_too_few = too_few
            model.raises = None if too_few else ValueError("broken")
            tasks = [asyncio.create_task(numbers(target, n)) for n in (1, 2)]
            while target.depth < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            model.be_free()
            failures = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(each) for each in failures] == [InternalError] * 2
            model.streams_too_few, model.raises = False, None
            assert await numbers(target, 1) == [0]
        assert target.spec.statistics.failures[FailureReason.BACKEND] == 2

    run(main)


def test_one_that_is_over_waits_for_no_other() -> None:
    async def main() -> None:
        model = Counter()
        model.held[2] = asyncio.Event()
        async with scheduled(model) as target:
            slow, quick = await batch(model, target, 2, 3)
            assert await quick == [0, 1, 2]
            assert not slow.done()
            # Nor does the next batch.
            assert await numbers(target, 4) == [0, 1, 2, 3]
            model.let_go(2)
            assert await slow == [0, 1]

    run(main)


def test_a_client_that_leaves_ends_its_own_stream() -> None:
    async def main() -> None:
        model = Counter()
        async with scheduled(model) as target:
            await become_busy(model, target)
            other = asyncio.create_task(numbers(target, 3))
            async with aclosing(ask(target, 1000)) as leaving:
                first = asyncio.ensure_future(anext(leaving))
                while target.depth < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                model.be_free()
                assert (await first).outputs["i"].item() == 0
            assert await other == [0, 1, 2]
        assert sorted(model.left) == [1, 3, 1000]
        assert target.spec.statistics.failures[FailureReason.CANCELED] == 1

    run(main)


def test_a_paced_instance_gets_nothing_before_it_is_free() -> None:
    async def main() -> None:
        model = Counter()
        async with scheduled(model) as target:
            for round_ in range(5):
                await become_busy(model, target)
                waiting = [asyncio.create_task(numbers(target, 2)) for _ in range(3)]
                while target.depth < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                assert len(model.batches) == 2 * round_ + 1
                model.be_free()
                await asyncio.gather(*waiting)
                assert model.batches[-1] == [2, 2, 2]

    run(main)
