"""Executing a quick model where its requests were received, instead of on an instance's thread.

Handing a request to a thread and its answer back takes longer than a small model takes to run. An idle model that
has shown to be quick is executed in place, on the event loop's thread, while its instances sleep: a lone request at
once, and requests that come several at a time in batches, at the end of the loop's turn.
"""

from collections import OrderedDict
from collections.abc import Callable
from time import time_ns
from typing import NoReturn

from kserve_v2.backend import MovableInstance, Placement
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.executing.execution import Execution, execute_alone, response
from kserve_v2.scheduling.executing.instance import InstanceThread
from kserve_v2.scheduling.executing.performing import execute_batch
from kserve_v2.scheduling.executing.quickness import MAX_NS, STALL_NS, Quickness
from kserve_v2.scheduling.executing.turn import Turn
from kserve_v2.scheduling.failures import report_failure
from kserve_v2.scheduling.feed import Batch, RequestFeed
from kserve_v2.scheduling.merging.rows import RowMerger
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.policy import WaitUntil, decide
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import BatchReason, FailureReason
from kserve_v2.scheduling.target import Reply, Ticket

# Executing the requests of one turn may take this long; the thread gets the rest.
MAX_TURN_NS = 3_000_000

# To gather requests, to put their tensors together and to take the outputs apart costs more than to execute a tiny
# model for each of them, unless so many are executed at a time. For a model that takes longer than `_TINY_NS`, a few
# executions fewer are enough.
_AT_A_TIME, _AT_A_TIME_LONGER = 3, 1.125
_TINY_NS = 50_000


