"""Keeps the delay of a queue at what is chosen for its model's latency budget."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from time import monotonic_ns

from kserve_v2.scheduling.executing.execution import Execution
from kserve_v2.scheduling.queueing.queue import RequestQueue
from kserve_v2.scheduling.queueing.tuning import DelayTuner, Seen
from kserve_v2.scheduling.spec import ModelSpec

logger = logging.getLogger(__name__)

# A line in the log each time that the choice has so much changed, but not more often than once in this time.
_NOTABLE_FACTOR = 2
_QUIET_NS = 60_000_000_000


class DelayControl:
    """Lives on the event loop."""

    def __init__(
        self, spec: ModelSpec, queue: RequestQueue, clock_ns: Callable[[], int] = monotonic_ns
    ) -> None:
        self._spec = spec
        self._queue = queue
        self._clock_ns = clock_ns
        self._tuner = DelayTuner(spec.latency_budget_ns, spec.signature.max_rows, len(spec.placements))
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._told_ns = -1
        self._told_at_ns = -_QUIET_NS

    def observe(self, execution: Execution) -> None:
        """Learn from an execution that is delivered now."""
        times = execution.times
        if times is None:
            return
        enqueued = [pending.enqueued_ns for pending in execution.members]
        seen = Seen(
            execution.rows,
            len(enqueued),
            min(enqueued),
            max(enqueued),
            times.taken_ns,
            times.output_end_ns,
            sum([times.taken_ns - each for each in enqueued]),
        )
        if self._tuner.observe(seen):
            self._apply()

    def stop(self) -> None:
        """The queue is about to be closed: its rules are left alone from now on."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _apply(self) -> None:
        rules, delay_ns = self._queue.rules, self._tuner.delay_ns
        if self._stopped or not rules.max_rows:
            return
        self._queue.rules = replace(rules, max_delay_ns=delay_ns)
        self._spec.statistics.chosen_delay_ns = delay_ns
        self._tell(delay_ns)
        if delay_ns and self._timer is None:
            # If nothing comes any more, there is nothing to wait for, either: the next request must not.
            self._timer = self._loop.call_later(self._tuner.window_ns / 1e9, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._tuner.tick(self._clock_ns()) and self._tuner.delay_ns:
            self._timer = self._loop.call_later(self._tuner.window_ns / 1e9, self._look)
        self._apply()

    def _tell(self, delay_ns: int) -> None:
        low, high = sorted((delay_ns, self._told_ns))
        now_ns = self._clock_ns()
        if high > _NOTABLE_FACTOR * low and now_ns - self._told_at_ns >= _QUIET_NS:
            self._told_ns, self._told_at_ns = delay_ns, now_ns
            logger.info(
                "model '%s': batches wait up to %.2f ms for more requests, for a latency budget of %.0f ms",
                self._spec.name, delay_ns / 1e6, self._spec.latency_budget_ns / 1e6,
            )  # fmt: skip
