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

from kserve_v2.backend import PostingInstance, has_fresh_outputs
from kserve_v2.scheduling.executing.execution import BatchExecution, Execution
from kserve_v2.scheduling.executing.runners import Perform, Surroundings, ThreadRunner
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.queueing.policy import WaitUntil
from kserve_v2.scheduling.queueing.queue import RequestQueue
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import BatchReason

# What is copied on the event loop for one batch; tensors are counted twice.
_MAX_LIGHT_BYTES = 128 * 1024


class PostRunner(ThreadRunner):
    """Drives an instance on its thread for the batches that the event loop hands to it, instead of pulling its own."""

    def __init__(self, instance: PostingInstance, perform: Perform, thread: Surroundings) -> None:
        super().__init__(perform, instance, thread)
        self.instance = instance
        self.placement = thread.placement
        self.on_idle: Callable[[], None] | None = None
        """Called on the event loop when the thread has done all that it was handed."""
        self._handed: SimpleQueue[Batch | None] = SimpleQueue()
        self._loop = thread.loop
        self._lost: BaseException | None = None

    def hand(self, batches: Iterable[Batch | None]) -> None:
        """Have these executed on the thread, one after the other; None ends it. On the event loop."""
        for batch in batches:
            self._handed.put(batch)
        if self._lost is not None:
            self._fail_handed(self._lost)

    def lost(self, error: BaseException) -> None:
        """There is no thread any more."""
        self._lost = error
        self._fail_handed(error)

    def _fail_handed(self, error: BaseException) -> None:
        with suppress(Empty):
            while True:
                batch = self._handed.get_nowait()
                if batch is not None:
                    self._fail(batch, error)

    def _take(self) -> Batch | None:
        if self.batches and self._handed.empty() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._idle)
        batch = self._handed.get()
        self.batches += batch is not None
        return batch

    def _idle(self) -> None:
        if self.on_idle is not None:
            self.on_idle()


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
        except BaseException as error:  # noqa: BLE001 - even SystemExit in a plug-in is this batch's failure alone
            execution.fail(error)
            self._deliver(self._over(place, execution))
        else:
            place.posted = execution

    def _hand_to_thread(self, place: _Place, batches: Iterable[Batch]) -> None:
        self._stop_listening(place)
        place.runner.hand(batches)

    def _thread_idle(self, place: _Place) -> None:
        # A thread that was interrupted may tell twice.
        if place in self._places and place not in self._free:
            self._listen(place)
            self._free.append(place)
            self._begin_queued()

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
        except BaseException as error:  # noqa: BLE001 - as in `_begin`
            if execution is not None:
                execution.fail(error)
        if place.runner.instance.descriptor != place.listening_to:
            self._stop_listening(place)
        if execution is not None:
            place.posted = None
            finished = self._over(place, execution)
            # First, so that the other process does not wait while answers are written here.
            self._begin_queued()
            self._deliver(finished)

    def _over(self, place: _Place, execution: BatchExecution) -> Sequence[Execution]:
        """An execution has ended. Returns what is to be delivered now; the place is free, unless members of the batch
        are executed again.
        """
        if not execution.to_be_retried:
            self._free.append(place)
            return [execution]
        singles = execution.alone()
        again = [
            Batch(single.members, BatchReason.NOT_BATCHABLE, single.taken_ns)
            for single in singles
            if not single.given_up
        ]
        if again:
            self._hand_to_thread(place, again)
        else:
            self._free.append(place)
        # Nobody waits for these any more: they are only counted.
        return [single for single in singles if single.given_up]


def _is_light(batch: Batch) -> bool:
    """Whether the event loop can hand it over in no time."""
    size = 0
    for pending in batch.members:
        if pending.request.trace is not None:
            return False
        # The one counts the texts of BYTES tensors, the other what lies in clients' shared memory.
        size += pending.held_bytes + sum([array.nbytes for array in pending.request.inputs.values()])
    return size <= _MAX_LIGHT_BYTES
