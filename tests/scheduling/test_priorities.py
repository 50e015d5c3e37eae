"""Priorities, levels with limits of their own, and delays, with a real target: the tables of scheduling.md, part 2."""

import asyncio

import pytest

from kserve_v2.errors import UnavailableError
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.queueing.levels import PriorityLevels, QueuePolicy
from kserve_v2.scheduling.queueing.policy import ONE_AT_A_TIME, BatchRules
from kserve_v2.scheduling.statistics import FailureReason
from tests.scheduling.gated import run, served

THREE = PriorityLevels((QueuePolicy(),) * 3, default=1)


def test_lower_numbers_run_first_and_within_a_level_the_first_to_come() -> None:
    async def main() -> None:
        async with served(levels=THREE) as model:
            [first] = await model.busy(100)
            asked = [3, 2, 1, None, 0, 9, 1]
            tasks = [
                model.ask(tag, **({} if priority is None else {"priority": priority}))
                for tag, priority in enumerate(asked)
            ]
            await model.waiting(2, 6, 1, 3, 4, 5, 0)
            model.model.let_go(100)
            await asyncio.gather(first, *tasks)
        assert model.executions == [[100], [2], [6], [1], [3], [4], [5], [0]]

    run(main)


def test_batches_are_filled_from_the_first_level_downwards() -> None:
    async def main() -> None:
        async with served(BatchRules(max_rows=4), THREE) as model:
            [first] = await model.busy(100)
            tasks = [model.ask(tag, priority=priority) for tag, priority in enumerate([3, 2, 1, 0, 0, 3, 1])]
            await model.waiting(2, 6, 1, 3, 4, 0, 5)
            model.model.let_go(100)
            await asyncio.gather(first, *tasks)
        assert model.executions == [[100], [2, 6, 1, 3], [4, 0, 5]]

    run(main)


def test_each_level_has_its_own_limit() -> None:
    """scheduling.md 2.6: the third of level 1, the second of level 2 and the fourth of level 3 are refused at once."""
    levels = PriorityLevels(tuple(QueuePolicy(max_size=size) for size in (2, 1, 3)), default=1)

    async def main() -> None:
        async with served(levels=levels) as model:
            [first] = await model.busy(100)
            asked = [1, 1, 1, 2, 2, 3, 3, 3, 3]
            tasks = [model.ask(tag, priority=priority) for tag, priority in enumerate(asked)]
            await model.waiting(0, 1, 3, 5, 6, 7)
            refused = [task for tag, task in enumerate(tasks) if tag in (2, 4, 8)]
            for task in refused:
                with pytest.raises(
                    UnavailableError, match=r"^\[request id: \d\] Exceeds maximum queue size$"
                ):
                    await task
            assert model.queue.spec.statistics.failures[FailureReason.REJECTED] == 3
            model.model.let_go(100)
            await asyncio.gather(first, *[task for task in tasks if task not in refused])
        assert model.executions == [[100], [0], [1], [3], [5], [6], [7]]

    run(main)


def test_a_delayed_request_moves_behind_its_level_in_the_order_of_expiry() -> None:
    """scheduling.md 2.9: a and c expire while b does not, and run after it; the other level does not mind."""
    levels = PriorityLevels((QueuePolicy(reject=False, allow_override=True),) * 2)

    async def main() -> None:
        async with served(levels=levels) as model:
            [first] = await model.busy(100)
            a, b, c = (model.ask(tag, timeout=timeout) for tag, timeout in ((1, 2000), (2, 0), (3, 1000)))
            low = model.ask(4, priority=2)
            await model.waiting(2, 3, 1, 4)
            model.model.let_go(100)
            await asyncio.gather(first, a, b, c, low)
        assert model.executions == [[100], [2], [3], [1], [4]]
        assert model.queue.spec.statistics.fail.count == 0

    run(main)


def test_a_request_s_own_time_out_holds_where_the_model_has_none() -> None:
    levels = PriorityLevels((QueuePolicy(allow_override=True),))

    async def main() -> None:
        async with served(levels=levels) as model:
            [first] = await model.busy(100)
            # The instance is busy for as long as the test likes: the time-out does not wait for it.
            with pytest.raises(UnavailableError, match=r"^Request timeout expired$"):
                await model.ask(1, timeout=1000)
            model.model.let_go(100)
            await first
        assert model.executions == [[100]]

    run(main)


def test_levels_have_actions_of_their_own() -> None:
    levels = PriorityLevels(
        (QueuePolicy(timeout_us=1000), QueuePolicy(timeout_us=1000, reject=False), QueuePolicy())
    )

    async def main() -> None:
        async with served(levels=levels) as model:
            model.model.hold(100)
            blocked = model.ask(100, priority=3)
            await model.model.running(100)
            rejected, delayed, patient = (model.ask(tag, priority=tag) for tag in (1, 2, 3))
            with pytest.raises(UnavailableError):
                await rejected
            await model.waiting(2, 3)
            model.model.let_go(100)
            await asyncio.gather(blocked, delayed, patient)
        assert model.executions == [[100], [2], [3]]

    run(main)


def test_a_waiting_batch_is_joined_by_higher_priorities_and_bounded_by_its_oldest_request() -> None:
    """The delay is that of the oldest request in the batch, wherever it stands."""
    hour = BatchRules(max_rows=3, max_delay_ns=3_600_000_000_000)

    async def main() -> None:
        async with served(hour, THREE) as model:
            tasks = [model.ask(1, priority=3), model.ask(2, priority=2)]
            await model.waiting(2, 1)
            tasks.append(model.ask(3, priority=1))
            await asyncio.gather(*tasks)
        assert model.executions == [[3, 2, 1]]

    run(main)


def test_parts_of_a_large_request_have_its_priority() -> None:
    async def main() -> None:
        async with served(BatchRules(max_rows=4), THREE) as model:
            model.queue.spec.signature.takes_large_requests = True
            model.queue.splits_large_requests = True
            [first] = await model.busy(100)
            low = model.ask(1, priority=3)
            await model.waiting(1)
            high = model.ask(2, rows=8, priority=1)
            await model.waiting(2, 2, 1)
            model.model.let_go(100)
            await asyncio.gather(first, low, high)
        assert model.executions == [[100], [2] * 4, [2] * 4, [1]]

    run(main)


def test_the_model_sees_the_time_out_and_never_the_priority() -> None:
    async def main() -> None:
        async with served(ONE_AT_A_TIME, THREE) as model:
            await model.ask(1, priority=1, timeout=5_000_000)
            await model.ask(2)
        assert model.model.timeouts == [5_000_000, 0]
        assert not hasattr(InferRequest, "priority")

    run(main)
