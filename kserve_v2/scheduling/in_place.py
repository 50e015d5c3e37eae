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
from time import time_ns
from typing import NoReturn

from kserve_v2.backend import MovableInstance
from kserve_v2.memory.own import copy_shared
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.batch import BatchRun, response
from kserve_v2.scheduling.failures import report_failure
from kserve_v2.scheduling.outputs import finish_outputs
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.policy import WaitUntil, decide
from kserve_v2.scheduling.pool import InstancePool
from kserve_v2.scheduling.queue import Batch
from kserve_v2.scheduling.quickness import MAX_NS, STALL_NS, Quickness
from kserve_v2.scheduling.response_parameters import take_response_parameters
from kserve_v2.scheduling.runners import execute_batch
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.statistics import BatchReason, FailureReason

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
    """Decides which way the requests to one model go, and executes those that stay here."""

    def __init__(
        self,
        pool: InstancePool,
        signature: ModelSignature,
        version: str,
        settle: Callable[[list[BatchRun]], None],
        quickness: Quickness,
    ) -> None:
        """`settle` gives the members of finished runs their outcomes."""
        self._pool = pool
        self._statistics = pool.statistics
        self._signature = signature
        self._max_rows = signature.max_rows
        self._version = version
        self._settle = settle
        # Where shapes vary, the time of past requests says nothing about the next. A batch that is to wait for more
        # requests is not executed in place.
        self._possible = signature.fixed_shapes and pool.queue.rules.max_delay_ns == 0
        self._instance: MovableInstance | None = None
        self._fresh = False
        self._quickness = quickness
        self._clock_ns = quickness.clock_ns
        self._decisions = 0
        self._loop = asyncio.get_running_loop()
        self._waiting: OrderedDict[Pending, None] = OrderedDict()
        self._alone_this_turn = True
        self._crowd = 0

    def __repr__(self) -> str:
        return f"<InPlace instance={self._instance!r} {self._quickness!r} crowd={self._crowd}>"

    def started(self) -> None:
        """The pool has started: from now on it is known whether its first instance is movable."""
        if self._possible:
            first = self._pool.first
            self._instance, self._fresh = first.movable, first.fresh_outputs

    # --- which way a request goes ---------------------------------------------------------------------------------

    def _possible_now(self) -> bool:
        """Whether to execute in place. What has been handed to threads is not overtaken."""
        return self._quickness.quick and self._pool.idle

    def _goes_alone(self) -> bool:
        """Whether to execute a request at once: if those before it came alone, as far as we have looked."""
        # `_possible_now`, spelled out: it is asked for each request.
        pool, quickness = self._pool, self._quickness
        if quickness.execution_ns >= quickness.limit_ns or pool.queue.sleeping != pool.all_sleeping:
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
        if instance is None or request.trace is not None or rows > self._max_rows or not self._goes_alone():
            return None
        inputs, clock_ns = request.inputs, self._clock_ns
        taken_ns = input_end_ns = clock_ns()
        try:
            if signature.reshapes_inputs:
                inputs = signature.reshape_inputs(inputs)
                input_end_ns = clock_ns()
            outputs = instance.execute(inputs, (request,))
            infer_end_ns = clock_ns()
            outputs = finish_outputs(outputs, signature, rows)
            if not self._fresh:
                copy_shared(outputs)
            if request.response_parameters:
                take_response_parameters(request, signature.model_name)
        except BaseException as error:  # noqa: BLE001 - as in SyncRunner
            self._fail(error, request, taken_ns)
        end_ns = clock_ns()
        took_ns = end_ns - taken_ns
        self._quickness.executed_here(took_ns, end_ns, rows)
        times = (taken_ns, input_end_ns, infer_end_ns, end_ns)
        self._statistics.record_success(
            rows, 1, taken_ns, times, BatchReason.NO_DELAY, time_ns() // 1_000_000
        )
        return response(request, outputs, signature, self._version, (rows, taken_ns, took_ns))

    def _fail(self, error: BaseException, request: InferRequest, taken_ns: int) -> NoReturn:
        end_ns = self._clock_ns()
        if end_ns - taken_ns > MAX_NS:
            # The time of a failure says nothing of the next request, but the loop has waited for it.
            self._quickness.executed_here(end_ns - taken_ns, end_ns, request.rows)
        placement = self._pool.first.placement
        self._statistics.record_failure(FailureReason.BACKEND, end_ns - taken_ns)
        raise report_failure(error, request.id, placement)

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
            if spent_ns > MAX_TURN_NS or self._quickness.distrusted:
                for pending in waiting:
                    self._pool.enqueue(pending)
                return
            now_ns = self._clock_ns()
            decision = decide(waiting, self._pool.queue.rules, now_ns)
            assert not isinstance(decision, WaitUntil)  # noqa: S101 - these rules never wait
            members = [waiting.popitem(last=False)[0] for _ in range(decision.requests)]
            spent_ns += self._execute(Batch(members, decision.reason, now_ns))

    def _execute(self, batch: Batch) -> int:
        """Execute a batch and hand over its outcomes; returns how long the former took, in nanoseconds."""
        assert self._instance is not None  # noqa: S101 - as `take` has found
        placement = self._pool.first.placement
        runs = execute_batch(self._instance, batch, self._signature, placement)
        end_ns = self._clock_ns()
        took_ns = end_ns - batch.taken_ns
        self._quickness.executed_here(took_ns, end_ns, sum([each.rows for each in batch.members]))
        self._settle(runs)
        return took_ns

    # --- requests that went to a thread -----------------------------------------------------------------------------

    def observe(self, run: BatchRun) -> None:
        """Learn from an execution on an instance's thread that is delivered now."""
        if self._instance is None:
            return
        now_ns = self._clock_ns()
        end_ns = now_ns if run.times is None else run.times.output_end_ns
        took_ns = end_ns - run.taken_ns
        # On a thread, time passes while others have the interpreter's lock.
        if took_ns < STALL_NS:
            took_ns = run.cpu_ns or took_ns
        if run.times is not None or took_ns > MAX_NS:
            self._quickness.executed_there(took_ns, run.rows)
        if run.times is not None and run.members[0].found_idle:
            there_ns = run.taken_ns - run.members[0].enqueued_ns
            self._quickness.handed_over(there_ns + now_ns - end_ns)
