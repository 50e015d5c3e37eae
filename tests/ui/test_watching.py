"""Those who watch share one task, and leave nothing behind."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kserve_v2.inference import InferenceService
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.scheduling.statistics import BatchReason, ModelStatistics
from kserve_v2.ui.live import MOST_AT_ONCE, LiveEvents
from kserve_v2.ui.sampling import ModelSample, ProcessSample, Sample, between
from kserve_v2.ui.watching import Watching, next_due_s


class Models:
    """A service, as far as it is looked at, with one model that counts."""

    def __init__(self) -> None:
        self.statistics = ModelStatistics()
        self.exiting = False
        self.inflight = InflightBytes(1)
        self.broken = False

    @property
    def manager(self) -> "Models":
        return self

    def ready_models(self) -> list[Any]:
        if self.broken:
            raise RuntimeError("broken")
        model = SimpleNamespace(
            name="m", version=1, statistics=self.statistics, under_way_since=[], depth=0, places=1, decoupled=False,
            in_place=False, memory=None, down="",
        )  # fmt: skip
        return [model]

    def answer(self, took_ns: int) -> None:
        self.statistics.record_success(1, 1, 0, (0, 0, took_ns, took_ns), BatchReason.NO_DELAY, 1)
        self.statistics.record_answers(took_ns, [0])

    def watching(self) -> Watching:
        return Watching(cast("InferenceService", self))


def test_what_is_noted_for_those_who_watch_is_noted_only_then() -> None:
    async def run() -> None:
        models = Models()
        watching = models.watching()
        models.answer(1)
        assert models.statistics.latencies is None
        async with watching.watch(0.01) as first:
            async with watching.watch(0.01) as second:
                models.answer(5)
                for each in (first, second):
                    change = await each.next()
                    assert change is not None
                    old, new = (sample.models["m", 1] for sample in change)
                    assert between(old, new).requests == 1
                    assert new.latencies.tolist() == [5]
            assert models.statistics.latencies is not None
            assert len(asyncio.all_tasks()) == 2
        assert models.statistics.latencies is None
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_of_samples_that_nobody_takes_the_newest_stays_and_nothing_is_lost() -> None:
    async def run() -> None:
        models = Models()
        async with models.watching().watch(0.01) as slow:
            first = await slow.next()
            assert first is not None
            seen = 0
            async with slow._watching.watch(0.01) as quick:
                for _ in range(5):
                    models.answer(1)
                    assert await quick.next() is not None
            while seen < 5:
                change = await slow.next()
                assert change is not None
                old, new = (sample.models["m", 1] for sample in change)
                seen += between(old, new).requests
            assert seen == 5

    asyncio.run(run())


@pytest.mark.parametrize("end", ["exiting", "broken"])
def test_all_are_told_of_the_end(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever waits for what never comes would wait for ever."""

    async def run() -> None:
        models = Models()
        watching = models.watching()
        async with watching.watch(0.01) as one, watching.watch(10) as other:
            setattr(models, end, True)
            while await one.next() is not None:
                pass
            assert await other.next() is None

    asyncio.run(run())
    assert ("cannot be watched" in caplog.text) is (end == "broken")


def test_a_model_that_is_unloaded_is_not_counted_any_more() -> None:
    async def run() -> None:
        models = Models()
        gone = models.statistics
        async with models.watching().watch(0.01) as watcher:
            assert gone.latencies is not None
            models.statistics = ModelStatistics()
            while models.statistics.latencies is None:
                assert await watcher.next() is not None
            assert gone.latencies is None

    asyncio.run(run())


@pytest.mark.parametrize(
    ("now_s", "interval_s", "due_s"),
    [
        (10.0, 1.0, 11.0),
        (10.3, 1.0, 11.0),
        (10.6, 1.0, 12.0),
        (9.999, 1.0, 11.0),
        (3.0, 0.25, 3.25),
        (17, 10, 30),
    ],
)
def test_those_with_the_same_interval_are_due_together_and_not_too_soon(
    now_s: float, interval_s: float, due_s: float
) -> None:
    assert next_due_s(now_s, interval_s) == due_s


@pytest.mark.parametrize("count", [3, MOST_AT_ONCE + 1])
def test_an_event_is_made_once_for_all_who_get_the_same(count: int) -> None:
    def moment(at_ns: int, count: int) -> Sample:
        models = {(f"m{n}", 1): ModelSample(f"m{n}", 1, None, requests=at_ns) for n in range(count)}
        return Sample(at_ns, float(at_ns), ProcessSample(), models)

    async def run() -> None:
        events = LiveEvents()
        old, new, later = (moment(at_ns, count) for at_ns in (1, 2, 3))
        leaver = asyncio.ensure_future(events.event(old, new, ()))
        await asyncio.sleep(0)
        leaver.cancel()
        one, other, named = await asyncio.gather(
            events.event(old, new, ()), events.event(old, new, ()), events.event(old, new, ("m2",))
        )
        assert one is other
        assert [len(json.loads(each.removeprefix(b"data: "))["models"]) for each in (one, named)] == [
            count,
            1,
        ]
        assert await events.event(new, later, ()) != one

    asyncio.run(run())
