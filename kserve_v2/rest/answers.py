"""Answers over ASGI: whole ones, and server-sent events."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
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
    write: Callable[[InferResponse], Awaitable[Sequence[bytes]]],
    call: Call,
    send: Send,
) -> None:
    """Send an event for each response as soon as it is there. `write`: the data of one, in parts. An error is an event,
    too; if it comes first, it is also the answer's status.
    """

    async def end_with(error: ServingError) -> None:
        await _send_error(error, call, send)
        await send(_LAST)

    async with aclosing(responses):
        try:
            async for response in responses:
                # Within an event, another one would be a part of it.
                call.end_with = None
                if response.error is not None:
                    await _send_error(response.error, call, send)
                else:
                    if not call.started:
                        call.executed(response)
                    await _send_event(await write(response), 200, call, send)
                call.end_with = end_with
        except Exception as error:  # noqa: BLE001 - the client is told in the form that it expects
            call.end_with = None
            await _send_error(known(error), call, send)
    call.end_with = None
    if not call.started:
        await _start(200, [(b"content-type", _EVENTS)], call, send)
    await send(_LAST)


async def _send_error(error: ServingError, call: Call, send: Send) -> None:
    if call.trace is not None:
        call.trace.error = error.message
    await _send_event((error_body(error.message),), error.code.value.http, call, send)


async def _send_event(data: Sequence[bytes], status: int, call: Call, send: Send) -> None:
    """One event, with which the answer may begin."""
    if not call.started:
        await _start(status, [(b"content-type", _EVENTS)], call, send)
    parts: Sequence[bytes] = (b"data: ", *data, b"\n\n")
    for part in parts if sum(map(len, parts)) > JOIN_BYTES else (b"".join(parts),):
        await send({"type": "http.response.body", "body": part, "more_body": True})


async def _start(status: int, headers: Headers, call: Call, send: Send) -> None:
    call.started = True
    if call.access is not None:
        call.access.status = status
    await send({"type": "http.response.start", "status": status, "headers": headers})
