"""Executions that another process does: handed over, and taken back, on the event loop.

An instance's thread would only wait for the other process, and each request would have to wait for the thread as well,
twice. What should not be done on the event loop goes to the thread after all: large tensors, which are copied,
requests that are traced, members of a batch that has failed, and all that comes while there is no other process.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import NamedTuple

from kserve_v2.backend import ExecutionLostError, PostingInstance, has_fresh_outputs
from kserve_v2.scheduling.executing.execution import BatchExecution, Execution
from kserve_v2.scheduling.executing.runners import Perform, Surroundings, ThreadRunner
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.queueing.policy import WaitUntil
from kserve_v2.scheduling.queueing.queue import RequestQueue
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import BatchReason

# What is copied on the event loop for one batch; tensors are counted twice.
_MAX_LIGHT_BYTES = 128 * 1024


class _Lost(NamedTuple):
    """The other process has not answered what was posted, and is gone."""

    execution: BatchExecution


class _Revive(NamedTuple):
    """The instance cannot execute anything until it is back."""


_Job = Batch | _Lost | _Revive | None
"""What a thread is handed. None: it is to end."""


class PostRunner(ThreadRunner):
    """Drives an instance on its thread for what the event loop hands to it, instead of pulling batches of its own."""

    def __init__(self, instance: PostingInstance, perform: Perform, thread: Surroundings) -> None:
        super().__init__(perform, instance, thread)
        self.instance = instance
        self.placement = thread.placement
        self.on_idle: Callable[[int], None] | None = None
        """Called on the event loop when the thread has done all that it was handed, with the `turn` of the last job."""
        self.turn = 0
        """Of the last job; another one when the thread has been idle. Changed on the event loop alone."""
        self._seen = 0
        self._handed: SimpleQueue[tuple[int, _Job]] = SimpleQueue()
        self._busy = False
        self._concluding: BatchExecution | None = None
        self._no_thread: BaseException | None = None

    @property
    def revives(self) -> bool:
        """Whether the instance is lost now, and will be back."""
        return self._revived is not None and self._revived.lost

    def hand(self, jobs: Iterable[_Job]) -> None:
        """Have these done on the thread, one after the other. On the event loop."""
        for job in jobs:
            self.turn += 1
            self._handed.put((self.turn, job))
        if self._no_thread is not None:
            self._fail_handed(self._no_thread)

    def _take(self) -> Batch | None:
        while True:
            if self._busy and self._handed.empty():
                self._be_idle()
            self._seen, job = self._handed.get()
            self._busy = True
            if isinstance(job, _Lost):
                self._conclude(job.execution)
            elif not isinstance(job, _Revive):
                self.batches += job is not None
                return job

    def _be_idle(self) -> None:
        if self._revived is not None and self._revived.lost:
            self._revived.await_revival()
        loop = self._thread.loop
        if self.on_idle is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self.on_idle, self._seen)
        # Interrupted here, it tells twice.
        self._busy = False

    def _conclude(self, execution: BatchExecution) -> None:
        """Fail what was lost, or have each of its members executed again."""
        self._concluding = execution
        try:
            self.instance.conclude()
        except BaseException as error:  # noqa: BLE001 - whatever a plug-in raises
            execution.fail(error)
        self._concluding = None
        again, over = retried(execution)
        for batch in again:
            self._handed.put((self._seen, batch))
        self._thread.deliver(over)

    def give_back(self, error: BaseException) -> None:
        """Fail what was being done."""
        super().give_back(error)
        execution, self._concluding = self._concluding, None
        if execution is not None:
            self._fail_lost(execution, error)

    def lost(self, error: BaseException) -> None:
        """There is no thread any more."""
        self._no_thread = error
        self._fail_handed(error)

    def _fail_handed(self, error: BaseException) -> None:
        with suppress(Empty):
            while True:
                _, job = self._handed.get_nowait()
                if isinstance(job, _Lost):
                    self._fail_lost(job.execution, error)
                elif isinstance(job, Batch):
                    self._fail(job, error)

    def _fail_lost(self, execution: BatchExecution, error: BaseException) -> None:
        self._fail(Batch(execution.members, execution.reason, execution.taken_ns), error)


class _Place:
    """One instance, as the event loop sees it."""

    __slots__ = ("listening_to", "posted", "runner")

    def __init__(self, runner: PostRunner) -> None:
        self.runner = runner
        self.posted: BatchExecution | None = None
        self.listening_to: int | None = None


class Poster:
    """Gives the batches of one model to its instances. Lives on the event loop."""

    def __init__(
        self,
        spec: ModelSpec,
        queue: RequestQueue,
        runners: Sequence[PostRunner],
        deliver: Callable[[Sequence[Execution]], None],
    ) -> None:
        """`deliver` settles finished executions."""
        self._spec = spec
        self._queue = queue
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._places = [_Place(runner) for runner in runners]
        # The one that was free last is asked next: its process is warm.
        self._free = list(reversed(self._places))
        self._beginning = False
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        for place in self._places:
            place.runner.on_idle = partial(self._thread_idle, place)
            self._listen(place)

    def __repr__(self) -> str:
        return f"<Poster free={len(self._free)} of {len(self._places)}>"

    def queued(self) -> None:
        """A request was queued: it is begun at the end of this turn of the loop, with those that come until then."""
        if self._free and not self._beginning:
            self._beginning = True
            self._loop.call_soon(self._begin_queued)

    def close(self) -> None:
        """The queue is closed: end the instances' threads when nothing is left in it."""
        self._closing = True
        self._begin_queued()

    # --- beginning --------------------------------------------------------------------------------------------------

    def _begin_queued(self) -> None:
        self._beginning = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._free:
            taken = self._queue.take_now()
            if isinstance(taken, Batch):
                self._begin(self._free.pop(), taken)
                continue
            if taken is not None:
                self._wait(taken)
            break
        if self._closing and len(self._free) == len(self._places) and not self._queue:
            self._end()

    def _wait(self, growth: WaitUntil) -> None:
        # With each request that is queued it is looked at again.
        delay_ns = growth.at_ns - time.monotonic_ns()
        self._timer = self._loop.call_later(max(delay_ns, 0) / 1e9, self._begin_queued)

    def _end(self) -> None:
        places, self._places, self._free = self._places, [], []
        for place in places:
            self._stop_listening(place)
            place.runner.hand([None])

    def _begin(self, place: _Place, batch: Batch) -> None:
        if place.listening_to is None or not _is_light(batch):
            self._hand_to_thread(place, [batch])
            return
        execution = BatchExecution(batch, self._spec, place.runner.placement)
        try:
            place.runner.instance.post(execution.inputs(), execution.requests)
        except ExecutionLostError:
            self._hand_to_thread(place, [batch])
        except BaseException as error:  # noqa: BLE001 - even SystemExit in a plug-in is this batch's failure alone
            execution.fail(error)
            self._deliver(self._over(place, execution))
        else:
            place.posted = execution

    def _hand_to_thread(self, place: _Place, jobs: Iterable[_Job]) -> None:
        self._stop_listening(place)
        place.runner.hand(jobs)

    def _thread_idle(self, place: _Place, turn: int) -> None:
        # A thread that was interrupted may tell twice: by then the place may have something else to do.
        if place in self._places and turn == place.runner.turn:
            place.runner.turn += 1
            self._listen(place)
            self._release(place)
            self._begin_queued()

    def _release(self, place: _Place) -> None:
        """It has nothing to do. If it cannot execute now, others get what comes until it can."""
        if place.runner.revives and not self._closing:
            self._hand_to_thread(place, [_Revive()])
        else:
            self._free.append(place)

    # --- taking back ------------------------------------------------------------------------------------------------

    def _listen(self, place: _Place) -> None:
        descriptor = place.runner.instance.descriptor
        if descriptor is not None:
            place.listening_to = descriptor
            self._loop.add_reader(descriptor, self._readable, place)

    def _stop_listening(self, place: _Place) -> None:
        descriptor, place.listening_to = place.listening_to, None
        if descriptor is not None:
            self._loop.remove_reader(descriptor)

    def _readable(self, place: _Place) -> None:
        """There is an answer, or the other process is gone."""
        execution, instance = place.posted, place.runner.instance
        try:
            outputs = instance.collect()
            if outputs is None:
                return
            if execution is not None:
                execution.finish(outputs, fresh=has_fresh_outputs(instance))
        except ExecutionLostError:
            self._lost(place)
            return
        except BaseException as error:  # noqa: BLE001 - as in `_begin`
            if execution is not None:
                execution.fail(error)
        if execution is not None:
            place.posted = None
            finished = self._over(place, execution)
            # First, so that the other process does not wait while answers are written here.
            self._begin_queued()
            self._deliver(finished)

    def _lost(self, place: _Place) -> None:
        """The other process is gone."""
        execution, place.posted = place.posted, None
        if execution is not None:
            self._hand_to_thread(place, [_Lost(execution)])
            return
        self._free.remove(place)
        self._hand_to_thread(place, [_Revive()])

    def _over(self, place: _Place, execution: BatchExecution) -> Sequence[Execution]:
        """An execution has ended. Returns what is to be delivered now; the place is free, unless members of the batch
        are executed again.
        """
        again, over = retried(execution)
        if again:
            self._hand_to_thread(place, again)
        else:
            self._release(place)
        return over


def retried(execution: BatchExecution) -> tuple[list[Batch], Sequence[Execution]]:
    """What follows from an execution that has ended: batches of single members to be executed, and what is over."""
    if not execution.to_be_retried:
        return [], [execution]
    singles = execution.alone()
    again = [
        Batch(single.members, BatchReason.NOT_BATCHABLE, single.taken_ns)
        for single in singles
        if not single.given_up
    ]
    # Nobody waits for these any more: they are only counted.
    return again, [single for single in singles if single.given_up]


def _is_light(batch: Batch) -> bool:
    """Whether the event loop can hand it over in no time."""
    size = 0
    for pending in batch.members:
        if pending.request.trace is not None:
            return False
        # The one counts the texts of BYTES tensors, the other what lies in clients' shared memory.
        size += pending.held_bytes + sum([array.nbytes for array in pending.request.inputs.values()])
    return size <= _MAX_LIGHT_BYTES
