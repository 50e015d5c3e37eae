"""The instances of a Triton model: one kind for each way in which it may answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Callable, Literal

from ..answers import ModelError, StreamedResponse
from .exchange import ManyAnswers, OneAnswer, Outcome
from .stub import Stub
from .threads import Worker

# How many batches an instance works at that have answers to come from elsewhere.
_MAX_CONCURRENCY = 256

Tensors = Mapping[str, Any]


class _Instance:
    """What all kinds have in common."""

    def __init__(self, stub: Stub, arguments: dict[str, str]) -> None:
        self._stub = stub
        stub.importer.work_for_it()
        self._initialize(arguments)

    def _initialize(self, arguments: dict[str, str]) -> None:
        self._stub.initialize(arguments)

    def close(self) -> None:
        """Finalize it."""
        self._stub.finalize()


class BatchInstance(_Instance):
    """Answers batch after batch, on the thread that it is executed on."""

    def execute(self, tensors: Sequence[Tensors], requests: Sequence[Any]) -> list[Outcome]:
        """The outcome of each request. Raises what has failed before any had one."""
        answers = self._stub.execute(tensors, requests)
        return [_waited(answer) for answer in answers]


def _waited(answer: OneAnswer) -> Outcome:
    answer.wait()
    return _taken(answer)


def _taken(answer: OneAnswer) -> Outcome:
    outcome = answer.outcome
    assert outcome is not None  # noqa: S101 - it is answered
    # Whoever gets it is alone with its memory, then.
    answer.outcome = _TAKEN
    return outcome


_TAKEN = ModelError("the answer has been taken")


class _OnWorker(_Instance):
    """One whose model's code runs on a thread of its own, because answers are waited for elsewhere."""

    max_concurrency = _MAX_CONCURRENCY

    def _initialize(self, arguments: dict[str, str]) -> None:
        self._worker = Worker(f"{self._stub.name}-model", self._stub.importer)
        try:
            self._worker.call(partial(self._stub.initialize, arguments))
        except BaseException:
            self._worker.stop()
            raise

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call `callback` as soon as `execute` has returned, now or on whatever thread: until then the next batch would
        only wait here.
        """
        self._worker.when_free(callback)

    def close(self) -> None:
        """Finalize it, on its thread."""
        try:
            self._worker.call(self._stub.finalize)
        finally:
            self._worker.stop()


class SenderInstance(_OnWorker):
    """As `BatchInstance`, of a model that may answer later, by senders, and gets the next batch meanwhile."""

    async def execute_async(self, tensors: Sequence[Tensors], requests: Sequence[Any]) -> list[Outcome]:
        """The outcome of each request. Raises what has failed before any had one."""
        loop = asyncio.get_running_loop()
        executed: asyncio.Future[list[OneAnswer]] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if executed.cancelled():
                return
            if error is None:
                executed.set_result(result)
            else:
                executed.set_exception(_ordinary(error))

        def work() -> None:
            try:
                answers = self._stub.execute(tensors, requests)
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                loop.call_soon_threadsafe(settle, None, error)
            else:
                loop.call_soon_threadsafe(settle, answers, None)

        self._worker.do(work)
        return [await _awaited(answer, loop) for answer in await executed]


def _ordinary(error: BaseException) -> BaseException:
    """What may pass through a future: the others would stop the loop, or mean something else there."""
    special = (StopIteration, StopAsyncIteration, asyncio.CancelledError)
    if isinstance(error, Exception) and not isinstance(error, special):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


async def _awaited(answer: OneAnswer, loop: asyncio.AbstractEventLoop) -> Outcome:
    if answer.outcome is None:
        answered: asyncio.Future[None] = loop.create_future()

        def settle() -> None:
            if not answered.done():
                answered.set_result(None)

        def answered_elsewhere() -> None:
            loop.call_soon_threadsafe(settle)

        answer.when_answered(answered_elsewhere)
        await answered
    return _taken(answer)


class StreamInstance(_OnWorker):
    """Answers the requests of a decoupled model, several batches of them at a time."""

    fresh_outputs: Literal[True] = True

    def streams_async(self, tensors: Sequence[Tensors], requests: Sequence[Any]) -> list[Responses]:
        """Begin to execute a batch: what the model sends to each request."""
        answers = [self._stub.exchange_of(request) for request in requests]
        self._worker.do(partial(self._stub.stream, tensors, answers))
        return [Responses(each) for each in answers]


class Responses:
    """An asynchronous iterator of the responses to one request. Raises what the model fails with."""

    def __init__(self, answers: ManyAnswers) -> None:
        self._answers = answers

    def __aiter__(self) -> Responses:
        return self

    async def __anext__(self) -> StreamedResponse:
        response = await self._answers.next()
        if response is None:
            raise StopAsyncIteration
        return response

    async def aclose(self) -> None:
        """Nobody takes more of them."""
        self._answers.leave()
