"""How each kind of instance is driven, on the instance's own thread: take, execute, deliver."""

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, Protocol

from kserve_v2.backend import (
    AnyInstance,
    AsyncInstance,
    AsyncStreamInstance,
    Instance,
    Placement,
    StreamInstance,
    has_fresh_outputs,
)
from kserve_v2.errors import InternalError
from kserve_v2.memory.own import copy_shared
from kserve_v2.scheduling.batch import BatchRun, StreamRun
from kserve_v2.scheduling.contained import log_error
from kserve_v2.scheduling.queue import Batch, RequestQueue
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tracing.trace import computing

logger = logging.getLogger(__name__)

# Instead of a response: there are no more.
_END: Any = object()

Deliver = Callable[..., None]
"""Hands finished runs to the scheduler: a list of BatchRun, or one StreamRun."""


class Surroundings(Protocol):
    """What a runner needs to know of the thread that it runs on. `streams`: whether the model is decoupled."""

    placement: Placement
    queue: RequestQueue
    signature: ModelSignature
    deliver: Deliver
    streams: bool


class Runner(ABC):
    """Drives one instance.

    Whatever happens to the thread, or to the event loop of an async instance: no batch that was taken is left without
    an outcome.
    """

    def __init__(self, thread: Surroundings) -> None:
        self.batches = 0
        """How many it has taken."""
        self._thread = thread

    @abstractmethod
    def run(self) -> None:
        """Execute batches until the queue is closed and empty. If this raises, it can be called again."""

    @abstractmethod
    def give_back(self, error: BaseException) -> None:
        """Fail what was taken and is not delivered, because of what `run` has raised."""

    def _take(self) -> Batch | None:
        batch = self._thread.queue.take()
        self.batches += batch is not None
        return batch

    def _fail(self, batch: Batch, error: BaseException) -> None:
        """Deliver a batch that was not executed to its end."""
        thread = self._thread
        if thread.streams:
            stream = StreamRun(batch, thread.signature)
            stream.fail(error, thread.placement)
            thread.deliver(stream)
            return
        runs = BatchRun(batch, thread.signature).alone()
        for run in runs:
            run.fail(error, thread.placement)
        thread.deliver(runs)


def runner(instance: AnyInstance, thread: Surroundings) -> Runner:
    """The way to drive `instance`. Raises InternalError for one that cannot be driven."""
    if thread.streams:
        if isinstance(instance, AsyncStreamInstance):
            return AsyncStreamRunner(instance, thread)
        if isinstance(instance, StreamInstance):
            return StreamRunner(instance, thread)
    else:
        if isinstance(instance, AsyncInstance):
            return AsyncRunner(instance, thread)
        if isinstance(instance, Instance):
            return SyncRunner(instance, thread)
    kind = "decoupled model, which needs 'stream'" if thread.streams else "model, which needs 'execute'"
    raise InternalError(
        f"the backend made an instance of type {type(instance).__name__} for a {kind}, or that with '_async' and "
        "'max_concurrency', and 'close'"
    )


class SyncRunner(Runner):
    """One batch at a time, on the instance's own thread."""

    def __init__(self, instance: Instance, thread: Surroundings) -> None:
        super().__init__(thread)
        self._instance = instance
        self._batch: Batch | None = None

    def run(self) -> None:
        """See `Runner.run`."""
        thread = self._thread
        while (batch := self._take()) is not None:
            self._batch = batch
            began_ns = time.thread_time_ns()
            runs = execute_batch(self._instance, batch, thread.signature, thread.placement)
            runs[0].cpu_ns = time.thread_time_ns() - began_ns
            thread.deliver(runs)
            # Without this, the last batch's tensors stay alive for as long as the instance is idle.
            del batch, runs
            self._batch = None

    def give_back(self, error: BaseException) -> None:
        """See `Runner.give_back`."""
        batch, self._batch = self._batch, None
        if batch is not None:
            self._fail(batch, error)


