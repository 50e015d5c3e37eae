"""How each kind of instance is driven, on the instance's own thread: take, execute, deliver."""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
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
from kserve_v2.own_memory import copy_shared
from kserve_v2.scheduling.batch import BatchRun, StreamRun
from kserve_v2.scheduling.queue import Batch, RequestQueue
from kserve_v2.signature import ModelSignature
from kserve_v2.tracing.trace import computing

# Instead of a response: there are no more.
_END: Any = object()

Deliver = Callable[..., None]
"""Hands finished runs to the scheduler: a list of BatchRun, or one StreamRun."""


class Surroundings(Protocol):
    """What a runner needs to know of the thread that it runs on."""

    placement: Placement
    queue: RequestQueue
    signature: ModelSignature
    deliver: Deliver


class Runner(Protocol):
    """Drives one instance."""

    def run(self) -> None:
        """Execute batches until the queue is closed and empty."""
        ...


def runner(instance: AnyInstance, thread: Surroundings) -> Runner:
    """The way to drive `instance`."""
    if isinstance(instance, AsyncStreamInstance):
        return AsyncStreamRunner(instance, thread)
    if isinstance(instance, StreamInstance):
        return StreamRunner(instance, thread)
    if isinstance(instance, AsyncInstance):
        return AsyncRunner(instance, thread)
    return SyncRunner(instance, thread)


class SyncRunner:
    """One batch at a time, on the instance's own thread."""

    def __init__(self, instance: Instance, thread: Surroundings) -> None:
        self._instance = instance
        self._thread = thread

    def run(self) -> None:
        """See `Runner.run`."""
        thread = self._thread
        while (batch := thread.queue.take()) is not None:
            began_ns = time.thread_time_ns()
            runs = execute_batch(self._instance, batch, thread.signature, thread.placement)
            runs[0].cpu_ns = time.thread_time_ns() - began_ns
            thread.deliver(runs)
            # Without this, the last batch's tensors stay alive for as long as the instance is idle.
            del batch, runs


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
    fresh = has_fresh_outputs(instance)
    try:
        if run.traced:
            with computing(run.traces, run.taken_ns):
                run.finish(instance.execute(run.merged(), run.requests), fresh=fresh)
        else:
            run.finish(instance.execute(run.merged(), run.requests), fresh=fresh)
    except BaseException as error:  # noqa: BLE001 - even SystemExit in a model is this batch's failure alone
        run.fail(error, placement)


class StreamRunner:
    """One stream at a time, on the instance's own thread."""

    def __init__(self, instance: StreamInstance, thread: Surroundings) -> None:
        self._instance = instance
        self._thread = thread

    def run(self) -> None:
        """See `Runner.run`."""
        thread = self._thread
        while (batch := thread.queue.take()) is not None:
            run = StreamRun(batch, thread.signature)
            self._execute(run)
            thread.deliver(run)
            del batch, run

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


class LoopRunner(ABC):
    """Several executions at the same time, on an event loop of the instance's own.

    The instance's thread runs that loop; a second one blocks on the queue for it.
    """

    def __init__(self, thread: Surroundings, max_concurrency: int) -> None:
        self._thread = thread
        self._free = threading.Semaphore(max_concurrency)

    @abstractmethod
    async def serve(self, batch: Batch) -> None:
        """Execute one batch and deliver it."""

    def run(self) -> None:
        """See `Runner.run`."""
        asyncio.run(self._main())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        exhausted = asyncio.Event()
        running: set[asyncio.Task[None]] = set()

        def start(batch: Batch) -> None:
            task = loop.create_task(self.serve(batch))
            running.add(task)
            task.add_done_callback(ended)

        def ended(task: asyncio.Task[None]) -> None:
            running.discard(task)
            self._free.release()

        def pull() -> None:
            while self._free.acquire() and (batch := self._thread.queue.take()) is not None:
                loop.call_soon_threadsafe(start, batch)
                del batch
            loop.call_soon_threadsafe(exhausted.set)

        threading.Thread(target=pull, name=f"{self._thread.placement.name}-pull", daemon=True).start()
        await exhausted.wait()
        await asyncio.gather(*running)


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
                    with suppress(AttributeError):  # an iterator that is no generator
                        await responses.aclose()  # type: ignore[attr-defined]
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
