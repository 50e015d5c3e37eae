"""What a model calls other models with. Whatever becomes of a call is a response: errors are never raised."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from .errors import TritonError, triton_error
from .response import InferenceResponse
from .services import CallAnswer, Caller, CallRequest
from .tensor import received

T = TypeVar("T")


def infer(caller: Caller, call: CallRequest, serving: Sequence[Any]) -> InferenceResponse:
    """The one answer to a call."""
    try:
        return _response(_off_loop(lambda: caller.call(call, serving)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return _error_response(error, call)


async def infer_async(caller: Caller, call: CallRequest, serving: Sequence[Any]) -> InferenceResponse:
    """The one answer to a call."""
    try:
        return _response(await caller.call_async(call, serving))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return _error_response(error, call)


async def stream_async(caller: Caller, call: CallRequest, serving: Sequence[Any]) -> ResponseIterator:
    """All answers to a call, of which the first one is there."""
    responses = ResponseIterator(caller.stream(call, serving))
    await asyncio.get_running_loop().run_in_executor(None, responses.fetch)
    return responses


class ResponseIterator:
    """The responses to a call, as they come. Behind the last of them there is an empty one, if it was not known to be
    the last. Can be iterated again.
    """

    def __init__(self, answers: Iterator[CallAnswer]) -> None:
        self._answers: Iterator[CallAnswer] | None = answers
        self._responses: list[InferenceResponse] = []
        self._next = 0

    def __iter__(self) -> ResponseIterator:
        if self._answers is None:
            self._next = 0
        return self

    def __next__(self) -> InferenceResponse:
        if self._next == len(self._responses):
            self.fetch()
        if self._next == len(self._responses):
            raise StopIteration
        self._next += 1
        return self._responses[self._next - 1]

    def fetch(self) -> None:
        """Wait for the next response, if there is to be one."""
        answers = self._answers
        if answers is None:
            return
        try:
            answer = _off_loop(partial(next, answers, None))
        except Exception as error:  # noqa: BLE001 - it is the last response
            self._add(InferenceResponse(error=triton_error(error)), final=True)
            return
        if self._answers is None:
            # Cancelled meanwhile, by another thread.
            _close(answers)
        elif answer is None:
            self._add(InferenceResponse(), final=True)
        else:
            self._add(_response(answer), final=answer.final)

    def _add(self, response: InferenceResponse, *, final: bool) -> None:
        self._responses.append(response)
        if final:
            self.cancel()

    def cancel(self) -> None:
        """Take no more."""
        answers, self._answers = self._answers, None
        if answers is not None:
            _close(answers)


def _close(answers: Any) -> None:
    # A generator that another thread waits for cannot be closed; that thread does it.
    with suppress(ValueError):
        answers.close()


def _off_loop(work: Callable[[], T]) -> T:
    """What blocks, on a thread without an event loop, as callers want it. The loop that this thread may have stands
    still meanwhile: Triton's models may do that.
    """
    if asyncio._get_running_loop() is None:
        return work()
    done: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            done.set_exception(error)

    threading.Thread(target=run, name="blocking-call", daemon=True).start()
    return done.result()


def _response(answer: CallAnswer) -> InferenceResponse:
    if answer.error is not None:
        return InferenceResponse(error=triton_error(answer.error))
    tensors = [received(name, array) for name, array in answer.outputs.items()]
    response = InferenceResponse(tensors)
    response._parameters = dict(answer.parameters)
    return response


def _error_response(error: BaseException, call: CallRequest) -> InferenceResponse:
    told = triton_error(error)
    if told.code() is TritonError.UNSUPPORTED and "decoupled transaction policy" in told.message():
        told = TritonError(_DECOUPLED.format(call.model_name), told.code())
    return InferenceResponse(error=told)


_DECOUPLED = (
    "Model {0} - Error when running inference: Model {0} is using the decoupled. The current BLS request call doesn't "
    "support models using the decoupled transaction policy. Please use 'decoupled=True' argument to the 'exec' or "
    "'async_exec' calls for decoupled models.'"
)
