"""The threads that the code of a model runs on, where it is not the one that an instance has anyway."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import threading
from collections.abc import Coroutine
from typing import Any, Callable

from .importing import Importer


class Worker:
    """A thread that does one thing after the other."""

    def __init__(self, name: str, importer: Importer) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._importer = importer
        self._lock = threading.Lock()
        # How much it has not done yet, and who is to be told when it has.
        self._undone = 0
        self._told: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], None]) -> None:
        """Do it when its turn comes. It must not raise."""
        with self._lock:
            self._undone += 1
        self._work.put(work)

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call `callback` as soon as it has done all that it was given: now, or on its thread."""
        with self._lock:
            if self._undone:
                self._told.append(callback)
                return
        callback()

    def call(self, work: Callable[[], Any]) -> Any:
        """Do it there, and wait for it."""
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def run() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                done.set_exception(error)
            else:
                done.set_result(result)

        self.do(run)
        return done.result()

    def stop(self) -> None:
        """Do what is there, and end."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        self._importer.work_for_it()
        while True:
            work = self._work.get()
            if work is None:
                return
            work()
            # What waits must not keep alive what is done.
            del work
            told: list[Callable[[], None]] = []
            with self._lock:
                self._undone -= 1
                if not self._undone:
                    told, self._told = self._told, told
            for callback in told:
                callback()


class LoopThread:
    """A thread with an event loop, for models whose `execute` is async."""

    def __init__(self, name: str, importer: Importer) -> None:
        self._importer = importer
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        """Run a coroutine there."""
        return asyncio.run_coroutine_threadsafe(self._for_model(work), self._loop)

    async def _for_model(self, work: Coroutine[Any, Any, Any]) -> Any:
        self._importer.work_for_it()
        return await work

    def stop(self) -> None:
        """Cancel what runs there, and end."""
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
