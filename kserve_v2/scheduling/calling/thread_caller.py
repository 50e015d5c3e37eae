"""Calls to other models from any thread, or event loop: they are made on the server's loop, and waited for here."""

import asyncio
import concurrent.futures
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from kserve_v2.errors import InternalError, ServingError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.scheduling.calling.calls import Call, Calls, exiting
from kserve_v2.scheduling.calling.waits import ModelVersion
from kserve_v2.scheduling.failures import no_answer
from kserve_v2.scheduling.replies import Channel

T = TypeVar("T")


class ThreadCaller:
    """Calls for one loaded version of a model. See `ModelCaller`."""

    def __init__(self, calls: Calls, caller: ModelVersion) -> None:
        """Made on the server's event loop."""
        self._calls = calls
        self._caller = caller
        self._loop = asyncio.get_running_loop()

    def call(self, request: InferRequest, serving: Sequence[InferRequest]) -> InferResponse:
        """Call a model and wait for its answer."""
        _refuse_on_loop("call", "await call_async(...)")
        return _wait(self._begin(request, serving))

    async def call_async(self, request: InferRequest, serving: Sequence[InferRequest]) -> InferResponse:
        """Call a model and await its answer."""
        return await asyncio.wrap_future(self._begin(request, serving))

    def _begin(
        self, request: InferRequest, serving: Sequence[InferRequest]
    ) -> concurrent.futures.Future[InferResponse]:
        reply = _Answer()
        call = Call(self._calls, serving, reply)
        # Emptied when it is over: the answer keeps its callback, and must not keep the call, and so itself, by that.
        held = [call]

        def done(answer: concurrent.futures.Future[InferResponse]) -> None:
            over = held.pop()
            if answer.cancelled():
                self._tell(over.give_up)

        self._on_loop(lambda: call.begin(request, self._caller, streams=False))
        reply.answer.add_done_callback(done)
        return reply.answer

    def stream(
        self, request: InferRequest, serving: Sequence[InferRequest]
    ) -> Generator[InferResponse, None, None]:
        """Call a model and yield its responses."""
        _refuse_on_loop("stream", "async for ... in stream_async(...)")
        responses = _Responses(self._calls, request, serving, self._caller)
        try:
            while (response := _wait(self._run(responses.next()))) is not None:
                yield response
        finally:
            self._tell(responses.close)

    async def stream_async(
        self, request: InferRequest, serving: Sequence[InferRequest]
    ) -> AsyncGenerator[InferResponse, None]:
        """Call a model and yield its responses."""
        responses = _Responses(self._calls, request, serving, self._caller)
        try:
            while (response := await asyncio.wrap_future(self._run(responses.next()))) is not None:
                yield response
        finally:
            self._tell(responses.close)

    # --- to the server's loop ---------------------------------------------------------------------------------------

    def _on_loop(self, callback: Callable[[], None]) -> None:
        """Raises UnavailableError if the loop is gone."""
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            raise exiting() from None

    def _tell(self, callback: Callable[[], None]) -> None:
        """If the loop is gone, so is what it is told to end."""
        with suppress(ServingError):
            self._on_loop(callback)

    def _run(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Raises as `_on_loop`."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise exiting() from None


class _Answer:
    """The one answer to a call, for another thread."""

    def __init__(self) -> None:
        self.answer: concurrent.futures.Future[InferResponse] = concurrent.futures.Future()

    def respond(self, response: InferResponse) -> None:
        """Take the next response. A second one is the model's mistake."""
        # Not if there is a first one, or if whoever waited has left: on another thread, perhaps in this moment.
        with suppress(concurrent.futures.InvalidStateError):
            self.answer.set_result(response)

    def end(self, error: ServingError | None = None) -> None:
        """There are no more responses."""
        with suppress(concurrent.futures.InvalidStateError):
            self.answer.set_exception(error or no_answer())

    fail = end


class _Channel(Channel):
    def fail(self, error: ServingError) -> None:
        """The call could not begin."""
        self.close()
        self.end(error)


class _Responses:
    """The responses to a call, taken one by one. It is made on any thread; all else happens on the server's loop."""

    def __init__(
        self, calls: Calls, request: InferRequest, serving: Sequence[InferRequest], caller: ModelVersion
    ) -> None:
        self._calls = calls
        self._request = request
        self._serving = serving
        self._caller = caller
        self._call: Call | None = None
        self._channel: _Channel | None = None

    async def next(self) -> InferResponse | None:
        """The next response. The first time, the call begins."""
        if self._channel is None:
            self._channel = _Channel()
            self._call = Call(self._calls, self._serving, self._channel)
            self._call.begin(self._request, self._caller, streams=True)
        return await self._channel.next()

    def close(self) -> None:
        """Give up what is left."""
        if self._call is not None and self._channel is not None:
            self._call.give_up()
            self._channel.close()


def _wait(future: concurrent.futures.Future[T]) -> T:
    """Its result. If something interrupts this thread, nobody waits for it any more."""
    try:
        return future.result()
    except concurrent.futures.CancelledError:
        raise exiting() from None
    except BaseException:
        future.cancel()
        raise
    finally:
        # The error that it has holds this frame: together they would be garbage that only the collector finds.
        del future


def _refuse_on_loop(method: str, instead: str) -> None:
    """A call that blocks would stop all that runs on this thread's event loop, its own answer perhaps among it. Raises
    InternalError. This is why a model that calls others cannot be executed in place, on the server's loop.
    """
    if asyncio._get_running_loop() is not None:
        raise InternalError(
            f"'{method}' would block the event loop that runs on this thread: in async handlers use {instead}"
        )
