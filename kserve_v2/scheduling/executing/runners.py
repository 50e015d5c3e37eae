"""How instances are driven on their own threads: take a batch, perform it, deliver what came of it."""

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

from kserve_v2_child.undisturbed import undisturbed

from kserve_v2.backend import (
    AnyInstance,
    AsyncInstance,
    AsyncStreamInstance,
    AsyncStreamsInstance,
    PacedInstance,
    Placement,
    RevivedInstance,
)
from kserve_v2.errors import InternalError
from kserve_v2.scheduling.contained import log_error
from kserve_v2.scheduling.executing.execution import BatchExecution, Execution
from kserve_v2.scheduling.executing.stream_execution import StreamExecution
from kserve_v2.scheduling.feed import Batch, Feed
from kserve_v2.scheduling.spec import ModelSpec

logger = logging.getLogger(__name__)

# Who waits for an instance looks so often for whether its event loop is still there.
_LOOK_S = 1.0

Deliver = Callable[[Sequence[Execution]], None]
"""Hands finished executions to whoever settles them."""

Perform = Callable[[Batch], Sequence[Execution]]
PerformAsync = Callable[[Batch], Coroutine[Any, Any, Sequence[Execution]]]


class Surroundings(Protocol):
    """What a runner needs to know of its thread. `slot`: the instance's number. `loop`: the server's."""

    slot: int
    placement: Placement
    feed: Feed
    spec: ModelSpec
    deliver: Deliver
    loop: asyncio.AbstractEventLoop


class Runner(ABC):
    """Drives one instance.

    Whatever happens to the thread, or to the event loop of an async instance: no batch that was taken is left without
    an outcome.
    """

    def __init__(self, thread: Surroundings, instance: AnyInstance) -> None:
        self.batches = 0
        """How many it has taken."""
        self.concurrency = 1
        """How many it performs at a time."""
        self._thread = thread
        self._revived = instance if isinstance(instance, RevivedInstance) else None

    @abstractmethod
    def run(self) -> None:
        """Execute batches until the feed is closed and empty. If this raises, it can be called again."""

    @property
    @abstractmethod
    def under_way(self) -> Sequence[Batch]:
        """What it performs now. May be asked from any thread."""

    @abstractmethod
    def give_back(self, error: BaseException) -> None:
        """Fail what was taken and is not delivered, because of what `run` has raised."""

    def lost(self, error: BaseException) -> None:
        """`run` is not called any more, though its feed is not closed."""
        self.give_back(error)

    def _take(self) -> Batch | None:
        thread, revived = self._thread, self._revived
        batch = None
        while batch is None:
            if revived is not None and revived.lost:
                revived.await_revival()
            batch = thread.feed.take(thread.slot)
            if batch is None:
                return None
            # Lost while it slept: another instance may execute it.
            if revived is not None and revived.lost and thread.feed.put_back(batch):
                batch = None
        self.batches += 1
        return batch

    def _fail(self, batch: Batch, error: BaseException) -> None:
        """Deliver a batch that was not executed to its end."""
        thread = self._thread
        executions: list[BatchExecution] | list[StreamExecution]
        if thread.spec.decoupled:
            # Of several that were begun together some may be over.
            executions = [
                each
                for each in StreamExecution.each(batch, thread.spec, thread.placement, thread.loop)
                if not each.pending.done
            ]
        else:
            executions = BatchExecution(batch, thread.spec, thread.placement).alone()
        for execution in executions:
            execution.fail(error)
        thread.deliver(executions)
        thread.feed.executed(batch)


class ThreadRunner(Runner):
    """One batch at a time, on the instance's own thread."""

    def __init__(self, perform: Perform, instance: AnyInstance, thread: Surroundings) -> None:
        super().__init__(thread, instance)
        self._perform = perform
        self._batch: Batch | None = None

    def run(self) -> None:
        """Take, perform and deliver, one batch after the other."""
        thread = self._thread
        while (batch := self._take()) is not None:
            self._batch = batch
            began_ns = time.thread_time_ns()
            executions = self._perform(batch)
            executions[0].cpu_ns = time.thread_time_ns() - began_ns
            thread.deliver(executions)
            thread.feed.executed(batch)
            # Otherwise the last batch's tensors would stay alive while the instance is idle.
            del batch, executions
            self._batch = None

    @property
    def under_way(self) -> Sequence[Batch]:
        """One batch, or none."""
        batch = self._batch
        return () if batch is None else (batch,)

    def give_back(self, error: BaseException) -> None:
        """Fail the batch that was being performed."""
        batch, self._batch = self._batch, None
        if batch is not None:
            self._fail(batch, error)


