"""`preserve_ordering` with real instances: executed in parallel, answered in order. scheduling.md 1.9."""

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig, Placement
from kserve_v2.caching.cache import Caching
from kserve_v2.caching.local import LocalCache
from kserve_v2.errors import InternalError, UnavailableError
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.scheduling.queueing.levels import PriorityLevels, QueuePolicy
from kserve_v2.scheduling.queueing.ordered import OrderedTarget
from kserve_v2.scheduling.replies import stream
from kserve_v2.scheduling.signature import ModelSignature
from tests.scheduling.gated import run, served
from tests.scheduling.targets import queue_target


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_quick_answer_waits_for_a_slow_one_before_it(asynchronous: bool) -> None:
    async def main() -> None:
        async with served(instances=2, ordered=True, asynchronous=asynchronous) as model:
            answered: list[int] = []
            [slow] = await model.busy(1)
            tasks = [slow, *(model.ask(tag) for tag in (2, 3))]
            for tag, task in enumerate(tasks, 1):
                task.add_done_callback(lambda _, tag=tag: answered.append(tag))
            # Both later ones have been executed, and counted, by the other instance.
            while model.queue.spec.statistics.success_count < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert answered == []
            model.model.let_go(1)
            await asyncio.gather(*tasks)
            assert answered == [1, 2, 3]

    run(main)


def test_without_it_answers_leave_as_they_are_ready() -> None:
    async def main() -> None:
        async with served(instances=2) as model:
            [slow] = await model.busy(1)
            await model.ask(2)
            assert not slow.done()
            model.model.let_go(1)
            await slow

    run(main)


def test_a_failure_keeps_its_place_and_is_its_own() -> None:
    async def main() -> None:
        async with served(instances=2, ordered=True) as model:
            [slow] = await model.busy(1)
            failing, last = model.ask(-1), model.ask(3)
            while model.queue.spec.statistics.success_count < 1:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert not failing.done()
            model.model.let_go(1)
            await slow
            with pytest.raises(InternalError, match="minus one"):
                await failing
            assert (await last).outputs["tag"].item() == 3

    run(main)


def test_who_leaves_holds_up_nobody() -> None:
    async def main() -> None:
        async with served(instances=2, ordered=True) as model:
            [slow] = await model.busy(1)
            second = model.ask(2)
            await model.model.running(2)
            slow.cancel()
            assert (await second).outputs["tag"].item() == 2

    run(main)


def test_what_waits_too_long_is_told_so_on_time() -> None:
    levels = PriorityLevels((QueuePolicy(allow_override=True),))

    async def main() -> None:
        async with served(levels=levels, ordered=True) as model:
            [slow] = await model.busy(1)
            late, patient = model.ask(2, timeout=1000), model.ask(3)
            with pytest.raises(UnavailableError, match="Request timeout expired"):
                await late
            assert not slow.done()
            model.model.let_go(1)
            await asyncio.gather(slow, patient)

    run(main)


STREAMS = """
    name: "streams" model_transaction_policy { decoupled: true }
    input { name: "tag" data_type: TYPE_INT64 dims: [1] }
    output { name: "step" data_type: TYPE_INT64 dims: [1] }
"""


class Streams:
    """Answers a tag with ten times the tag, and that plus 1. Tag 1 waits in between until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.steps: list[int] = []

    def instance(self, placement: Placement) -> "Streams":
        return self

    def stream(self, tensors: Tensors, request: InferRequest) -> Iterator[Tensors]:
        tag = int(tensors["tag"][0])
        for step in (10 * tag, 10 * tag + 1):
            self.steps.append(step)
            yield {"step": np.array([step])}
            assert tag != 1 or self.gate.wait(60)

    def close(self) -> None:
        pass


def test_a_stream_flows_at_the_head_and_later_ones_wait_for_its_end() -> None:
    async def main() -> None:
        model, signature = Streams(), ModelSignature(text_format.Parse(STREAMS, ModelConfig()))
        queue = queue_target(signature, model, instances=["s_0", "s_1"], decoupled=True)
        target = OrderedTarget(queue)
        await target.start()
        heard: list[int] = []

        async def read(tag: int) -> None:
            request = InferRequest("streams", {"tag": np.array([tag])}, id=str(tag))
            request.rows, request.batch_key = signature.check(request)
            async for answer in stream(target, request):
                heard.append(int(answer.outputs["step"][0]))  # noqa: PERF401 - as they come

        readers = [asyncio.create_task(read(1))]
        while heard != [10]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        readers.append(asyncio.create_task(read(2)))
        while model.steps != [10, 20]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert heard == [10]
        model.gate.set()
        await asyncio.gather(*readers)
        assert heard == [10, 11, 20, 21]
        # The second one has not made its next response while nobody could take the one before.
        assert model.steps.index(21) > model.steps.index(11)
        await target.drain()
        await target.stop()

    run(main)


def test_cached_answers_keep_their_place() -> None:
    async def main() -> None:
        caching = Caching(LocalCache(100_000), "gated")
        async with served(instances=2, ordered=True, caching=caching) as model:
            await model.ask(2)
            [slow] = await model.busy(1)
            cached = model.ask(2)
            while model.queue.spec.statistics.cache_hit.count < 1:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not cached.done()
            model.model.let_go(1)
            assert (await cached).outputs["tag"].item() == 2
            assert slow.done()

    run(main)
