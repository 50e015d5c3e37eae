"""Instances that come and go while a model is served: nothing that runs or waits is lost, and nothing is held up."""

import asyncio

import pytest

from kserve_v2.backend import Placement
from kserve_v2.errors import UnavailableError
from kserve_v2.scheduling.limiting.rate_limiter import RateLimiter
from kserve_v2.scheduling.queueing.policy import BatchRules
from tests.scheduling.gated import Gated, GatedInstance, Served, run, served


def placed(count: int) -> list[Placement]:
    return [Placement(f"gated_{number}", "CPU") for number in range(count)]


async def change(target: Served, count: int) -> tuple[int, int]:
    return await target.queue.change_instances(placed(count))


async def idle(target: Served) -> None:
    """Wait until all instances sleep, those that go are gone, and it is known."""
    while target.queue._pool._leaving or not target.queue._queue.idle:  # noqa: ASYNC110
        await asyncio.sleep(0)


def test_more_instances_execute_while_the_first_one_is_busy() -> None:
    async def main() -> None:
        async with served() as target:
            busy = await target.busy(1)
            waiting = target.ask(2)
            await target.waiting(2)
            target.model.hold(3)
            assert await change(target, 3) == (2, 0)
            await waiting
            assert target.queue.places == 3
            busy += await target.busy(3)
            target.model.let_go(1, 3)
            await asyncio.gather(*busy)
            await idle(target)

    run(main)


def test_an_instance_that_goes_finishes_what_it_executes() -> None:
    async def main() -> None:
        async with served(instances=3) as target:
            busy = await target.busy(1, 2, 3)
            assert await change(target, 1) == (0, 2)
            waiting = target.ask(4)
            await target.waiting(4)
            target.model.let_go(1, 2, 3)
            await asyncio.gather(*busy, waiting)
            await idle(target)
            assert target.queue.places == 1
            assert len(target.queue._pool) == 1

    run(main)


def test_what_waits_for_a_batch_to_grow_is_executed_by_those_that_stay() -> None:
    """Whichever instance waits for it: the one that goes, or the one that stays."""

    async def main() -> None:
        rules = BatchRules(4, max_delay_ns=300_000_000)
        for _ in range(20):
            async with served(rules, instances=2) as target:
                forming = [target.ask(1), target.ask(2)]
                while target.queue._queue._forming is None:  # type: ignore[attr-defined] # noqa: ASYNC110
                    await asyncio.sleep(0)
                await change(target, 1)
                forming += [target.ask(3), target.ask(4)]
                await asyncio.gather(*forming)
                assert [sorted(tags) for tags in target.executions] == [[1, 2, 3, 4]]
                await idle(target)

    run(main)


@pytest.mark.slow
def test_requests_all_the_time_while_instances_come_and_go() -> None:
    async def main() -> None:
        async with served(BatchRules(4), instances=2) as target:
            asked: list[asyncio.Task[object]] = []

            async def ask() -> None:
                while not done.is_set():
                    asked.append(target.ask(len(asked)))  # type: ignore[arg-type]
                    await asked[-1]

            done = asyncio.Event()
            clients = [asyncio.create_task(ask()) for _ in range(6)]
            for count in (5, 1, 3, 2, 6, 1, 4, 1):
                seen = len(asked)
                await change(target, count)
                while len(asked) < seen + 50:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            done.set()
            await asyncio.gather(*clients)
            assert sorted(tag for tags in target.executions for tag in tags) == [*range(len(asked))]
            await idle(target)
            assert target.queue.places == 1

    run(main)


def test_an_instance_that_cannot_be_made_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(self: Gated, placement: Placement) -> GatedInstance:
        if placement.name.endswith("2"):
            raise ValueError("no more of them")
        return GatedInstance(self)

    async def main() -> None:
        async with served() as target:
            monkeypatch.setattr(Gated, "instance", make)
            with pytest.raises(ValueError, match="no more of them"):
                await change(target, 3)
            await idle(target)
            assert target.queue.places == 1
            await target.ask(1)
            assert await change(target, 2) == (1, 0)
            await asyncio.gather(target.ask(2), target.ask(3))

    run(main)


def test_asynchronous_instances_come_and_go() -> None:
    async def main() -> None:
        async with served(asynchronous=True) as target:
            busy = await target.busy(1, 2, 3, 4)
            waiting = target.ask(5)
            await target.waiting(5)
            assert await change(target, 2) == (1, 0)
            await waiting
            assert target.queue.places == 8
            assert await change(target, 1) == (0, 1)
            target.model.let_go(1, 2, 3, 4)
            await asyncio.gather(*busy)

    run(main)


def test_a_model_that_is_being_closed_gets_no_more_instances() -> None:
    async def main() -> None:
        async with served() as target:
            await target.target.stop()
            with pytest.raises(UnavailableError, match="is being unloaded"):
                await change(target, 2)

    run(main)


def test_what_cannot_be_changed_says_why() -> None:
    async def main() -> None:
        async with served(instances=2) as target:
            reason = target.queue.keeps_its_instances
            assert reason(placed(3)) == "its backend makes them only when it loads the model"
            target.model.adds_instances = True  # type: ignore[attr-defined]
            assert reason(placed(3)) == ""
            assert reason([*placed(2), Placement("gpu", "GPU")]) == "they are to be on other devices"
            assert reason([Placement("gpu", "GPU")]) == "they are to be on other devices"
            assert reason([Placement("renamed", "CPU")]) == ""
            target.queue._pool._instances[1].lost = True
            assert reason(placed(3)) == "some of them are lost"
        async with served(limiter=RateLimiter({})) as target:
            target.model.adds_instances = True  # type: ignore[attr-defined]
            assert target.queue.keeps_its_instances(placed(3)) == "they share resources"

    run(main)


def test_instances_of_other_names_stay_where_they_are() -> None:
    """A group is named otherwise once it is written; the first instance is the one that may be executed in place."""

    async def main() -> None:
        async with served(instances=2) as target:
            pool = target.queue._pool
            first, second = pool._instances
            renamed = [Placement(f"renamed_{number}", "CPU") for number in range(3)]
            assert await target.queue.change_instances(renamed) == (1, 0)
            assert pool._instances[:2] == [first, second]
            assert pool.placements[2] == renamed[0]
            # Those of other names go first.
            assert await target.queue.change_instances(renamed[:2]) == (0, 1)
            assert [each.name for each in pool.placements] == ["gated_0", "renamed_0"]
            assert await target.queue.change_instances(renamed[1:]) == (0, 0)
            assert await target.queue.change_instances([renamed[2]]) == (0, 1)
            assert pool.first is first
            await idle(target)

    run(main)
