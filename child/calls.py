"""Calls of other models, which the server makes for this process. See `kserve_v2.backend.ModelCaller`.

A call has a number of this process's. Its answers are asked for one by one, so that the other model is never far ahead.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import suppress
from typing import Any

from .channel.channel import Channel
from .channel.messages import ChannelClosed, Kind, Message
from .executing import Executing
from .host import Host, Json

Take = Callable[[Any], None]

_OF_A_REQUEST = ("model_name", "model_version", "id", "parameters", "requested_outputs", "control")


class Calls:
    """The calls that are under way. From any thread, and any event loop."""

    def __init__(self, side: Channel, host: Callable[[], Host], executing: Executing) -> None:
        """`host`: who knows what the model expects."""
        self._side = side
        self._host = host
        self._executing = executing
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        # Who waits for the next answer to a call, by its number.
        self._waiting: dict[int, Take] = {}

    # --- what the model does ----------------------------------------------------------------------------------------

    def call(self, request: Any, serving: Sequence[Any]) -> Any:
        """The answer of a model that gives one. Blocks."""
        self._refuse_on_loop("call", "await call_async(...)")
        number = next(self._numbers)
        return self._response(
            self._wait(number, lambda: self._begin(number, request, serving, streams=False))
        )

    async def call_async(self, request: Any, serving: Sequence[Any]) -> Any:
        """As `call`. Cancelling it gives the call up."""
        number = next(self._numbers)
        return self._response(
            await self._wait_async(number, lambda: self._begin(number, request, serving, streams=False))
        )

    def stream(self, request: Any, serving: Sequence[Any]) -> Generator[Any, None, None]:
        """All responses of any model."""
        self._refuse_on_loop("stream", "async for ... in stream_async(...)")
        number = next(self._numbers)
        message = self._wait(number, lambda: self._begin(number, request, serving, streams=True))
        while (response := self._response(message)) is not None:
            over = False
            try:
                yield response
                over = True
            finally:
                if not over:
                    self._give_up(number)
            message = self._wait(number, lambda: self._side.send(Kind.NEXT, number))

    async def stream_async(self, request: Any, serving: Sequence[Any]) -> AsyncGenerator[Any, None]:
        """As `stream`."""
        number = next(self._numbers)
        message = await self._wait_async(number, lambda: self._begin(number, request, serving, streams=True))
        while (response := self._response(message)) is not None:
            over = False
            try:
                yield response
                over = True
            finally:
                if not over:
                    self._give_up(number)
            message = await self._wait_async(number, lambda: self._side.send(Kind.NEXT, number))

    def ask(self, kind: Kind, fields: Json, groups: Sequence[Any] = ()) -> Message:
        """Ask the server itself for something, and wait for its reply. Raises as a call does."""
        number = next(self._numbers)
        message = self._wait(number, lambda: self._side.send(kind, number, fields, groups))
        self._raise_error(message)
        return message

    # --- what comes of it -------------------------------------------------------------------------------------------

    def take(self, message: Message) -> None:
        """The server has answered. On the thread that reads from it."""
        with self._lock:
            waiting = self._waiting.pop(message.number, None)
        if waiting is not None:
            waiting(message)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _begin(self, number: int, request: Any, serving: Sequence[Any], *, streams: bool) -> None:
        fields = {name: getattr(request, name) for name in _OF_A_REQUEST}
        fields = {name: value for name, value in fields.items() if value}
        fields["serving"] = self._executing.places(serving)
        if streams:
            fields["stream"] = True
        self._side.send(Kind.CALL, number, fields, [request.inputs])

    def _wait(self, number: int, send: Callable[[], None]) -> Message:
        answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._send(number, answers.put, send)
        try:
            return answers.get()
        except BaseException:
            self._give_up(number)
            raise

    async def _wait_async(self, number: int, send: Callable[[], None]) -> Message:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Message] = loop.create_future()

        def set_answer(message: Message) -> None:
            if not answer.done():
                answer.set_result(message)

        def take(message: Message) -> None:
            # Whoever closes its event loop has stopped waiting.
            if not loop.is_closed():
                loop.call_soon_threadsafe(set_answer, message)

        self._send(number, take, send)
        try:
            return await answer
        except BaseException:
            self._give_up(number)
            raise

    def _send(self, number: int, take: Take, send: Callable[[], None]) -> None:
        with self._lock:
            self._waiting[number] = take
        try:
            send()
        except BaseException:
            with self._lock:
                self._waiting.pop(number, None)
            raise

    def _give_up(self, number: int) -> None:
        with self._lock:
            self._waiting.pop(number, None)
        with suppress(ChannelClosed):
            self._side.send(Kind.CLOSE, number)

    def _refuse_on_loop(self, method: str, instead: str) -> None:
        """A call that blocks would stop all that runs on this thread's event loop."""
        if asyncio._get_running_loop() is not None:
            text = f"'{method}' would block the event loop that runs on this thread: in async handlers use {instead}"
            raise self._host().error({"kind": "InternalError", "text": text})

    def _response(self, message: Message) -> Any:
        """The response in a message; None at the end of a stream. Raises the error that it tells of."""
        self._raise_error(message)
        if message.fields.get("end"):
            return None
        return self._host().response(message.fields, message.groups[0])

    def _raise_error(self, message: Message) -> None:
        if message.kind is Kind.ERROR:
            raise self._host().error(message.fields)
