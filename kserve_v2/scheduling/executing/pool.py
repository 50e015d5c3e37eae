"""The instances of one model version: their threads, made and closed together, or changed while others execute."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from kserve_v2.backend import Model, Placement
from kserve_v2.scheduling.executing.batching_trial import Finding
from kserve_v2.scheduling.executing.execution import Execution
from kserve_v2.scheduling.executing.instance import InstanceThread
from kserve_v2.scheduling.executing.post_runner import PostRunner
from kserve_v2.scheduling.executing.runners import Deliver
from kserve_v2.scheduling.executing.warming import Progress, executions_of, tell_progress
from kserve_v2.scheduling.feed import Batch, Feed
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.warm_up import Sample


class InstancePool:
    """Lives on the event loop that made it."""

    def __init__(
        self, spec: ModelSpec, model: Model, feed: Feed, deliver: Deliver, on_interrupted: Callable[[], None]
    ) -> None:
        """`deliver` is called with finished executions, and `on_interrupted` when something has ended the work of an
        instance, both on the event loop.
        """
        self._loop = asyncio.get_running_loop()
        self._spec = spec
        self._model = model
        self._feed = feed
        self._deliver = deliver
        self._on_interrupted = on_interrupted
        self._instances: list[InstanceThread] = []
        # Those that finish what they execute, and take nothing any more.
        self._leaving: list[InstanceThread] = []
        self._slots = 0
        # What each instance executes before its first batch, and whether that is made up.
        self._samples: tuple[Sequence[Sample], bool] = ((), False)
        for placement in spec.placements:
            self._add(placement)

    def __repr__(self) -> str:
        return f"<InstancePool {self._instances!r}>"

    def __len__(self) -> int:
        return len(self._instances)

    def _add(self, placement: Placement) -> InstanceThread:
        instance = InstanceThread(
            self._slots,
            placement,
            self._spec,
            self._model,
            self._feed,
            self._deliver_from_thread,
            self._on_interrupted,
        )
        self._slots += 1
        self._instances.append(instance)
        return instance

    @property
    def living(self) -> int:
        """How many have not been lost."""
        return sum(not each.lost for each in self._instances)

    @property
    def placements(self) -> list[Placement]:
        """Where its instances are."""
        return [each.placement for each in self._instances]

    @property
    def first(self) -> InstanceThread:
        """The first of the instances."""
        return self._instances[0]

    @property
    def post_runners(self) -> list[PostRunner]:
        """What drives the instances, if the event loop may hand executions over itself; none if not."""
        runners = [each.post_runner for each in self._instances if each.post_runner is not None]
        return runners if len(runners) == len(self._instances) else []

    @property
    def places(self) -> int:
        """How many batches can be executed at a time."""
        return sum([each.concurrency for each in self._instances])

    @property
    def under_way(self) -> list[Batch]:
        """What is executed now, but for what the event loop has handed over itself."""
        return [batch for each in (*self._instances, *self._leaving) for batch in each.under_way]

    @property
    def findings(self) -> list[Finding]:
        """What trials of batching have shown, one for each kind of device, once the instances are made."""
        return [each.finding for each in self._instances if each.finding is not None]

    async def start(self) -> None:
        """Make the instances. Raises what the first failing one raised; the others are closed by `stopped`."""
        await _all([instance.start() for instance in self._instances])

    async def warm_up(self, samples: Sequence[Sample], *, automatic: bool) -> int:
        """Have all instances execute samples, at the same time, before the first batch. Returns how many executions
        that were. Raises what the first failing one raised; the others begin nothing more.
        """
        # Those that come later do it, too.
        self._samples = (samples, automatic)
        return await self._warm_up(self._instances)

    async def _warm_up(self, instances: Sequence[InstanceThread]) -> int:
        spec, (samples, automatic) = self._spec, self._samples
        if not samples:
            return 0
        of_one = executions_of(samples, spec)
        progress = Progress(of_one * len(instances), automatic)
        telling = self._loop.create_task(tell_progress(spec.name, spec.version, progress))
        try:
            await _all([instance.warm_up(samples, progress) for instance in instances])
        finally:
            telling.cancel()
        return progress.executions

    def begin(self) -> None:
        """Take batches from now on."""
        for each in self._instances:
            each.begin()

    def end_posting(self) -> None:
        """End the threads that nobody hands anything to, because not all instances could be made."""
        for each in self._instances:
            if each.post_runner is not None:
                each.post_runner.hand([None])

    async def stopped(self) -> None:
        """Wait until all instances are closed, which happens after their feed is closed and empty."""
        await asyncio.gather(*(instance.stopped() for instance in (*self._instances, *self._leaving)))

    # --- changes ------------------------------------------------------------------------------------------------

    async def change(
        self,
        placements: Sequence[Placement],
        joins: Callable[[], None],
        leaves: Callable[[int], None],
        left: Callable[[int], None],
    ) -> tuple[int, int]:
        """Have instances at these placements from now on, which are on the devices that it has: those that are there
        already stay as they are, whatever their names. Returns how many have come, and how many go, which is not waited
        for.

        `joins` is called before an instance is made, `leaves` to have the one of that number take nothing any more, and
        `left` once that one is closed. Raises what making a new one raised, and then nothing has changed.
        """
        missing, surplus = self._difference(placements)
        new = []
        for placement in missing:
            joins()
            new.append(self._add(placement))
        failure: BaseException | None = None
        try:
            await _all([each.start() for each in new])
            await self._warm_up(new)
        except BaseException as error:  # noqa: BLE001 - raised below
            failure = error
        gone = new if failure else surplus
        for each in gone:
            self._instances.remove(each)
            self._leaving.append(each)
            leaves(each.slot)
            each.on_stopped(partial(self._gone, each, left))
        for each in new:
            each.begin()
        if failure:
            raise failure
        return len(new), len(gone)

    def _difference(self, placements: Sequence[Placement]) -> tuple[list[Placement], list[InstanceThread]]:
        """What is missing, and which are too many. Never the first one, on which others count."""
        missing: list[Placement] = []
        surplus: list[InstanceThread] = []
        for device in {each.device for each in placements}:
            wanted = [each for each in placements if each.device == device]
            there = [each for each in self._instances if each.placement.device == device]
            names = {each.placement.name for each in there}
            if len(there) < len(wanted):
                by_newness = sorted(wanted, key=lambda each: each.name in names)
                missing += by_newness[: len(wanted) - len(there)]
            else:
                may_go = [each for each in reversed(there) if each is not self.first]
                may_go.sort(key=lambda each: each.placement in wanted)
                surplus += may_go[: len(there) - len(wanted)]
        return missing, surplus

    def _gone(self, instance: InstanceThread, left: Callable[[int], None]) -> None:
        self._leaving.remove(instance)
        left(instance.slot)

    def _deliver_from_thread(self, executions: Sequence[Execution]) -> None:
        # The loop is closed only when the process exits.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, executions)


async def _all(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at the same time. Raises what the first failing one raised, when all are over."""
    results = await asyncio.gather(*work, return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise failures[0]
