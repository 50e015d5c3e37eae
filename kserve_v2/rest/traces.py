"""Traces of requests that come over REST."""

import time
from collections.abc import Mapping
from typing import Protocol

from starlette.types import Message, Receive, Scope, Send

from kserve_v2.tracing.trace import Trace


class RequestTracer(Protocol):
    """Who has requests traced; see `Tracer`."""

    on: bool
    """Whether any request may be traced."""

    def begin(self, model: str, headers: Mapping[str, str], start: str, start_ns: int) -> Trace | None:
        """The trace of a request, None if it is not to be traced."""
        ...

    def finish(self, trace: Trace) -> None:
        """The request is answered, or nobody waits for it any more."""
        ...


def begin_trace(tracer: RequestTracer, model: str, scope: Scope) -> Trace | None:
    """The trace of a request whose body is about to be read, None if it is not to be traced."""
    if not tracer.on:
        return None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return tracer.begin(model, headers, "HTTP_RECV_START", time.monotonic_ns())


def observed(trace: Trace, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """The two ends of a connection, which note in `trace` when the body is read and the answer is sent."""

    async def observed_receive() -> Message:
        message = await receive()
        if not message.get("more_body"):
            trace.stamp("HTTP_RECV_END")
        return message

    async def observed_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            trace.stamp("HTTP_SEND_START")
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            trace.stamp("HTTP_SEND_END")

    return observed_receive, observed_send
