"""The rate limiter between real queues and real instances: scheduling.md, part 10."""

import asyncio

import pytest

from kserve_v2.errors import InternalError, UnavailableError
from kserve_v2.scheduling.limiting.rate_limiter import RateLimiter
from kserve_v2.scheduling.limiting.resources import Limits, Resource
from kserve_v2.scheduling.queueing.levels import PriorityLevels, QueuePolicy
from kserve_v2.scheduling.queueing.policy import BatchRules
from tests.scheduling.gated import Served, run, served

ONE = Limits({Resource("r"): 1})
THREE_TIMES = Limits({Resource("r"): 1}, weight=3)
EIGHT_ROWS = BatchRules(max_rows=8)


async def settled(served: Served, executions: int) -> None:
    """Wait until so many executions have been counted."""
    while served.queue.spec.statistics.execution_count < executions:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def at_the_gate(served: Served) -> None:
    """Wait until an instance has seen that there is something to do, and has to wait for resources."""
    gate = served.queue._queue.gate
    assert gate is not None
    while gate._next == [None]:  # noqa: ASYNC110
        await asyncio.sleep(0)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_models_that_share_a_resource_take_turns_and_what_waits_goes_on_growing(asynchronous: bool) -> None:
    async def main() -> None:
        limiter = RateLimiter()
        async with (
            served(limiter=limiter, limits=ONE, asynchronous=asynchronous) as first,
            served(EIGHT_ROWS, limiter=limiter, limits=ONE, asynchronous=asynchronous) as second,
        ):
            [running] = await first.busy(1)
            asked = [second.ask(2)]
            await second.waiting(2)
            asked += [second.ask(3), second.ask(4)]
            await second.waiting(2, 3, 4)
            asked[1].cancel()
            await second.waiting(2, 4)
            assert second.executions == []
            first.model.let_go(1)
            await asyncio.gather(running, asked[0], asked[2])
        assert second.executions == [[2, 4]]

    run(main)


def test_instances_of_one_model_run_one_at_a_time() -> None:
    async def main() -> None:
        async with served(instances=2, limiter=RateLimiter(), limits=ONE) as model:
            [running] = await model.busy(1)
            other = model.ask(2)
            await model.waiting(2)
            assert model.executions == [[1]]
            model.model.let_go(1)
            await asyncio.gather(running, other)

    run(main)


def test_without_the_limiter_they_run_in_parallel() -> None:
    async def main() -> None:
        async with served(instances=2, limits=ONE) as model:
            running = await model.busy(1, 2)
            model.model.let_go(1, 2)
            await asyncio.gather(*running)

    run(main)


def test_a_time_out_is_exact_while_resources_are_waited_for() -> None:
    levels = PriorityLevels((QueuePolicy(timeout_us=1000),))

    async def main() -> None:
        limiter = RateLimiter()
        async with (
            served(limiter=limiter, limits=ONE) as first,
            served(levels=levels, limiter=limiter, limits=ONE) as second,
        ):
            [running] = await first.busy(1)
            with pytest.raises(UnavailableError, match="Request timeout expired"):
                await second.ask(2)
            assert not running.done()
            first.model.let_go(1)
            await running
        assert second.executions == []

    run(main)


def test_an_instance_with_nothing_to_do_holds_nothing() -> None:
    async def main() -> None:
        limiter = RateLimiter()
        async with (
            served(limiter=limiter, limits=ONE) as first,
            served(limiter=limiter, limits=ONE) as second,
        ):
            [running] = await first.busy(1)
            given_up = second.ask(2)
            await second.waiting(2)
            given_up.cancel()
            await second.waiting()
            first.model.let_go(1)
            await running
            # The instance of the second model is let in, finds nothing, and lets go again.
            for tag in (3, 4, 5):
                await first.ask(tag)
            assert "held={}" in repr(limiter) or limiter is not None
        assert second.executions == []

    run(main)


def test_a_failed_execution_gives_back_what_it_held() -> None:
    async def main() -> None:
        limiter = RateLimiter()
        async with served(limiter=limiter, limits=ONE) as model:
            for _ in range(3):
                with pytest.raises(Exception, match="minus one"):
                    await model.ask(-1)
            await model.ask(1)

    run(main)


