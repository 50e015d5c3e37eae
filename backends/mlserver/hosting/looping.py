"""The event loop of a model: all of its code runs there, from its load to its end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_END: Any = object()
_CLOSE: Any = object()


class ModelLoop:
    """A loop on a thread of its own: a model that blocks it keeps nobody from hearing of that."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run it, from any thread."""
        return asyncio.run_coroutine_threadsafe(_ordinary(coroutine), self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end. Blocks."""
        return self.begin(coroutine).result()

    async def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The same, for another loop. Cancelled with whoever waits."""
        return await asyncio.wrap_future(self.begin(coroutine))

    def close(self) -> None:
        """Nothing of the model runs any more."""
        self.loop.call_soon_threadsafe(self.loop.stop)


class Responses(AsyncIterator[T]):
    """What an iterator gives that belongs to a model's loop, for another one. One task takes all of its steps: what the
    model enters in one of them it may leave in another.
    """

    def __init__(self, model_loop: ModelLoop, responses: AsyncIterator[T]) -> None:
        self._loop = model_loop.loop
        self._responses = responses
        self._wanted: asyncio.Queue[Future[T]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._over = False

    async def __anext__(self) -> T:
        if self._over:
            raise StopAsyncIteration
        next_one: Future[T] = Future()
        self._loop.call_soon_threadsafe(self._want, next_one)
        found = await asyncio.wrap_future(next_one)
        if found is _END:
            self._over = True
            raise StopAsyncIteration
        return found

    async def aclose(self) -> None:
        """Nobody takes more of them."""
        self._over = True
        self._loop.call_soon_threadsafe(self._stop)

    # --- on the model's loop ----------------------------------------------------------------------------------------

    def _want(self, next_one: "Future[T]") -> None:
        self._wanted.put_nowait(next_one)
        if self._task is None:
            self._task = self._loop.create_task(self._give())

    def _stop(self) -> None:
        if self._task is not None:
            # It waits for the model, or for whoever wants another one.
            self._task.cancel()

    async def _give(self) -> None:
        try:
            while True:
                next_one = await self._wanted.get()
                try:
                    found = await anext(self._responses, _END)
                except BaseException as error:
                    _settle(next_one, error=_passable(error))
                    if isinstance(error, asyncio.CancelledError):
                        raise
                    return
                _settle(next_one, found)
                if found is _END:
                    return
        finally:
            close = getattr(self._responses, "aclose", None)
            if close is not None:
                await close()


def _settle(future: "Future[T]", found: Any = None, error: BaseException | None = None) -> None:
    # Whoever wanted it may have left.
    with suppress(Exception):
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)


async def _ordinary(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return await coroutine
    except BaseException as error:
        passable = _passable(error)
        if passable is error:
            raise
        raise passable from error


def _passable(error: BaseException) -> BaseException:
    """What may pass through a future: what would stop the loop, or means something else there, is a RuntimeError."""
    if isinstance(error, asyncio.CancelledError):
        return error
    if isinstance(error, Exception) and not isinstance(error, StopIteration | StopAsyncIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
