"""The thread of an instance whose executions another process does: what it does for the event loop, see `posting`."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from kserve_v2.backend import PostingInstance
from kserve_v2.scheduling.executing.execution import BatchExecution, Execution
from kserve_v2.scheduling.executing.runners import Perform, Surroundings, ThreadRunner
from kserve_v2.scheduling.feed import Batch
from kserve_v2.scheduling.statistics import BatchReason


class Lost(NamedTuple):
    """The other process has not answered what was posted, and is gone."""

    execution: BatchExecution


class Revive(NamedTuple):
    """The instance cannot execute anything until it is back."""


Job = Batch | Lost | Revive | None
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
        self._handed: SimpleQueue[tuple[int, Job]] = SimpleQueue()
        self._busy = False
        self._concluding: BatchExecution | None = None
        self._no_thread: BaseException | None = None

    @property
    def revives(self) -> bool:
        """Whether the instance is lost now, and will be back."""
        return self._revived is not None and self._revived.lost

    def hand(self, jobs: Iterable[Job]) -> None:
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
            turn, job = self._handed.get()
            # What follows from a lost execution is done after what was handed behind that, and has its number.
            self._seen = max(self._seen, turn)
            self._busy = True
            if isinstance(job, Lost):
                self._conclude(job.execution)
            elif not isinstance(job, Revive):
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
                if isinstance(job, Lost):
                    self._fail_lost(job.execution, error)
                elif isinstance(job, Batch):
                    self._fail(job, error)

    def _fail_lost(self, execution: BatchExecution, error: BaseException) -> None:
        self._fail(Batch(execution.members, execution.reason, execution.taken_ns), error)


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