def execute_batch(
    instance: Instance, batch: Batch, signature: ModelSignature, placement: Placement
) -> list[BatchRun]:
    """Execute one batch on one instance: one run with its outcome, or if it has failed, one for each member."""
    run = BatchRun(batch, signature)
    _execute(instance, run, placement)
    if not run.to_be_retried:
        return [run]
    # One bad request must not fail those that it happened to share a batch with: each is tried again on its own.
    runs = run.alone()
    for single in runs:
        if not single.left:
            _execute(instance, single, placement)
    return runs


def _execute(instance: Instance, run: BatchRun, placement: Placement) -> None:
    """Execute one run; it has the outcome afterwards, whatever that is."""
    try:
        fresh = has_fresh_outputs(instance)
        if run.traced:
            with computing(run.traces, run.taken_ns):
                run.finish(instance.execute(run.merged(), run.requests), fresh=fresh)
        else:
            run.finish(instance.execute(run.merged(), run.requests), fresh=fresh)
    except BaseException as error:  # noqa: BLE001 - even SystemExit in a model is this batch's failure alone
        run.fail(error, placement)


class StreamRunner(Runner):
    """One stream at a time, on the instance's own thread."""

    def __init__(self, instance: StreamInstance, thread: Surroundings) -> None:
        super().__init__(thread)
        self._instance = instance
        self._batch: Batch | None = None

    def run(self) -> None:
        """See `Runner.run`."""
        thread = self._thread
        while (batch := self._take()) is not None:
            self._batch = batch
            run = StreamRun(batch, thread.signature)
            self._execute(run)
            thread.deliver(run)
            del batch, run
            self._batch = None

    def give_back(self, error: BaseException) -> None:
        """See `Runner.give_back`."""
        batch, self._batch = self._batch, None
        if batch is not None:
            self._fail(batch, error)

    def _execute(self, run: StreamRun) -> None:
        try:
            with computing(run.traces, run.taken_ns):
                responses = self._instance.stream(run.merged(), run.request)
                try:
                    self._hand_over(responses, run)
                finally:
                    _close(responses)
        except BaseException as error:  # noqa: BLE001 - as in SyncRunner
            run.fail(error, self._thread.placement)
        run.closed()

    def _hand_over(self, responses: Iterator[Any], run: StreamRun) -> None:
        fresh = has_fresh_outputs(self._instance)
        while not run.request.cancelled:
            run.begin_step()
            outputs = next(responses, _END)
            if outputs is _END:
                run.finish()
                return
            answer = run.checked(outputs)
            del outputs
            if not fresh:
                copy_shared(answer)
            if not run.pending.put(answer).result():
                run.stop(taken=False)
                return
        run.stop()


def _close(responses: Iterator[Any]) -> None:
    # An iterator that is no generator has nothing to close.
    close = getattr(responses, "close", None)
    if close is not None:
        close()


