"""Instance threads: each makes one backend instance, pulls batches from the queue, executes and delivers
them.

A thread makes, uses and closes its instance, so a backend never sees two threads in one instance. The outcome
of a batch goes back to the event loop in one wake-up.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from kserve_v2.backend import AsyncInstance, Instance, Model, Placement
from kserve_v2.errors import ErrorCode, ServingError
from kserve_v2.scheduling.batch import BatchRun
from kserve_v2.scheduling.queue import RequestQueue
from kserve_v2.signature import ModelSignature

logger = logging.getLogger(__name__)

Deliver = Callable[[Placement, list[BatchRun]], None]
"""Hands finished runs to the scheduler. Called on the instance's thread."""


class Runner(Protocol):
    """How one kind of instance is driven, on the instance's thread."""

    def run(self) -> None:
        """Execute batches until the queue is closed and empty."""
        ...


class InstanceThread:
    """One instance and the thread that owns it."""

    def __init__(
        self,
        placement: Placement,
        model: Model,
        queue: RequestQueue,
        signature: ModelSignature,
        deliver: Deliver,
    ) -> None:
        self.placement = placement
        self.queue = queue
        self.signature = signature
        self.deliver = deliver
        self._model = model
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        # A daemon: a model that hangs for ever must not keep the process from exiting.
        self._thread = threading.Thread(target=self._main, name=placement.name, daemon=True)

    def __repr__(self) -> str:
        state = "stopped" if self._stopped.done() else "started" if self._started.done() else "starting"
        return f"<InstanceThread {self.placement.name} {self.placement.device} {state}>"

    async def start(self) -> None:
        """Start the thread; returns when its instance is made. Raises what making it raised."""
        self._thread.start()
        await asyncio.shield(self._started)

    async def stopped(self) -> None:
        """Wait until the instance is closed, which happens after the queue is closed and empty."""
        if self._thread.ident is not None:
            await asyncio.shield(self._stopped)

    def _main(self) -> None:
        try:
            instance = self._model.instance(self.placement)
        except BaseException as error:  # noqa: BLE001 - whatever a plug-in raises ends this load, not the server
            self._on_loop(self._resolve, self._started, error)
            self._on_loop(self._resolve, self._stopped, None)
            return
        self._on_loop(self._resolve, self._started, None)
        try:
            runner(instance, self).run()
        finally:
            self._close(instance)
            self._on_loop(self._resolve, self._stopped, None)

    def _close(self, instance: Instance | AsyncInstance) -> None:
        try:
            instance.close()
        except Exception:
            logger.exception("instance %s failed to close", self.placement.name)

    def _on_loop(self, callback: Callable[..., None], *args: object) -> None:
        # A closed loop means that the process is exiting without us.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)

    @staticmethod
    def _resolve(future: asyncio.Future[None], error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))


def runner(instance: Instance | AsyncInstance, thread: InstanceThread) -> Runner:
    """The way to drive `instance`."""
    return (
        AsyncRunner(instance, thread) if isinstance(instance, AsyncInstance) else SyncRunner(instance, thread)
    )


class SyncRunner:
    """One batch at a time, on the instance's own thread."""

    def __init__(self, instance: Instance, thread: InstanceThread) -> None:
        self._instance = instance
        self._thread = thread

    def run(self) -> None:
        """See `Runner.run`."""
        thread = self._thread
        while (batch := thread.queue.take()) is not None:
            run = self._execute(BatchRun(batch, thread.signature))
            # One bad request must not fail those that it happened to share a batch with: each is tried again
            # on its own.
            retry = run.error is not None and len(run.members) > 1
            runs = [self._execute(single) for single in run.alone()] if retry else [run]
            thread.deliver(thread.placement, runs)
            # Without this, the last batch's tensors stay alive for as long as the instance is idle.
            del batch, run, runs

    def _execute(self, run: BatchRun) -> BatchRun:
        try:
            run.finish(self._instance.execute(run.merged()))
        except BaseException as error:  # noqa: BLE001 - even SystemExit in a model is this batch's failure alone
            run.fail(error)
            log_failure(error, run, self._thread.placement)
        return run


class AsyncRunner:
    """Up to `max_concurrency` batches at a time on an event loop of the instance's own.

    The instance's thread runs that loop; a second one blocks on the queue for it.
    """

    def __init__(self, instance: AsyncInstance, thread: InstanceThread) -> None:
        self._instance = instance
        self._thread = thread
        self._free = threading.Semaphore(instance.max_concurrency)

    def run(self) -> None:
        """See `Runner.run`."""
        asyncio.run(self._main())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        exhausted = asyncio.Event()
        running: set[asyncio.Task[None]] = set()

        def start(run: BatchRun) -> None:
            task = loop.create_task(self._serve(run))
            running.add(task)
            task.add_done_callback(running.discard)

        def pull() -> None:
            while self._free.acquire() and (batch := self._thread.queue.take()) is not None:
                loop.call_soon_threadsafe(start, BatchRun(batch, self._thread.signature))
                del batch
            loop.call_soon_threadsafe(exhausted.set)

        threading.Thread(target=pull, name=f"{self._thread.placement.name}-pull", daemon=True).start()
        await exhausted.wait()
        await asyncio.gather(*running)

    async def _serve(self, run: BatchRun) -> None:
        try:
            await self._execute(run)
            retry = run.error is not None and len(run.members) > 1
            runs = run.alone() if retry else [run]
            if retry:
                await asyncio.gather(*(self._execute(single) for single in runs))
        finally:
            self._free.release()
        self._thread.deliver(self._thread.placement, runs)

    async def _execute(self, run: BatchRun) -> None:
        try:
            run.finish(await self._instance.execute_async(run.merged()))
        except BaseException as error:  # noqa: BLE001 - as in SyncRunner
            run.fail(error)
            log_failure(error, run, self._thread.placement)


def log_failure(error: BaseException, run: BatchRun, placement: Placement) -> None:
    """Log a failure that is not the client's, once, with its traceback. One that will be retried is not final
    yet.
    """
    clients_fault = isinstance(error, ServingError) and error.code is not ErrorCode.INTERNAL
    if len(run.members) > 1 or clients_fault:
        return
    request_id = run.members[0].request.id
    logger.error(
        "execution failed in %s", placement.name, exc_info=error, extra={"request_id": request_id or None}
    )
