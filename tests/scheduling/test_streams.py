"""Decoupled models: any number of responses, one at a time, for as long as somebody reads them."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import AnyInstance, ModelConfig, Placement
from kserve_v2.errors import InternalError, InvalidArgumentError, UnavailableError
from kserve_v2.messages import InferRequest, InferResponse, Tensors
from kserve_v2.scheduling.queueing.levels import QueuePolicy
from kserve_v2.scheduling.queueing.target import QueueTarget
from kserve_v2.scheduling.replies import stream
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import FailureReason
from tests.scheduling.targets import queue_target

CONFIG = """
    name: "counter" model_transaction_policy { decoupled: true }
    input { name: "n" data_type: TYPE_INT64 dims: [1] }
    output { name: "i" data_type: TYPE_INT64 dims: [1] }
    output { name: "square" data_type: TYPE_INT64 dims: [1] }
"""
SIGNATURE = ModelSignature(text_format.Parse(CONFIG, ModelConfig()))


@dataclass
class Counter:
    """Counts up to n: for a negative n it fails after -n responses. Even responses leave an output out.

    `steps` are the responses that were begun; `closed` counts the streams that were closed.
    """

    asynchronous: bool = False
    steps: list[int] = field(default_factory=list)
    closed: int = 0
    all_closed: threading.Event = field(default_factory=threading.Event)

    def instance(self, placement: Placement) -> AnyInstance:
        return AsyncCounting(self) if self.asynchronous else Counting(self)

    def close(self) -> None:
        pass

    def responses(self, n: int) -> Iterator[Tensors]:
        try:
            for i in range(abs(n)):
                self.steps.append(i)
                outputs = {"i": np.array([i]), "square": np.array([i * i])}
                yield outputs if i % 2 else {"i": outputs["i"]}
            if n < 0:
                raise ValueError("no more")
        finally:
            self.closed += 1
            self.all_closed.set()


class Counting:
    def __init__(self, model: Counter) -> None:
        self.model = model

    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors]:
        yield from self.model.responses(tensors["n"].item())

    def close(self) -> None:
        pass


class AsyncCounting:
    max_concurrency = 8

    def __init__(self, model: Counter) -> None:
        self.model = model

    async def stream_async(self, tensors: Tensors, request: InferRequest) -> AsyncIterator[Tensors]:
        responses = self.model.responses(tensors["n"].item())
        try:
            for outputs in responses:
                await asyncio.sleep(0)
                yield outputs
        finally:
            responses.close()  # type: ignore[attr-defined]

    def close(self) -> None:
        pass


@asynccontextmanager
async def scheduled(
    model: Counter,
    policy: QueuePolicy = QueuePolicy(),  # noqa: B008 - frozen
) -> AsyncIterator[QueueTarget]:
    scheduler = queue_target(SIGNATURE, model, policy=policy, instances=["c_0"], decoupled=True)
    await scheduler.start()
    try:
        yield scheduler
    finally:
        await scheduler.drain()
        await scheduler.stop()


def ask(scheduler: QueueTarget, n: int, **parameters: int) -> AsyncGenerator[InferResponse, None]:
    request = InferRequest("counter", {"n": np.array([n])}, id=str(n), control=dict(parameters))
    request.rows, request.batch_key = SIGNATURE.check(request)
    return stream(scheduler, request)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


both = pytest.mark.parametrize("asynchronous", [False, True])


@both
@pytest.mark.parametrize("n", [0, 1, 5])
def test_all_responses_come_in_order(asynchronous: bool, n: int) -> None:
    async def main() -> None:
        async with scheduled(Counter(asynchronous)) as scheduler:
            got = [answer.outputs async for answer in ask(scheduler, n)]
        assert [outputs["i"].item() for outputs in got] == list(range(n))
        assert [outputs["square"].item() for outputs in got if "square" in outputs] == [
            i * i for i in range(1, n, 2)
        ]
        statistics = scheduler.spec.statistics
        assert statistics.success_count == 1
        assert [statistics.responses[i].success.count for i in range(n)] == [1] * n

    run(main)


@both
def test_an_error_comes_after_the_responses_before_it(asynchronous: bool) -> None:
    async def main() -> None:
        async with scheduled(Counter(asynchronous)) as scheduler:
            got = []
            with pytest.raises(InternalError, match="ValueError: no more"):
                async for answer in ask(scheduler, -3):
                    got.append(answer.outputs["i"].item())  # noqa: PERF401 - what came before the error counts
            assert got == [0, 1, 2]
            assert [answer.outputs["i"].item() async for answer in ask(scheduler, 2)] == [0, 1]
        assert scheduler.spec.statistics.failures[FailureReason.BACKEND] == 1

    run(main)


@both
def test_a_reader_that_does_not_read_holds_the_model_back(asynchronous: bool) -> None:
    async def main() -> None:
        model = Counter(asynchronous)
        async with scheduled(model) as scheduler, aclosing(ask(scheduler, 1000)) as stream:
            for expected in range(10):
                assert (await anext(stream)).outputs["i"].item() == expected
                # At most the response after the one that was read is under way.
                assert len(model.steps) <= expected + 2

    run(main)


@both
def test_a_reader_that_leaves_stops_the_model_within_one_step(asynchronous: bool) -> None:
    async def main() -> None:
        model = Counter(asynchronous)
        async with scheduled(model) as scheduler:
            async with aclosing(ask(scheduler, 1_000_000)) as stream:
                await anext(stream)
            await asyncio.get_running_loop().run_in_executor(None, model.all_closed.wait, 30)
        assert len(model.steps) <= 3
        assert model.closed == 1
        assert scheduler.spec.statistics.failures[FailureReason.CANCELED] == 1

    run(main)


def counts(scheduler: QueueTarget, position: int) -> dict[str, int]:
    """How often a response at this position became what, without the zeros."""
    durations = scheduler.spec.statistics.responses[position].durations()
    return {name: duration.count for name, duration in durations.items() if duration.count}


COMPUTED = {"compute_infer": 1, "compute_output": 1}


@both
def test_an_error_is_counted_at_its_place_in_the_stream(asynchronous: bool) -> None:
    async def main() -> None:
        async with scheduled(Counter(asynchronous)) as scheduler:
            with pytest.raises(InternalError):
                async for _ in ask(scheduler, -2):
                    pass
        assert [counts(scheduler, n) for n in scheduler.spec.statistics.responses] == [
            {**COMPUTED, "success": 1}, {**COMPUTED, "success": 1}, {**COMPUTED, "fail": 1},
        ]  # fmt: skip

    run(main)


@both
def test_the_response_that_nobody_takes_is_counted_as_cancelled(asynchronous: bool) -> None:
    async def main() -> None:
        model = Counter(asynchronous)
        async with scheduled(model) as scheduler:
            async with aclosing(ask(scheduler, 1_000_000)) as stream:
                await anext(stream)
                await anext(stream)
            await asyncio.get_running_loop().run_in_executor(None, model.all_closed.wait, 30)
        positions = scheduler.spec.statistics.responses
        assert [counts(scheduler, n) for n in positions] == [
            {**COMPUTED, "success": 1}, {**COMPUTED, "success": 1}, {"cancel": 1},
        ]  # fmt: skip
        assert scheduler.spec.statistics.failures[FailureReason.CANCELED] == 1

    run(main)


@both
def test_what_fails_while_it_is_stopped_is_cancelled_all_the_same(asynchronous: bool) -> None:
    class BadLoser(Counter):
        def responses(self, n: int) -> Iterator[Tensors]:
            try:
                yield from super().responses(n)
            finally:
                raise ValueError("not now")

    async def main() -> None:
        model = BadLoser(asynchronous)
        async with scheduled(model) as scheduler:
            async with aclosing(ask(scheduler, 1_000_000)) as stream:
                await anext(stream)
            await asyncio.get_running_loop().run_in_executor(None, model.all_closed.wait, 30)
        failures = scheduler.spec.statistics.failures
        assert (failures[FailureReason.CANCELED], failures[FailureReason.BACKEND]) == (1, 0)

    run(main)


def test_a_waiting_request_that_is_given_up_never_runs() -> None:
    async def main() -> None:
        model = Counter()
        async with scheduled(model) as scheduler, aclosing(ask(scheduler, 100)) as first:
            await anext(first)
            waiting = asyncio.create_task(anext(ask(scheduler, 7)))  # type: ignore[arg-type]
            while scheduler.depth != 1:  # noqa: ASYNC110
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert scheduler.depth == 0
        assert model.closed == 1

    run(main)


def test_async_streams_run_at_the_same_time() -> None:
    async def main() -> None:
        async with scheduled(Counter(asynchronous=True)) as scheduler:
            streams = [ask(scheduler, 100) for _ in range(8)]
            for expected in range(3):
                answers = await asyncio.gather(*(anext(stream) for stream in streams))
                assert [answer.outputs["i"].item() for answer in answers] == [expected] * 8
            for stream in streams:
                await stream.aclose()

    run(main)


def test_a_full_queue_and_a_time_out_are_refusals() -> None:
    async def main() -> None:
        policy = QueuePolicy(max_size=1, timeout_us=30_000_000, allow_override=True)
        async with scheduled(Counter(), policy) as scheduler, aclosing(ask(scheduler, 100)) as first:
            await anext(first)
            waiting = asyncio.create_task(anext(ask(scheduler, 1)))  # type: ignore[arg-type]
            while scheduler.depth != 1:  # noqa: ASYNC110
                await asyncio.sleep(0)
            with pytest.raises(UnavailableError, match="Exceeds maximum queue size"):
                await anext(ask(scheduler, 1))
            waiting.cancel()
            await asyncio.wait([waiting])
            with pytest.raises(UnavailableError, match="Request timeout expired"):
                await anext(ask(scheduler, 1, timeout=1000))

    run(main)


def test_a_response_that_does_not_fit_is_an_error() -> None:
    class Wrong(Counter):
        def responses(self, n: int) -> Iterator[Tensors]:
            yield {"i": np.array([1.0])}

    async def main() -> None:
        async with scheduled(Wrong()) as scheduler:
            with pytest.raises(InternalError, match=r"output 'i' .* has data-type FP64"):
                await anext(ask(scheduler, 1))
            with pytest.raises(InvalidArgumentError):
                ask(scheduler, 1.5)  # type: ignore[arg-type]

    run(main)
