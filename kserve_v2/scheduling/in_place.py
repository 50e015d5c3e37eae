"""Executing a quick model where its request was received, instead of on an instance's thread.

Handing a request to a thread and its answer back takes longer than a small model takes to run. An idle model that
has shown to be quicker than that is executed in place, on the event loop's thread, while its instances sleep. That
is for lone requests: several at a time are better off as one batch on the thread.
"""

import asyncio
import time

from kserve_v2.backend import MovableInstance
from kserve_v2.scheduling.batch import BatchRun
from kserve_v2.scheduling.policy import BatchRules
from kserve_v2.scheduling.pool import InstancePool
from kserve_v2.scheduling.runners import execute
from kserve_v2.signature import ModelSignature

# The event loop does nothing else meanwhile, so however slow threads are on this machine: no longer than this.
MAX_NS = 200_000

# A new measurement weighs one part in this many, and counts for at most twice what was expected: on a busy machine some
# take a hundred times as long, because the thread had to wait for a CPU.
_SMOOTHING = 8

# What a hand-over is taken to cost before any was measured. Less than they do, so that threads are tried first.
_FIRST_HAND_OVER_NS = 10_000.0

# After two requests in one turn of the event loop, this many go over the thread: there are several clients.
_CROWD_REQUESTS = 64

# Of the requests that could be executed in place, one in this many takes the way over the thread, so that both
# ways go on being measured.
_PROBE_EVERY = 256


class InPlace:
    """Knows how long one model's executions and hand-overs take, and decides which way a request goes."""

    def __init__(self, pool: InstancePool, signature: ModelSignature, rules: BatchRules) -> None:
        """`rules`: a batch that is to wait for more requests is not executed in place."""
        self._pool = pool
        # Where shapes vary, the time of past requests says nothing about the next.
        self._possible = signature.fixed_shapes and rules.max_delay_ns == 0
        self._instance: MovableInstance | None = None
        self._execution_ns = float(MAX_NS)
        self._hand_over_ns = _FIRST_HAND_OVER_NS
        self._requests = 0
        self._loop = asyncio.get_running_loop()
        self._alone_this_turn = True
        self._crowd = 0

    def __repr__(self) -> str:
        return (
            f"<InPlace instance={self._instance!r} execution_ns={self._execution_ns:.0f} "
            f"hand_over_ns={self._hand_over_ns:.0f}>"
        )

    def started(self) -> None:
        """The pool has started: from now on its first instance can be asked whether it is movable."""
        instance = self._pool.first.instance
        if self._possible and isinstance(instance, MovableInstance):
            self._instance = instance

    def ready(self) -> bool:
        """Whether to execute a request in place now. If so, nothing is waiting that it would overtake."""
        if self._instance is None or self._crowded() or not self._pool.idle:
            return False
        self._requests += 1
        return self._execution_ns < min(self._hand_over_ns, MAX_NS) and self._requests % _PROBE_EVERY != 0

    def _crowded(self) -> bool:
        """Whether requests have come several at a time lately."""
        if self._alone_this_turn:
            self._alone_this_turn = False
            self._loop.call_soon(self._end_turn)
        else:
            self._crowd = _CROWD_REQUESTS
        if self._crowd:
            self._crowd -= 1
            return True
        return False

    def _end_turn(self) -> None:
        self._alone_this_turn = True

    def execute(self, run: BatchRun) -> None:
        """Execute a batch; `ready` has just been true."""
        assert self._instance is not None  # noqa: S101 - as `ready` has found
        execute(self._instance, run, self._pool.first.placement)
        self._observe_execution(run)

    def observe_hand_over(self, run: BatchRun) -> None:
        """Learn from an execution on an instance's thread that is delivered now."""
        if self._instance is None or run.times is None:
            return
        self._observe_execution(run)
        if run.members[0].found_idle:
            there_ns = run.taken_ns - run.members[0].enqueued_ns
            back_ns = time.monotonic_ns() - run.times.output_end_ns
            self._hand_over_ns = _smoothed(self._hand_over_ns, there_ns + back_ns)

    def _observe_execution(self, run: BatchRun) -> None:
        if run.times is not None:
            self._execution_ns = _smoothed(self._execution_ns, run.times.output_end_ns - run.taken_ns)


def _smoothed(expected_ns: float, measured_ns: int) -> float:
    """What to expect after one more measurement."""
    return expected_ns + (min(measured_ns, 2 * expected_ns) - expected_ns) / _SMOOTHING
