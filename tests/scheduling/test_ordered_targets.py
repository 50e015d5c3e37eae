"""`preserve_ordering` with real instances: executed in parallel, answered in order. scheduling.md 1.9."""

import asyncio

import pytest

from kserve_v2.errors import InternalError, UnavailableError
from kserve_v2.scheduling.queue_policy import PriorityLevels, QueuePolicy
from tests.scheduling.gated import run, served

pytestmark = pytest.mark.timeout(60)


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