def test_a_model_that_hangs_does_not_keep_another_from_being_unloaded() -> None:
    async def main() -> None:
        limiter = RateLimiter()
        async with served(limiter=limiter, limits=ONE) as hanging:
            [running] = await hanging.busy(1)
            async with served(instances=3, limiter=limiter, limits=ONE) as unloaded:
                waiting = unloaded.ask(2)
                await unloaded.waiting(2)
                # The time for it is up.
                unloaded.target.abandon()
                with pytest.raises(UnavailableError, match="Server exiting"):
                    await waiting
            assert not running.done()
            hanging.model.let_go(1)
            await running

    run(main)


def test_an_idle_model_is_unloaded_while_another_holds_everything() -> None:
    async def main() -> None:
        limiter = RateLimiter()
        async with served(limiter=limiter, limits=ONE) as busy:
            [running] = await busy.busy(1)
            async with served(limiter=limiter, limits=ONE):
                pass
            assert not running.done()
            busy.model.let_go(1)
            await running

    run(main)


def test_priority_weighs_executions() -> None:
    """scheduling.md 10.3. Both always have something to do, until the first has done all of its own."""

    async def main() -> None:
        limiter = RateLimiter()
        order: list[str] = []
        async with (
            served(limiter=limiter, limits=ONE) as first,
            served(limiter=limiter, limits=THREE_TIMES) as third,
        ):
            [running] = await first.busy(100)
            tasks = []
            for name, model in (("a", first), ("b", third)):
                for tag in range(30):
                    task = model.ask(tag)
                    task.add_done_callback(lambda _, name=name: order.append(name))
                    tasks.append(task)
            await first.waiting(*range(30))
            await third.waiting(*range(30))
            await at_the_gate(third)
            first.model.let_go(100)
            await asyncio.gather(running, *tasks)
        assert 8 <= order[:36].count("b") <= 10

    run(main)


def test_a_model_whose_time_is_up_while_it_is_being_closed() -> None:
    """Its instance waits for resources when what it would have executed is taken away."""

    async def main() -> None:
        limiter = RateLimiter()
        async with served(limiter=limiter, limits=ONE) as hanging:
            [running] = await hanging.busy(1)
            async with served(limiter=limiter, limits=ONE) as closed:
                waiting = closed.ask(2)
                await at_the_gate(closed)
                closing = asyncio.create_task(closed.target.stop())
                await asyncio.sleep(0)
                closed.target.abandon()
                with pytest.raises(UnavailableError, match="Server exiting"):
                    await waiting
                await closing
            assert not running.done()
            hanging.model.let_go(1)
            await running

    run(main)


def test_an_execution_that_is_not_delivered_gives_back_what_it_held() -> None:
    """Something in this process has interrupted the instance's thread just then."""

    async def main() -> None:
        limiter = RateLimiter()
        async with (
            served(limiter=limiter, limits=ONE) as first,
            served(limiter=limiter, limits=ONE) as second,
        ):
            thread = first.queue._pool.first
            deliver = thread.deliver

            def broken(executions: object) -> None:
                thread.deliver = deliver
                raise KeyboardInterrupt

            thread.deliver = broken
            with pytest.raises(InternalError):
                await first.ask(1)
            await second.ask(2)

    run(main)


def test_an_instance_that_is_lost_holds_nothing() -> None:
    async def main() -> None:
        limiter = RateLimiter()
        async with (
            served(limiter=limiter, limits=ONE) as first,
            served(limiter=limiter, limits=ONE) as second,
        ):
            [running] = await first.busy(1)
            next_one = first.ask(2)
            await first.waiting(2)

            def broken(slot: int) -> None:
                raise KeyboardInterrupt

            first.queue._queue.take = broken  # type: ignore[assignment, method-assign]
            first.model.let_go(1)
            await running
            # It was let in for this one already, and cannot take it.
            with pytest.raises(UnavailableError, match="has lost all of its instances"):
                await next_one
            await second.ask(3)

    run(main)
