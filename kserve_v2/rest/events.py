"""Answers that are server-sent events."""

from collections.abc import Sequence

from starlette.types import Send

from kserve_v2.errors import ServingError
from kserve_v2.net.answer_text import JOIN_BYTES
from kserve_v2.rest.endpoint import Call
from kserve_v2.rest.errors import error_body

_EVENTS = b"text/event-stream; charset=utf-8"


async def start_events(status: int, call: Call, send: Send) -> None:
    """Begin the answer. `status`: of all of it."""
    call.started = True
    if call.access is not None:
        call.access.status = status
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", _EVENTS)]})


async def send_error(error: ServingError, call: Call, send: Send) -> None:
    """An error is an event; if it comes first, it is also the answer's status."""
    if call.trace is not None:
        call.trace.error = error.message
    await send_event((error_body(error.message),), error.code.value.http, call, send)


async def send_event(data: Sequence[bytes], status: int, call: Call, send: Send) -> None:
    """One event, with which the answer may begin. `data`: in parts."""
    if not call.started:
        await start_events(status, call, send)
    parts: Sequence[bytes] = (b"data: ", *data, b"\n\n")
    for part in parts if sum(map(len, parts)) > JOIN_BYTES else (b"".join(parts),):
        await send({"type": "http.response.body", "body": part, "more_body": True})
