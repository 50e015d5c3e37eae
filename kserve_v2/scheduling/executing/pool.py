"""The instances of one model version: their threads, made and closed together."""

import asyncio
from collections.abc import Callable, Sequence

from kserve_v2.backend import Model
from kserve_v2.scheduling.executing.batching_trial import Finding
from kserve_v2.scheduling.executing.execution import Execution
from kserve_v2.scheduling.executing.instance import InstanceThread
from kserve_v2.scheduling.executing.post_runner import PostRunner
from kserve_v2.scheduling.executing.runners import Deliver
from kserve_v2.scheduling.feed import Feed
from kserve_v2.scheduling.spec import ModelSpec


class InstancePool:
    """Lives on the event loop that made it."""

    def __init__(
        self, spec: ModelSpec, model: Model, feed: Feed, deliver: Deliver, on_interrupted: Callable[[], None]
    ) -> None:
        """`deliver` is called with finished executions, and `on_interrupted` when something has ended the work of an
        instance, both on the event loop.
        """
        self._loop = asyncio.get_running_loop()
        self._deliver = deliver
        self._on_interrupted = on_interrupted
        self._instances = [
            InstanceThread(slot, spec, model, feed, self._deliver_from_thread, self._interrupted)
            for slot in range(len(spec.placements))
        ]
        self.living = len(self._instances)
        """How many have not been lost."""

    def __repr__(self) -> str:
        return f"<InstancePool {self._instances!r}>"

    def __len__(self) -> int:
        return len(self._instances)

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
    def findings(self) -> list[Finding]:
        """What trials of batching have shown, one for each kind of device, once the instances are made."""
        return [each.finding for each in self._instances if each.finding is not None]

    async def start(self) -> None:
        """Make the instances. Raises what the first failing one raised; the others are closed by `stopped`."""
        results = await asyncio.gather(
            *(instance.start() for instance in self._instances), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            raise failures[0]

    def end_posting(self) -> None:
        """End the threads that nobody hands anything to, because not all instances could be made."""
        for each in self._instances:
            if each.post_runner is not None:
                each.post_runner.hand([None])

    async def stopped(self) -> None:
        """Wait until all instances are closed, which happens after their feed is closed and empty."""
        await asyncio.gather(*(instance.stopped() for instance in self._instances))

    def _interrupted(self, goes_on: bool) -> None:
        self.living -= not goes_on
        self._on_interrupted()

    def _deliver_from_thread(self, executions: Sequence[Execution]) -> None:
        # The loop is closed only when the process exits.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, executions)