class InPlace:
    """Decides which way the requests to one model go, and executes those that stay here."""

    def __init__(
        self,
        spec: ModelSpec,
        queue: RequestFeed,
        quickness: Quickness,
        enqueue: Callable[[Pending], None],
        submit_to_instances: Callable[[InferRequest, Reply], Ticket],
    ) -> None:
        """`enqueue` takes a request that was to be executed here after all, and `submit_to_instances` one that is not
        executed here at once.
        """
        self._spec = spec
        self._queue = queue
        self._quickness = quickness
        self._enqueue = enqueue
        self._submit_to_instances = submit_to_instances
        self._max_rows = spec.signature.max_rows
        self._instance: MovableInstance | None = None
        self._fresh = False
        self._placement: Placement = spec.placements[0]
        self._clock_ns = quickness.clock_ns
        self.turn = Turn(self._execute_turn, self._gathering_pays)

    def __repr__(self) -> str:
        return f"<InPlace instance={self._instance!r} {self._quickness!r} {self.turn!r}>"

    def started(self, first: InstanceThread) -> None:
        """The instances are made: from now on it is known whether the first of them is movable.

        Where shapes vary, the time of past requests says nothing about the next. A batch that is to wait for more
        requests is not executed in place, nor what has to wait for resources that others hold.
        """
        spec = self._spec
        if (
            type(spec.merger) is RowMerger
            and spec.sequences is None
            and spec.signature.fixed_shapes
            and not spec.decoupled
            and self._queue.gate is None
            and self._queue.rules.max_delay_ns == 0
            and not spec.latency_budget_ns
        ):
            self._instance, self._fresh = first.movable, first.fresh_outputs

    @property
    def expected(self) -> bool:
        """Whether the next request alone would be executed here, if the instances sleep."""
        return self._instance is not None and self._quickness.quick

    # --- a request alone --------------------------------------------------------------------------------------------

    def submit(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Answer a checked request here and at once, if it is to be; else have the instances answer it. Raises the
        ServingError that is its outcome.

        What has been handed to threads is not overtaken.
        """
        instance, quickness, queue = self._instance, self._quickness, self._queue
        if (
            instance is None
            or request.trace is not None
            or request.rows > self._max_rows
            or quickness.execution_ns >= quickness.limit_ns
            or queue.sleeping != queue.all_sleeping
            or not self.turn.goes_alone()
        ):
            return self._submit_to_instances(request, reply)
        spec, rows = self._spec, request.rows
        taken_ns = self._clock_ns()
        quickness.cpu_time.begins(taken_ns)
        try:
            outputs, times = execute_alone(
                instance, request, spec, self._clock_ns, taken_ns, fresh=self._fresh
            )
        except BaseException as error:  # noqa: BLE001 - even SystemExit in a model is this request's failure alone
            self._fail(error, request, taken_ns)
        end_ns = times[3]
        took_ns = end_ns - taken_ns
        quickness.executed_here(took_ns, end_ns, rows)
        statistics = spec.statistics
        statistics.record_success(rows, 1, taken_ns, times, BatchReason.NO_DELAY, time_ns() // 1_000_000)
        # It has not waited at all: `record_waits` and `record_answers`, without the calls.
        statistics.waited.counts[0] += 1
        if statistics.latencies is not None:
            statistics.latencies.append(took_ns)
        return response(request, outputs, spec, (rows, taken_ns, took_ns))

    def _fail(self, error: BaseException, request: InferRequest, taken_ns: int) -> NoReturn:
        end_ns = self._clock_ns()
        if end_ns - taken_ns > MAX_NS:
            # A failure's time does not predict the next request's, but the loop was blocked for it.
            self._quickness.executed_here(end_ns - taken_ns, end_ns, request.rows)
        self._spec.statistics.record_failure(FailureReason.BACKEND, end_ns - taken_ns)
        raise report_failure(error, request, self._placement)

    # --- requests that come several at a time -----------------------------------------------------------------------

    def take(self, pending: Pending) -> bool:
        """Let a request that is not executed at once wait for the end of the loop's turn. False: it is one for the
        instances' threads.
        """
        turn = self.turn
        if not turn.gathered and not (
            turn.crowded and self._instance is not None and self._quickness.quick and self._queue.idle
        ):
            return False
        turn.gather(pending)
        return True

    def _gathering_pays(self, requests: int, executions: int) -> bool:
        """See `Turn`. Those of one turn are executed by their priorities: where there are some, they always wait."""
        at_a_time = _AT_A_TIME if self._quickness.execution_ns < _TINY_NS else _AT_A_TIME_LONGER
        return self._spec.levels.several or requests >= at_a_time * executions

    def _execute_turn(self, gathered: OrderedDict[Pending, None]) -> None:
        """Execute what was gathered, as long as the instances sleep. Since it was, and with every answer, others may
        have been queued, such as the parts of a large request; and an instance is never executed by two threads.
        """
        spent_ns = 0
        levels = self._spec.levels
        if levels.several:
            for pending in sorted(gathered, key=lambda each: levels.level_of(each.request)):
                gathered.move_to_end(pending)
        while gathered:
            if spent_ns > MAX_TURN_NS or self._quickness.distrusted or not self._queue.idle:
                while gathered:
                    self._enqueue(gathered.popitem(last=False)[0])
                return
            now_ns = self._clock_ns()
            self._quickness.cpu_time.begins(now_ns)
            decision = decide(gathered, self._queue.rules, now_ns)
            assert not isinstance(decision, WaitUntil)  # noqa: S101 - these rules never wait
            members = [gathered.popitem(last=False)[0] for _ in range(decision.requests)]
            spent_ns += self._execute(Batch(members, decision.reason, now_ns))

    def _execute(self, batch: Batch) -> int:
        """Execute a batch and hand over its outcomes; returns how long the former took, in nanoseconds."""
        assert self._instance is not None  # noqa: S101 - as `take` has found
        executions = execute_batch(self._instance, batch, self._spec, self._placement)
        end_ns = self._clock_ns()
        took_ns = end_ns - batch.taken_ns
        self._quickness.executed_here(took_ns, end_ns, sum([each.rows for each in batch.members]))
        self.turn.executed(len(batch.members))
        for execution in executions:
            execution.settle()
        return took_ns

    # --- requests that went to a thread -----------------------------------------------------------------------------

    def observe(self, execution: Execution) -> None:
        """Learn from an execution on an instance's thread that is delivered now."""
        if self._instance is None or execution.rows > self._max_rows:
            return
        now_ns = self._clock_ns()
        end_ns = now_ns if execution.times is None else execution.times.output_end_ns
        took_ns = end_ns - execution.taken_ns
        # Wall time on a thread includes waiting for the interpreter's lock, so CPU time is used if it is known.
        if took_ns < STALL_NS:
            took_ns = execution.cpu_ns or took_ns
        if execution.times is not None or took_ns > MAX_NS:
            self._quickness.executed_there(took_ns, execution.rows)
        if execution.times is not None and execution.members[0].found_idle:
            there_ns = execution.taken_ns - execution.members[0].enqueued_ns
            self._quickness.handed_over(there_ns + now_ns - end_ns)