class LoopRunner(Runner):
    """Several executions at the same time, on an event loop of the instance's own.

    The instance's thread runs that loop; a second one blocks on the queue for it. The model's code runs on the loop,
    and may do to it what it likes: stop it, cancel its tasks, close it.
    """

    def __init__(self, thread: Surroundings, max_concurrency: object) -> None:
        super().__init__(thread)
        if type(max_concurrency) is not int or max_concurrency < 1:
            raise InternalError(
                f"the backend made an instance with max_concurrency {max_concurrency!r}, expected an integer >= 1"
            )
        self._max_concurrency = max_concurrency
        # What was taken and is not delivered, by number. Both threads write here, one entry at a time.
        self._open: dict[int, Batch] = {}

    @abstractmethod
    def serve(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """Execute one batch and deliver it."""

    def run(self) -> None:
        """See `Runner.run`."""
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            main = loop.create_task(self._main())
            while not main.done():
                try:
                    loop.run_until_complete(main)
                except BaseException as error:
                    if loop.is_closed() or main.done():
                        raise
                    # The loop was stopped, or a task of the model's own has raised what ends one.
                    log_error(
                        logger, "the event loop of %s goes on", self._thread.placement.name, error=error
                    )

    def give_back(self, error: BaseException) -> None:
        """See `Runner.give_back`."""
        for number in list(self._open):
            self._end(number, error)

    def _end(self, number: int, error: BaseException | None) -> None:
        """A batch is delivered, or for `error` is not going to be."""
        batch = self._open.pop(number, None)
        if batch is not None and error is not None:
            self._fail(batch, error)

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        exhausted = asyncio.Event()
        free = threading.Semaphore(self._max_concurrency)
        running: set[asyncio.Task[None]] = set()

        def start(number: int) -> None:
            work = self.serve(self._open[number])
            try:
                task = loop.create_task(work)
            except BaseException as error:  # noqa: BLE001 - the model may have brought a task factory of its own
                work.close()
                self._end(number, error)
                free.release()
                return
            running.add(task)
            task.add_done_callback(partial(ended, number))

        def ended(number: int, task: asyncio.Task[None]) -> None:
            running.discard(task)
            free.release()
            self._end(number, asyncio.CancelledError() if task.cancelled() else task.exception())

        def pull() -> None:
            while free.acquire():
                number = 0
                try:
                    batch = self._take()
                    if batch is None:
                        break
                    number = self.batches
                    self._open[number] = batch
                    del batch
                    loop.call_soon_threadsafe(start, number)
                except BaseException as error:  # noqa: BLE001 - of a loop that was closed, above all
                    if not loop.is_closed():
                        self._end(number, error)
                        free.release()
                        continue
                    # Another loop may have taken its place.
                    batch = self._open.pop(number, None)
                    if batch is not None and not self._thread.queue.put_back(batch):
                        self._fail(batch, error)
                    return
            loop.call_soon_threadsafe(exhausted.set)

        threading.Thread(target=pull, name=f"{self._thread.placement.name}-pull", daemon=True).start()
        await _undisturbed(exhausted.wait)
        while running:
            await _undisturbed(partial(asyncio.wait, running))


async def _undisturbed(wait: Callable[[], Awaitable[object]]) -> None:
    """Wait, even if the model cancels all tasks that it finds on its loop."""
    while True:
        try:
            await wait()
        except asyncio.CancelledError:
            continue
        return


class AsyncRunner(LoopRunner):
    """Batches of an async instance."""

    def __init__(self, instance: AsyncInstance, thread: Surroundings) -> None:
        super().__init__(thread, instance.max_concurrency)
        self._instance = instance

    async def serve(self, batch: Batch) -> None:
        """See `LoopRunner.serve`."""
        run = BatchRun(batch, self._thread.signature)
        await self._execute(run)
        runs = [run]
        if run.to_be_retried:
            runs = run.alone()
            await asyncio.gather(*(self._execute(single) for single in runs if not single.left))
        self._thread.deliver(runs)

    async def _execute(self, run: BatchRun) -> None:
        try:
            with computing(run.traces, run.taken_ns):
                run.finish(
                    await self._instance.execute_async(run.merged(), run.requests),
                    fresh=has_fresh_outputs(self._instance),
                )
        except BaseException as error:  # noqa: BLE001 - as in SyncRunner
            run.fail(error, self._thread.placement)


class AsyncStreamRunner(LoopRunner):
    """Streams of an async instance."""

    def __init__(self, instance: AsyncStreamInstance, thread: Surroundings) -> None:
        super().__init__(thread, instance.max_concurrency)
        self._instance = instance

    async def serve(self, batch: Batch) -> None:
        """See `LoopRunner.serve`."""
        run = StreamRun(batch, self._thread.signature)
        try:
            with computing(run.traces, run.taken_ns):
                responses = self._instance.stream_async(run.merged(), run.request)
                try:
                    await self._hand_over(responses, run)
                finally:
                    # An iterator that is no generator has nothing to close.
                    close = getattr(responses, "aclose", None)
                    if close is not None:
                        await close()
        except BaseException as error:  # noqa: BLE001 - as in SyncRunner
            run.fail(error, self._thread.placement)
        run.closed()
        self._thread.deliver(run)

    async def _hand_over(self, responses: AsyncIterator[Any], run: StreamRun) -> None:
        fresh = has_fresh_outputs(self._instance)
        while not run.request.cancelled:
            run.begin_step()
            outputs = await anext(responses, _END)
            if outputs is _END:
                run.finish()
                return
            answer = run.checked(outputs)
            del outputs
            if not fresh:
                copy_shared(answer)
            if not await asyncio.wrap_future(run.pending.put(answer)):
                run.stop(taken=False)
                return
        run.stop()