class LoopRunner(Runner):
    """Several executions at the same time, on an event loop of the instance's own.

    The instance's thread runs that loop; a second one blocks on the queue for it. The model's code runs on the loop,
    and may do to it what it likes: stop it, cancel its tasks, close it.
    """

    def __init__(
        self,
        perform: PerformAsync,
        instance: AsyncInstance | AsyncStreamInstance | AsyncStreamsInstance,
        thread: Surroundings,
    ) -> None:
        super().__init__(thread, instance)
        max_concurrency: object = instance.max_concurrency
        if type(max_concurrency) is not int or max_concurrency < 1:
            raise InternalError(
                f"the backend made an instance with max_concurrency {max_concurrency!r}, expected an integer >= 1"
            )
        self._perform = perform
        self._paced = instance if isinstance(instance, PacedInstance) else None
        self.concurrency = max_concurrency
        # Batches that are taken and not delivered yet, by number. Both threads write here, one entry at a time.
        self._open: dict[int, Batch] = {}
        # The loop, if it has run something before the first batch.
        self._begun: asyncio.Runner | None = None

    def run(self) -> None:
        """Run the instance's loop until all is delivered."""
        begun, self._begun = self._begun, None
        with begun or asyncio.Runner() as runner:
            loop = runner.get_loop()
            main = loop.create_task(self._main())
            while not main.done():
                try:
                    loop.run_until_complete(main)
                except BaseException as error:
                    if loop.is_closed() or main.done():
                        raise
                    # The model stopped the loop, or a task of its own raised SystemExit or KeyboardInterrupt.
                    log_error(
                        logger, "the event loop of %s goes on", self._thread.placement.name, error=error
                    )

    def run_first(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something to its end before the first batch, on the loop on which those are executed: what the model
        begins there goes on. Raises what it raises.
        """
        if self._begun is None:
            self._begun = asyncio.Runner()
        self._begun.run(work)

    @property
    def under_way(self) -> Sequence[Batch]:
        """All that was taken, and is not delivered yet."""
        return list(self._open.values())

    def give_back(self, error: BaseException) -> None:
        """Fail all that is under way."""
        for number in list(self._open):
            self._end(number, error)

    def _end(self, number: int, error: BaseException | None) -> None:
        """A batch is delivered, or for `error` is not going to be."""
        batch = self._open.pop(number, None)
        if batch is None:
            return
        if error is not None:
            self._fail(batch, error)
        else:
            self._thread.feed.executed(batch)

    async def _serve(self, batch: Batch) -> None:
        self._thread.deliver(await self._perform(batch))

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        exhausted = asyncio.Event()
        free = threading.Semaphore(self.concurrency)
        pace = _Pace(self._paced, loop)
        running: set[asyncio.Task[None]] = set()

        def start(number: int) -> None:
            work = self._serve(self._open[number])
            try:
                task = loop.create_task(work)
            except BaseException as error:  # noqa: BLE001 - the model may have brought a task factory of its own
                work.close()
                self._end(number, error)
                free.release()
                pace.given()
                return
            running.add(task)
            task.add_done_callback(partial(ended, number))
            pace.begins()

        def ended(number: int, task: asyncio.Task[None]) -> None:
            running.discard(task)
            free.release()
            self._end(number, asyncio.CancelledError() if task.cancelled() else task.exception())

        def pull() -> None:
            while free.acquire():
                number = 0
                try:
                    if not pace.wait():
                        return
                    batch = self._take()
                    if batch is None:
                        break
                    number = self.batches
                    self._open[number] = batch
                    del batch
                    pace.taken()
                    loop.call_soon_threadsafe(start, number)
                except BaseException as error:  # noqa: BLE001 - of a loop that was closed, above all
                    if not loop.is_closed():
                        self._end(number, error)
                        free.release()
                        pace.given()
                        continue
                    # A new loop may have started in its place, and execute the batch.
                    batch = self._open.pop(number, None)
                    if batch is not None and not self._thread.feed.put_back(batch):
                        self._fail(batch, error)
                    return
            loop.call_soon_threadsafe(exhausted.set)

        threading.Thread(target=pull, name=f"{self._thread.placement.name}-pull", daemon=True).start()
        await undisturbed(exhausted.wait)
        while running:
            await undisturbed(partial(asyncio.wait, running))


class _Pace:
    """When a paced instance gets its next batch; any other one gets it at once. `wait` and `taken`: on the thread that
    takes it; `begins` and `given`: on the loop that begins it.
    """

    def __init__(self, instance: PacedInstance | None, loop: asyncio.AbstractEventLoop) -> None:
        self._instance = instance
        self._loop = loop
        self._given = threading.Event()
        self._given.set()

    def taken(self) -> None:
        """There is a batch for the instance."""
        if self._instance is not None:
            self._given.clear()

    def begins(self) -> None:
        """The task that gives it to the instance is there: when that waits for the first time, the instance has it."""
        if self._instance is not None:
            self._loop.call_soon(self.given)

    def given(self) -> None:
        """The instance has it, or never will."""
        if self._instance is not None:
            self._given.set()

    def wait(self) -> bool:
        """Wait until the instance would begin another one at once. False: its event loop was closed."""
        if self._instance is None:
            return True
        if not self._came(self._given):
            return False
        free = threading.Event()
        self._instance.when_free(free.set)
        return self._came(free)

    def _came(self, event: threading.Event) -> bool:
        while not event.wait(_LOOK_S):
            if self._loop.is_closed():
                return False
        return True
