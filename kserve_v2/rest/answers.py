"""Answers over ASGI: whole ones, and server-sent events."""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from starlette.types import Message, Send

from kserve_v2.errors import ServingError
from kserve_v2.messages import InferResponse
from kserve_v2.net.answer_text import JOIN_BYTES, Parts
from kserve_v2.rest.endpoint import Call, Headers
from kserve_v2.rest.errors import error_body, known

_EVENTS = b"text/event-stream; charset=utf-8"
_LAST: Message = {"type": "http.response.body", "body": b""}


async def send_answer(headers: Headers, parts: Parts, call: Call, send: Send, status: int = 200) -> None:
    """Send an answer whose body is there, in parts; `headers` say its length."""
    await _start(status, headers, call, send)
    last = len(parts) - 1
    for number, part in enumerate(parts):
        await send({"type": "http.response.body", "body": part, "more_body": number < last})


async def send_events(
    responses: AsyncGenerator[InferResponse, None],
    write: Callable[[InferResponse], Awaitable[Parts]],
    call: Call,
    send: Send,
) -> None:
    """Send an event for each response as soon as it is there. `write`: the data of one, in parts. An error is an event,
    too; if it comes first, it is also the answer's status.
    """
    events = _Events(call, send)
    async with aclosing(responses):
        try:
            async for response in responses:
                if response.error is not None:
                    await events.send_error(response.error)
                else:
                    if not call.started:
                        call.executed(response)
                    await events.send(await write(response), 200)
        except Exception as error:  # noqa: BLE001 - the client is told in the form that it expects
            # With that it ends.
            call.end_with = None
            await events.send_error(known(error))
    call.end_with = None
    if not call.started:
        await _start(200, [(b"content-type", _EVENTS)], call, send)
    await send(_LAST)


class _Events:
    """Events that are sent one after the other."""

    def __init__(self, call: Call, send: Send) -> None:
        self._call = call
        self._send = send
        # Of the event that is being sent. Within it, another one would be a part of it.
        self._unsent: deque[bytes | memoryview] = deque()

    async def send(self, data: Parts, status: int) -> None:
        """Send an event, with which the answer may begin."""
        if not self._call.started:
            await _start(status, [(b"content-type", _EVENTS)], self._call, self._send)
            self._call.end_with = self._end_with
        parts: Parts = (b"data: ", *data, b"\n\n")
        self._unsent.extend(parts if sum(map(len, parts)) > JOIN_BYTES else (b"".join(parts),))
        await self._send_unsent()

    async def send_error(self, error: ServingError) -> None:
        """Send an event that says what is wrong."""
        if self._call.trace is not None:
            self._call.trace.error = error.message
        await self.send((error_body(error.message),), error.code.value.http)

    async def _end_with(self, error: ServingError) -> None:
        await self._send_unsent()
        await self.send_error(error)
        await self._send(_LAST)

    async def _send_unsent(self) -> None:
        while self._unsent:
            # Who is cancelled here has waited until it may be sent.
            await self._send({"type": "http.response.body", "body": self._unsent[0], "more_body": True})
            self._unsent.popleft()


async def _start(status: int, headers: Headers, call: Call, send: Send) -> None:
    call.started = True
    if call.access is not None:
        call.access.status = status
    await send({"type": "http.response.start", "status": status, "headers": headers})
