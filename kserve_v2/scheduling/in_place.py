"""Executing a quick model where its requests were received, instead of on an instance's thread.

Handing a request to a thread and its answer back takes longer than a small model takes to run. An idle model that
has shown to be quick is executed in place, on the event loop's thread, while its instances sleep: a lone request at
once, and requests that come several at a time in batches, at the end of the loop's turn. What is done for many requests
one after the other, be it reading them, executing them or answering, takes less time for each: the CPU has the code at
hand.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic_ns, time_ns
from typing import NoReturn

from kserve_v2.backend import MovableInstance, Placement
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.batch import (
    BatchRun,
    client_error,
    finish_outputs,
    response,
)
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.policy import WaitUntil, decide
from kserve_v2.scheduling.pool import InstancePool
from kserve_v2.scheduling.queue import Batch
from kserve_v2.scheduling.response_parameters import take_response_parameters
from kserve_v2.scheduling.runners import execute_batch, log_failure
from kserve_v2.signature import ModelSignature
from kserve_v2.statistics import BatchReason, FailureReason

# The event loop does nothing else meanwhile, so however slow threads are on this machine: no longer than this.
MAX_NS = 300_000

# A hand-over is felt by more than the time that it takes: two CPUs have to fetch the code of the other one's work, and
# two threads the interpreter's lock. So models that take up to so many times as long are executed in place.
HAND_OVER_WEIGHT = 4

# One part in so many is what a new measurement weighs. On a busy machine some take a hundred times as long, because the
# thread had to wait for a CPU: a longer one weighs less, and counts for at most twice what was expected.
_SHORTER_WEIGHS, _LONGER_WEIGHS = 4, 16

# For so long may what is waiting at the end of one turn be executed; the thread gets what is left.
MAX_TURN_NS = 3_000_000

# After two requests in one turn of the event loop, this many wait for the end of theirs: there are several clients.
CROWD_REQUESTS = 64

# Of the requests that are executed alone, after one in this many it is found out whether there are others in the same
# turn of the loop: that takes another turn.
LOOK_EVERY = 16

# And one in this many takes the way over the thread, so that hand-overs go on being measured. Rarely: those that come
# meanwhile have to follow it.
PROBE_EVERY = 4096


class InPlace:
    """Knows how long requests to one model take, and decides which way they go."""

    def __init__(
        self,
        pool: InstancePool,
        signature: ModelSignature,
        version: str,
        settle: Callable[[Placement, list[BatchRun]], None],
    ) -> None:
        """`settle` gives the members of finished runs their outcomes."""
        self._pool = pool
        self._statistics = pool.statistics
        self._signature = signature
        self._version = version
        self._settle = settle
        # Where shapes vary, the time of past requests says nothing about the next. A batch that is to wait for more
        # requests is not executed in place.
        self._possible = signature.fixed_shapes and pool.queue.rules.max_delay_ns == 0
        self._instance: MovableInstance | None = None
        # Of a request or a batch; and of the way to a thread that sleeps, and back.
        self._execution_ns = float(MAX_NS)
        self._hand_over_ns = 0.0
        # What takes longer goes to a thread.
        self._limit_ns = 0.0
        self._decisions = 0
        self._loop = asyncio.get_running_loop()
        self._waiting: OrderedDict[Pending, None] = OrderedDict()
        self._alone_this_turn = True
        self._crowd = 0

    def __repr__(self) -> str:
        return (
            f"<InPlace instance={self._instance!r} execution_ns={self._execution_ns:.0f} "
            f"hand_over_ns={self._hand_over_ns:.0f} crowd={self._crowd}>"
        )

    def started(self) -> None:
        """The pool has started: from now on its first instance can be asked whether it is movable."""
        instance = self._pool.first.instance
        if self._possible and isinstance(instance, MovableInstance):
            self._instance = instance

    # --- which way a request goes ---------------------------------------------------------------------------------

    def _possible_now(self) -> bool:
        """Whether to execute in place, going by what was measured. What has been handed to threads is not overtaken."""
        return self._execution_ns < self._limit_ns and self._pool.idle

    def _goes_alone(self) -> bool:
        """Whether to execute a request at once: if those before it came alone, as far as we have looked."""
        # `_possible_now`, spelled out: it is asked for each request.
        pool = self._pool
        if self._execution_ns >= self._limit_ns or pool.queue.sleeping != pool.instances:
            return False
        if self._waiting or self._crowd:
            return False
        if not self._alone_this_turn:
            self._crowd = CROWD_REQUESTS
            return False
        self._decisions += 1
        if self._decisions % LOOK_EVERY == 0:
            if self._decisions % PROBE_EVERY == 0:
                return False
            self._begin_turn()
        return True

    def take(self, pending: Pending) -> bool:
        """Let a request that is not executed at once wait for the end of the loop's turn. False: it is one for the
        instances' threads.
        """
        if not self._waiting:
            if not self._crowd or self._instance is None or not self._possible_now():
                return False
            self._begin_turn()
        self._crowd = max(self._crowd - 1, 0)
        self._waiting[pending] = None
        self._pool.count(pending)
        return True

    def _begin_turn(self) -> None:
        if self._alone_this_turn:
            self._alone_this_turn = False
            self._loop.call_soon(self._end_turn)

    # --- a request alone --------------------------------------------------------------------------------------------

    def infer(self, request: InferRequest) -> InferResponse | None:
        """See `Scheduler.infer_now`."""
        instance, signature, rows = self._instance, self._signature, request.rows
        if instance is None or request.trace is not None or not self._goes_alone():
            return None
        inputs = request.inputs
        taken_ns = input_end_ns = monotonic_ns()
        try:
            if signature.reshapes_inputs:
                inputs = signature.reshape_inputs(inputs)
                input_end_ns = monotonic_ns()
            outputs = instance.execute(inputs, (request,))
            infer_end_ns = monotonic_ns()
            outputs = finish_outputs(outputs, signature, rows)
            if request.response_parameters:
                take_response_parameters(request, signature.model_name)
        except BaseException as error:  # noqa: BLE001 - as in SyncRunner
            self._fail(error, request, taken_ns)
        end_ns = monotonic_ns()
        took_ns = end_ns - taken_ns
        self._execution_ns = _smoothed(self._execution_ns, took_ns)
        times = (taken_ns, input_end_ns, infer_end_ns, end_ns)
        self._statistics.record_success(
            rows, 1, taken_ns, times, BatchReason.NO_DELAY, time_ns() // 1_000_000
        )
        return response(request, outputs, signature, self._version, (rows, taken_ns, took_ns))

    def _fail(self, error: BaseException, request: InferRequest, taken_ns: int) -> NoReturn:
        placement = self._pool.first.placement
        log_failure(error, request.id, placement)
        self._statistics.record_failure(FailureReason.BACKEND, monotonic_ns() - taken_ns)
        raise client_error(error, placement.name)

    # --- requests that come several at a time -----------------------------------------------------------------------

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
        if len(waiting) > 1:
            self._crowd = CROWD_REQUESTS
        spent_ns = 0
        while waiting:
            if spent_ns > MAX_TURN_NS:
                for pending in waiting:
                    self._pool.enqueue(pending)
                return
            now_ns = monotonic_ns()
            decision = decide(waiting, self._pool.queue.rules, now_ns)
            assert not isinstance(decision, WaitUntil)  # noqa: S101 - these rules never wait
            members = [waiting.popitem(last=False)[0] for _ in range(decision.requests)]
            spent_ns += self._execute(Batch(members, decision.reason, now_ns))

    def _execute(self, batch: Batch) -> int:
        """Execute a batch and hand over its outcomes; returns how long the former took, in nanoseconds."""
        assert self._instance is not None  # noqa: S101 - as `take` has found
        placement = self._pool.first.placement
        runs = execute_batch(self._instance, batch, self._signature, placement)
        took_ns = monotonic_ns() - batch.taken_ns
        self._execution_ns = _smoothed(self._execution_ns, took_ns)
        self._settle(placement, runs)
        return took_ns

    # --- requests that went to a thread -----------------------------------------------------------------------------

    def observe(self, run: BatchRun) -> None:
        """Learn from an execution on an instance's thread that is delivered now."""
        if self._instance is None or run.times is None:
            return
        # On a thread, time passes while others have the interpreter's lock.
        self._execution_ns = _smoothed(
            self._execution_ns, run.cpu_ns or run.times.output_end_ns - run.taken_ns
        )
        if run.members[0].found_idle:
            there_ns = run.taken_ns - run.members[0].enqueued_ns
            back_ns = monotonic_ns() - run.times.output_end_ns
            self._hand_over_ns = _smoothed(self._hand_over_ns or MAX_NS, there_ns + back_ns)
            self._limit_ns = min(HAND_OVER_WEIGHT * self._hand_over_ns, MAX_NS)


def _smoothed(expected_ns: float, measured_ns: int) -> float:
    """What to expect after one more measurement."""
    if measured_ns < expected_ns:
        return expected_ns + (measured_ns - expected_ns) / _SHORTER_WEIGHS
    return expected_ns + (min(measured_ns, 2 * expected_ns) - expected_ns) / _LONGER_WEIGHS
