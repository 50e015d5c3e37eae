"""The instances of an isolated model that execute several things at a time, on the server's side."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from kserve_v2_child.answers import StreamedResponse
from kserve_v2_child.channel.messages import Kind, Message

from kserve_v2.errors import ServingError, UnavailableError
from kserve_v2.isolation.async_link import AsyncLink, checked
from kserve_v2.isolation.instances import Isolated
from kserve_v2.isolation.keeper import Keeper, Seat
from kserve_v2.isolation.link import NotSentError
from kserve_v2.isolation.process import ModelProcess
from kserve_v2.isolation.requests import answers_of, response_of, take_back
from kserve_v2.isolation.suspects import Suspects
from kserve_v2.messages import InferRequest, Tensors


def _when_free(seat: Seat, callback: Callable[[], None]) -> None:
    link = seat.link
    if isinstance(link, AsyncLink):
        link.when_free(callback)
    else:
        callback()


class _AsyncIsolated(Isolated):
    """What both kinds have in common."""

    when_free: Callable[[Callable[[], None]], None]
    """See `PacedInstance`: only where the model's own is one."""

    def __init__(
        self, keeper: Keeper, seat: Seat, suspects: Suspects, max_concurrency: Any, *, paced: bool = False
    ) -> None:
        super().__init__(keeper, seat, suspects)
        self.max_concurrency: int = max_concurrency
        if paced:
            self.when_free = partial(_when_free, seat)

    def _async_link(self) -> AsyncLink:
        """The way to it. Raises UnavailableError if there is none: what died together is not tried again together."""
        link = self._seat.link
        assert isinstance(link, AsyncLink)  # noqa: S101 - it is made as such
        if not link.process.alive:
            raise self._keeper.error(link)
        return link

    def _died_of_some(self, process: ModelProcess, requests: Sequence[InferRequest]) -> None:
        """The process has died of what it was executing, this among it."""
        if not process.alive and len(process.executing) == 1:
            self._suspects.died(requests)


class IsolatedAsyncInstance(_AsyncIsolated):
    """Executes batches."""

    separate = False

    async def execute_async(self, tensors: Any, requests: Sequence[InferRequest]) -> Any:
        """Execute a batch."""
        self._suspects.check(requests)
        link = self._async_link()
        process = link.process
        number, fields = self._begin(process, requests)
        try:
            groups = tensors if self.separate else (tensors,)
            message = await link.ask_async(Kind.EXECUTE, number, fields, groups)
        except NotSentError:
            raise process.error() from None
        except UnavailableError:
            self._died_of_some(process, requests)
            raise
        finally:
            process.executing.pop(number, None)
        take_back(message.fields, message.groups, requests)
        return answers_of(message.fields, message.groups, separate=self.separate)


class IsolatedSeparateAsyncInstance(IsolatedAsyncInstance):
    """Executes batches in which each request has tensors of its own."""

    separate = True


class IsolatedAsyncStreamInstance(_AsyncIsolated):
    """Answers requests any number of times."""

    async def stream_async(
        self, tensors: Tensors, request: InferRequest
    ) -> AsyncIterator[Tensors | StreamedResponse]:
        """Yield the responses to a request."""
        requests = (request,)
        self._suspects.check(requests)
        link = self._async_link()
        process = link.process
        number, fields = self._begin(process, requests, stream=True)
        try:
            message = await link.ask_async(Kind.EXECUTE, number, fields, (tensors,))
            while not message.fields.get("end"):
                yield response_of(message.fields, message.groups, request)
                del message
                message = await link.ask_async(Kind.NEXT, number)
        except GeneratorExit:
            # Of a process that is gone there is nothing to be closed.
            with suppress(NotSentError):
                await link.ask_async(Kind.CLOSE, number)
            raise
        except NotSentError:
            raise process.error() from None
        except UnavailableError:
            self._died_of_some(process, requests)
            raise
        finally:
            process.executing.pop(number, None)


class IsolatedAsyncStreamsInstance(_AsyncIsolated):
    """Answers batches of requests, each of them any number of times."""

    def streams_async(
        self, tensors: Sequence[Tensors], requests: Sequence[InferRequest]
    ) -> "Sequence[_Responses]":
        """The responses to each request."""
        link = self._async_link()
        streams = [_Responses(self, link, request) for request in requests]
        begun: list[_Responses] = []
        groups: list[Tensors] = []
        fields: list[Any] = []
        for stream, inputs in zip(streams, tensors, strict=True):
            try:
                fields += stream.begin()
            except ServingError as error:
                # One that is not to be executed any more fails alone.
                stream.failure = error
            else:
                begun.append(stream)
                groups.append(inputs)
        numbers = [stream.number for stream in begun]
        if begun:
            try:
                replies = link.begin(Kind.EXECUTE, numbers, {"streams": numbers, "requests": fields}, groups)
            except BaseException as error:
                for stream in begun:
                    stream.end()
                if isinstance(error, NotSentError):
                    raise link.process.error() from None
                raise
            for stream, reply in zip(begun, replies, strict=True):
                stream.reply = reply
        return streams

    def begin_one(self, process: ModelProcess, request: InferRequest) -> tuple[int, list[Any]]:
        """One request begins, as a stream of its own: its number, and what the process is told of it."""
        self._suspects.check((request,))
        number, fields = self._begin(process, (request,))
        return number, fields.get("requests", [{}])

    def died_of_some(self, process: ModelProcess, request: InferRequest) -> None:
        """A stream has ended because its process did."""
        self._died_of_some(process, (request,))


class _Responses:
    """The responses to one request of a batch."""

    def __init__(self, owner: IsolatedAsyncStreamsInstance, link: AsyncLink, request: InferRequest) -> None:
        self._owner = owner
        self._link = link
        self._request = request
        self.number = 0
        self.failure: ServingError | None = None
        # To what was asked last; None if nothing is asked now.
        self.reply: asyncio.Future[Message] | None = None
        self._over = False
        # Whether the last response was marked as that: whatever becomes of the process now, all has been said.
        self._final = False

    def begin(self) -> list[Any]:
        """What the process is told of it. Raises ServingError if it is not to be executed."""
        self.number, fields = self._owner.begin_one(self._link.process, self._request)
        return fields

    def end(self) -> None:
        """It is over."""
        self._over = True
        self._link.process.executing.pop(self.number, None)

    def __aiter__(self) -> "_Responses":
        return self

    async def __anext__(self) -> Tensors | StreamedResponse:
        if self.failure is not None:
            raise self.failure
        if self._over or self._final:
            raise StopAsyncIteration
        try:
            message = await self._next()
        except BaseException as error:
            if isinstance(error, UnavailableError):
                self._owner.died_of_some(self._link.process, self._request)
            self.end()
            raise
        if message.fields.get("end"):
            self.end()
            raise StopAsyncIteration
        response = response_of(message.fields, message.groups, self._request)
        self._final = isinstance(response, StreamedResponse) and response.final
        return response

    async def _next(self) -> Message:
        reply, self.reply = self.reply, None
        if reply is not None:
            return checked(await reply)
        try:
            return await self._link.ask_async(Kind.NEXT, self.number)
        except NotSentError:
            raise self._link.process.error() from None

    async def aclose(self) -> None:
        """Nobody takes more of them."""
        if self.failure is not None or self._over:
            return
        try:
            # What has been asked for comes before it can be closed.
            if self.reply is None or not (await self._next()).fields.get("end"):
                await self._link.ask_async(Kind.CLOSE, self.number)
        except (ServingError, NotSentError):
            # It is over.
            pass
        finally:
            self.end()
