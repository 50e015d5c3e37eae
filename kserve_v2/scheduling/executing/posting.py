"""Executions that another process does: handed over, and taken back, on the event loop.

An instance's thread would only wait for the other process, and each request would have to wait for the thread as well,
twice. What should not be done on the event loop goes to the thread after all: large tensors, which are copied,
requests that are traced, members of a batch that has failed, and all that comes while there is no other process.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kserve_v2.backend import ExecutionLostError, has_fresh_outputs
from kserve_v2.scheduling.executing.execution import BatchExecution, Execution
from kserve_v2.scheduling.executing.post_runner import Job, Lost, PostRunner, Revive, retried
from kserve_v2.scheduling.executing.quickness import STALL_NS, smoothed
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.pending import Pending
from kserve_v2.scheduling.queueing.policy import WaitUntil
from kserve_v2.scheduling.queueing.queue import RequestQueue
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.statistics import BatchReason

# What is copied on the event loop for one batch; tensors are counted twice. The loop copies as much to read a request
# of that size, and a thread that does it in its place costs more than the copy.
_MAX_LIGHT_BYTES = 4 * 1024 * 1024
# Each element of a BYTES tensor is copied by itself.
_TEXT = np.dtype(object)
_TEXT_BYTES = 256

# How many executions may be posted to one instance at a time, if each is expected to take less than this.
MOST_POSTED = 8
_AHEAD_NS = 1_000_000

# The next one alone, while all that there are have others behind them, if each takes less than this: so a process that
# has answered need not wait until it is told what is next.
_NEXT_NS = 3_000_000

# The same for those that are so short that the event loop's own work for their requests keeps about as much of a CPU
# busy. To spread them over as many processes as there are CPUs is slower: one of those takes turns with the event loop
# on one CPU, and while it has its turn nobody hands over or takes back anything.
MOST_SHORT_POSTED = 16
_SHORT_NS = 200_000

# If there is no answer for so long, others execute what comes.
_LATE_NS = 4_000_000

# What is posted behind an execution that stalls (see `STALL_NS`) waits for it, whoever is free. So nothing is posted
# ahead any more until so many executions have not stalled, and twice as many each time that one has, up to a limit.
# That is forgiven after so many times as many.
_AGAIN = 1000
_MOST_AGAIN = 2**16
_FORGIVEN = 16


class _Place:
    """One instance, as the event loop sees it."""

    __slots__ = (
        "again",
        "alone_ns",
        "crowd",
        "distrust",
        "doubts",
        "instance",
        "listening_to",
        "posted",
        "runner",
        "since_ns",
        "took_ns",
        "unflushed",
    )

    def __init__(self, runner: PostRunner) -> None:
        self.runner = runner
        self.instance = runner.instance
        # In the order in which they will be answered: the first one is being executed.
        self.posted: deque[BatchExecution] = deque()
        # What is to be executed on the thread, as soon as nothing is posted.
        self.again: list[Batch] = []
        self.listening_to: int | None = None
        # How many of them are not on their way yet.
        self.unflushed = 0
        # When the first one was begun, and what to expect, if that is known.
        self.since_ns = 0
        self.took_ns: float | None = None
        # The same, with a CPU to itself.
        self.alone_ns = float(_AHEAD_NS)
        # How many executions must not stall until it is trusted, less than 0 if it is, and from the next stall on.
        self.doubts = 0
        self.distrust = _AGAIN
        # How many were busy at a time, this one among them, since it was measured last.
        self.crowd = 1

    def takes_more(self, *, crowded: bool) -> bool:
        """Whether an execution may be posted behind those that are. `crowded`: more wait than there are instances."""
        return 0 < len(self.posted) < self._most_posted(crowded=crowded) and not self.again

    def _most_posted(self, *, crowded: bool) -> int:
        if self.took_ns is None or self.doubts > 0:
            return 1
        if self.took_ns < _AHEAD_NS:
            return MOST_SHORT_POSTED if self.is_short else MOST_POSTED
        return 2 if crowded and self.took_ns < _NEXT_NS else 1

    @property
    def is_short(self) -> bool:
        """Whether an execution takes as little as what the event loop does for it."""
        return self.alone_ns < _SHORT_NS and self.doubts <= 0

    def answered(self, now_ns: int) -> BatchExecution:
        """The first one has ended: the next one begins."""
        execution = self.posted.popleft()
        self.since_ns = now_ns
        if self.posted:
            self.posted[0].begins()
        return execution

    def measured(self, since_ns: int, answered: int, cpus: int) -> None:
        """So many that were begun at `since_ns`, one after the other, have been answered together. `cpus`: what those
        that were busy have had together.
        """
        took_ns = self.since_ns - since_ns
        expected_ns = float(_AHEAD_NS) if self.took_ns is None else self.took_ns
        self.took_ns = smoothed(expected_ns, took_ns // answered)
        self.alone_ns = smoothed(self.alone_ns, took_ns * min(cpus, self.crowd) // (self.crowd * answered))
        if took_ns > STALL_NS:
            self.doubts, self.distrust = self.distrust, min(2 * self.distrust, _MOST_AGAIN)
        else:
            self.doubts -= answered
            if self.doubts <= -_FORGIVEN * self.distrust:
                self.doubts, self.distrust = 0, _AGAIN


def _how_much(place: _Place) -> int:
    return len(place.posted)


class Poster:
    """Gives the batches of one model to its instances. Lives on the event loop.

    A batch that cannot grow any more may wait in the other process as well as in the queue, if the model is quick: so
    neither process has to be woken for each of many small executions. It is not begun until those before it are
    answered, and goes back to the queue if the other process dies before.
    """

    def __init__(
        self,
        spec: ModelSpec,
        queue: RequestQueue,
        runners: Sequence[PostRunner],
        deliver: Callable[[Sequence[Execution]], None],
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`deliver` settles finished executions. `clock_ns`: tells how long they take."""
        self._spec = spec
        self._queue = queue
        self._deliver = deliver
        self._clock_ns = clock_ns
        self._loop = asyncio.get_running_loop()
        self._places = [_Place(runner) for runner in runners]
        # So many are kept busy with executions that are short, each with a CPU beside the event loop's.
        on_cpus = all(each.placement.kind == "CPU" for each in runners)
        self._most_busy = max(1, spec.cpus - 1) if on_cpus else len(self._places)
        # The one that was free last is asked next: its process is warm.
        self._free = list(reversed(self._places))
        # Where something was posted, and is not on its way yet.
        self._unflushed: set[_Place] = set()
        self._beginning = False
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        for place in self._places:
            place.runner.on_idle = partial(self._thread_idle, place)
            self._listen(place)

    def __repr__(self) -> str:
        return f"<Poster free={len(self._free)} of {len(self._places)}>"

    @property
    def under_way_since(self) -> list[int]:
        """When each execution has begun that an instance does now, in nanoseconds of the clock."""
        return [place.since_ns for place in self._places if place.posted]

    def queued(self) -> None:
        """A request was queued: it is begun at the end of this turn of the loop, with those that come until then."""
        if not self._beginning:
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
        while self._free and not self._are_enough():
            taken = self._queue.take_now()
            if isinstance(taken, Batch):
                self._begin(self._free.pop(), taken)
                continue
            if taken is not None:
                self._wait(taken)
            break
        else:
            self._begin_ahead()
            if self._free and self._queue:
                # Those that are busy may take longer than is expected of them.
                self._timer = self._loop.call_later(_LATE_NS / 1e9, self._begin_queued)
        while self._unflushed:
            self._flush(self._unflushed.pop())
        if self._closing and len(self._free) == len(self._places) and not self._queue:
            self._end()

    def _are_enough(self) -> bool:
        """Whether what comes is soonest done by the instances that are busy, though others have nothing to do."""
        if len(self._places) <= self._most_busy:
            return False
        busy = self._busy()
        if len(busy) < self._most_busy:
            return False
        now_ns = self._clock_ns()
        return all(place.is_short and now_ns - place.since_ns < _LATE_NS for place in busy)

    def _busy(self) -> list[_Place]:
        return [place for place in self._places if place.posted]

    def _begin_ahead(self) -> None:
        """Enough instances have something to do: give more to those that are soon done, the least busy first."""
        while True:
            crowded = len(self._queue) > len(self._places)
            may = (each for each in self._places if each.takes_more(crowded=crowded))
            place = min(may, key=_how_much, default=None)
            taken = None if place is None else self._queue.take_now(_may_go_ahead)
            if place is None or not isinstance(taken, Batch):
                return
            self._post(place, taken)

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
        """Have a batch executed by an instance that has nothing to do."""
        if place.listening_to is None or not _are_light(batch.members):
            self._hand_to_thread(place, [batch])
        else:
            self._post(place, batch)

    def _post(self, place: _Place, batch: Batch) -> None:
        execution = BatchExecution(batch, self._spec, place.runner.placement)
        try:
            place.instance.post(execution.inputs(), execution.requests)
        except ExecutionLostError:
            place.again.append(batch)
            self._go_on(place)
        except BaseException as error:  # noqa: BLE001 - even SystemExit in a plug-in is this batch's failure alone
            execution.fail(error)
            self._deliver(self._over(place, execution))
        else:
            place.posted.append(execution)
            place.unflushed += 1
            self._unflushed.add(place)
            if len(place.posted) == 1:
                place.since_ns = self._clock_ns()
                busy = self._busy()
                for each in busy:
                    each.crowd = max(each.crowd, len(busy))

    def _flush(self, place: _Place) -> None:
        unflushed, place.unflushed = place.unflushed, 0
        try:
            place.instance.flush()
        except ExecutionLostError:
            self._take_back(place, [place.posted.pop() for _ in range(unflushed)])
            self._go_on(place)
            self.queued()

    def _take_back(self, place: _Place, executions: Iterable[BatchExecution]) -> None:
        """The other process is gone, and has not begun these, the last one first: others may execute them."""
        for execution in executions:
            batch = Batch(execution.members, execution.reason, execution.taken_ns)
            if not self._queue.put_back(batch):
                place.again.insert(0, batch)

    def _hand_to_thread(self, place: _Place, jobs: Iterable[Job]) -> None:
        self._stop_listening(place)
        place.runner.hand(jobs)

    def _thread_idle(self, place: _Place, turn: int) -> None:
        # A thread that was interrupted may tell twice: by then the place may have something else to do.
        if place in self._places and turn == place.runner.turn:
            place.runner.turn += 1
            self._listen(place)
            self._go_on(place)
            self._begin_queued()

    def _go_on(self, place: _Place) -> None:
        """Something that the instance had to do is over. When nothing is left, it is free; if it cannot execute now,
        others get what comes until it can.
        """
        if place.posted:
            return
        if place.again:
            again, place.again = place.again, []
            self._hand_to_thread(place, again)
        elif place.runner.revives and not self._closing:
            self._hand_to_thread(place, [Revive()])
        else:
            self._free.append(place)

    # --- taking back ------------------------------------------------------------------------------------------------

    def _listen(self, place: _Place) -> None:
        descriptor = place.instance.descriptor
        if descriptor is not None:
            place.listening_to = descriptor
            self._loop.add_reader(descriptor, self._readable, place)

    def _stop_listening(self, place: _Place) -> None:
        descriptor, place.listening_to = place.listening_to, None
        if descriptor is not None:
            self._loop.remove_reader(descriptor)

    def _readable(self, place: _Place) -> None:
        """There are answers, or the other process is gone."""
        finished: list[Execution] = []
        since_ns, answered = place.since_ns, 0
        try:
            while (outputs := self._collected(place)) is not None:
                if place.posted:
                    answered += 1
                    finished += self._over(place, self._finished(place, outputs))
                if not place.posted:
                    break
        except ExecutionLostError:
            self._lost(place)
        if answered:
            place.measured(since_ns, answered, self._most_busy)
            place.crowd = len(self._busy())
        # First, so that the other process does not wait while answers are written here.
        self._begin_queued()
        self._deliver(finished)

    def _collected(self, place: _Place) -> Any:
        """What has come, which may be an error; None for nothing. Raises ExecutionLostError."""
        try:
            return place.instance.collect()
        except ExecutionLostError:
            raise
        except BaseException as error:  # noqa: BLE001 - as in `_post`
            return _Failed(error)

    def _finished(self, place: _Place, outputs: Any) -> BatchExecution:
        execution = place.answered(self._clock_ns())
        try:
            if isinstance(outputs, _Failed):
                raise outputs.error  # noqa: TRY301 - as everything that fails below
            execution.finish([outputs], fresh=has_fresh_outputs(place.instance))
        except BaseException as error:  # noqa: BLE001 - as in `_post`
            execution.fail(error)
        return execution

    def _lost(self, place: _Place) -> None:
        """The other process is gone. What it has not begun goes back, or is executed when it is there again."""
        if not place.posted:
            if place in self._free:
                self._free.remove(place)
            self._hand_to_thread(place, [Revive()])
            return
        first, *others = place.posted
        place.posted.clear()
        self._take_back(place, reversed(others))
        again, place.again = place.again, []
        self._hand_to_thread(place, [Lost(first), *again])

    def _over(self, place: _Place, execution: BatchExecution) -> Sequence[Execution]:
        """An execution has ended. Returns what is to be delivered now."""
        again, over = retried(execution)
        place.again += again
        self._go_on(place)
        return over


class _Failed(NamedTuple):
    error: BaseException


# Nothing can join these any more.
_COMPLETE = {BatchReason.FULL, BatchReason.NOT_BATCHABLE, BatchReason.SHAPE_MISMATCH}


def _may_go_ahead(reason: BatchReason, members: Sequence[Pending]) -> bool:
    """Whether a batch may leave the queue before it can be executed."""
    return reason in _COMPLETE and _are_light(members)


def _are_light(members: Iterable[Pending]) -> bool:
    """Whether the event loop can hand them over in no time."""
    size = 0
    for pending in members:
        if pending.request.trace is not None:
            return False
        # The one counts the texts of BYTES tensors, the other what lies in clients' shared memory.
        size += pending.held_bytes
        for array in pending.request.inputs.values():
            size += array.nbytes if array.dtype is not _TEXT else array.size * _TEXT_BYTES
    return size <= _MAX_LIGHT_BYTES
