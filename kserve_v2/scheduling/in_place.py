"""Executing a quick model where its requests were received, instead of on an instance's thread.

Handing a request to a thread and its answer back takes longer than a small model takes to run. An idle model that
has shown to be quicker than that is executed in place, on the event loop's thread, while its instances sleep: a lone
request at once, and requests that come several at a time in batches, at the end of the loop's turn.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from kserve_v2.backend import MovableInstance, Placement
from kserve_v2.scheduling.batch import BatchRun, aligned, finish_outputs
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.policy import BatchRules, WaitUntil, decide
from kserve_v2.scheduling.pool import InstancePool
from kserve_v2.scheduling.queue import Batch
from kserve_v2.scheduling.runners import execute_batch, log_failure
from kserve_v2.signature import ModelSignature
from kserve_v2.statistics import BatchReason, ExecutionTimes

# The event loop does nothing else meanwhile, so however slow threads are on this machine: no longer than this.
MAX_NS = 200_000

# A new measurement weighs one part in this many, and counts for at most twice what was expected: on a busy machine some
# take a hundred times as long, because the thread had to wait for a CPU.
_SMOOTHING = 8

# What a hand-over is taken to cost before any was measured. Less than they do, so that threads are tried first.
_FIRST_HAND_OVER_NS = 10_000.0

# For so long one turn of the event loop may go on with batches; the thread gets what is left.
MAX_TURN_NS = 1_000_000

# After two requests in one turn of the event loop, this many wait for the end of theirs: there are several clients.
_CROWD_REQUESTS = 64

# Of the requests that could be executed in place, one in this many takes the way over the thread, so that both
# ways go on being measured.
_PROBE_EVERY = 256


class InPlace:
    """Knows how long one model's executions and hand-overs take, and decides which way a request goes."""

    def __init__(
        self,
        pool: InstancePool,
        signature: ModelSignature,
        rules: BatchRules,
        settle: Callable[[Placement, list[BatchRun]], None],
        answer: Callable[[Pending, Outputs, ExecutionTimes], None],
    ) -> None:
        """`rules`: a batch that is to wait for more requests is not executed in place. `settle` gives the members of
        finished runs their outcomes, `answer` gives a lone request its outputs.
        """
        self._pool = pool
        self._signature = signature
        self._rules = rules
        self._settle = settle
        self._answer = answer
        # Where shapes vary, the time of past requests says nothing about the next.
        self._possible = signature.fixed_shapes and rules.max_delay_ns == 0
        self._instance: MovableInstance | None = None
        self._execution_ns = float(MAX_NS)
        self._hand_over_ns = _FIRST_HAND_OVER_NS
        self._decisions = 0
        self._loop = asyncio.get_running_loop()
        self._waiting: OrderedDict[Pending, None] = OrderedDict()
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

    def take(self, pending: Pending) -> bool:
        """Execute a request now or at the end of the loop's turn. False: it is one for the instances' threads.

        What it is asked for first in a turn decides on all requests of the turn, so none overtakes another.
        """
        if self._waiting:
            self._wait(pending)
            return True
        if self._instance is None or not self._pool.idle:
            return False
        if self._alone_this_turn:
            self._alone_this_turn = False
            self._loop.call_soon(self._end_turn)
        else:
            self._crowd = _CROWD_REQUESTS
        if not self._is_quicker():
            return False
        if self._crowd:
            self._crowd -= 1
            self._wait(pending)
        else:
            self._execute_lone(pending)
        return True

    def _is_quicker(self) -> bool:
        """Whether to execute in place, going by what was measured; now and then the other way, to go on measuring."""
        self._decisions += 1
        limit_ns = min(self._hand_over_ns, MAX_NS)
        return self._execution_ns < limit_ns and self._decisions % _PROBE_EVERY != 0

    def _wait(self, pending: Pending) -> None:
        self._waiting[pending] = None
        self._pool.count(pending)

    def discard(self, pending: Pending) -> bool:
        """Give a request up that waits for the end of the turn. False: it does not."""
        if pending not in self._waiting:
            return False
        del self._waiting[pending]
        return True

    def _end_turn(self) -> None:
        self._alone_this_turn = True
        if not self._waiting:
            return
        # Requests that come meanwhile, if an outcome makes for one, are the next turn's.
        waiting, self._waiting = self._waiting, OrderedDict()
        end_ns = time.monotonic_ns() + MAX_TURN_NS
        while waiting:
            now_ns = time.monotonic_ns()
            if now_ns > end_ns:
                for pending in waiting:
                    self._pool.enqueue(pending)
                return
            decision = decide(waiting, self._rules, now_ns)
            assert not isinstance(decision, WaitUntil)  # noqa: S101 - these rules never wait
            members = [waiting.popitem(last=False)[0] for _ in range(decision.requests)]
            self._execute(Batch(members, decision.reason, now_ns))

    def _execute_lone(self, pending: Pending) -> None:
        """The same as `_execute` for a batch of one request, in fewer steps if all is well."""
        instance, signature, request = self._instance, self._signature, pending.request
        taken_ns = pending.enqueued_ns
        if request.trace is not None or signature.reshapes_inputs or instance is None:
            self._execute(Batch([pending], BatchReason.NO_DELAY, taken_ns))
            return
        inputs = aligned(request.inputs)
        input_end_ns = time.monotonic_ns()
        try:
            outputs = instance.execute(inputs, (request,))
            infer_end_ns = time.monotonic_ns()
            outputs = finish_outputs(outputs, signature, pending.rows)
        except BaseException as error:  # noqa: BLE001 - as in SyncRunner
            run = BatchRun(Batch([pending], BatchReason.NO_DELAY, taken_ns), signature)
            run.fail(error)
            log_failure(error, request.id, self._pool.first.placement)
            self._settle(self._pool.first.placement, [run])
            return
        end_ns = time.monotonic_ns()
        self._execution_ns = _smoothed(self._execution_ns, end_ns - taken_ns)
        self._answer(pending, outputs, ExecutionTimes(taken_ns, input_end_ns, infer_end_ns, end_ns))

    def _execute(self, batch: Batch) -> None:
        assert self._instance is not None  # noqa: S101 - as `take` has found
        placement = self._pool.first.placement
        runs = execute_batch(self._instance, batch, self._signature, placement)
        self._observe_execution(runs[0])
        self._settle(placement, runs)

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
