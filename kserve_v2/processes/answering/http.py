"""HTTP requests of workers, answered by the home's application."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from kserve_v2.acceptance import Acceptance, Carrying, is_accepted
from kserve_v2.errors import InternalError, ServingError, UnfinishedError
from kserve_v2.net.attended import WAITING_TASKS
from kserve_v2.processes.bodies import Body
from kserve_v2.processes.frames import Parts, Payload
from kserve_v2.processes.heads import answer_head, expects_go_ahead, read_scope
from kserve_v2.processes.link import Link, Party
from kserve_v2.processes.window import WINDOW_BYTES, Window

logger = logging.getLogger(__name__)

Begin = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Has something done by a task, which is kept until it ends."""


class AppCall(Party):
    """One request in the hands of an application, as uvicorn's request-response cycle is: see there and ASGI."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._app = app
        self._scope = scope
        # A request that is whole already has what is carried here; to any other it comes with the end of its body.
        self._acceptance = Acceptance(given=is_accepted())
        self._waiting: set[asyncio.Task[None]] = set()
        scope[WAITING_TASKS] = self._waiting
        self._task: asyncio.Task[None] | None = None
        self._body: deque[Payload] = deque()
        self._all_came = False
        self._body_read = False
        self._disconnected = False
        self._complete = False
        self._started = False
        self._wake = asyncio.Event()

    def begin(self, begin: Begin) -> None:
        """Have the application answer."""
        with Carrying(self._acceptance):
            self._task = begin(self._run())

    # --- what becomes of the answer: for subclasses ---------------------------------------------------------------

    async def send_part(self, message: Message, *, last: bool) -> None:
        """The head of the answer, or a part of its body."""
        raise NotImplementedError

    def fail(self, error: ServingError) -> None:
        """There is no answer, or no end of it."""
        raise NotImplementedError

    def taken(self, size: int) -> None:
        """The application has taken so much of the body."""

    # --- the application ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        error: ServingError = InternalError("internal error: the server's log has the details")
        try:
            await self._app(self._scope, self._receive, self._send)
        except asyncio.CancelledError:
            error = UnfinishedError("Server exiting: the request was not finished in time")
        except Exception:
            logger.exception("exception in the REST front end")
        if not self._complete and not self._disconnected:
            self.fail(error)
        self._complete = True

    async def _receive(self) -> Message:
        while not (
            self._body or self._disconnected or self._complete or (self._all_came and not self._body_read)
        ):
            self._wake.clear()
            await self._wake.wait()
        if self._disconnected or self._complete:
            return {"type": "http.disconnect"}
        parts = [*self._body]
        self._body.clear()
        body = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
        self._body_read = self._all_came
        self.taken(len(body))
        return {"type": "http.request", "body": body, "more_body": not self._all_came}

    async def _send(self, message: Message) -> None:
        if self._disconnected:
            return
        if message["type"] == "http.response.start":
            if self._started:
                raise RuntimeError("the head of the answer is sent twice")
            self._started = True
            await self.send_part(message, last=False)
            return
        if self._complete or not self._started:
            raise RuntimeError("a body is sent before the head of the answer, or after its end")
        last = not message.get("more_body", False)
        self._complete = last
        await self.send_part(message, last=last)
        if last:
            self._wake.set()

    # --- the worker -----------------------------------------------------------------------------------------------

    def message(self, kind: int, payload: Payload) -> None:
        """A part of the body."""
        if payload or kind == Body.PART:
            self._body.append(payload)
        self._all_came = kind != Body.PART
        if kind == Body.LAST_ACCEPTED:
            self._acceptance.given = True
        self._wake.set()

    def cancelled(self, reason: Payload) -> None:
        """The client has left."""
        self._disconnected = True
        self._wake.set()
        while self._waiting:
            self._waiting.pop().cancel()

    def abandon(self) -> None:
        if self._task is not None and not self._complete:
            self._task.cancel()


class HttpCall(AppCall):
    """A request that is forwarded in parts."""

    def __init__(self, link: Link, number: int, app: ASGIApp, head: Payload) -> None:
        scope, with_body = read_scope(bytes(head))
        super().__init__(app, scope)
        self._link = link
        self._number = number
        self._window = Window()
        self._owed_bytes = WINDOW_BYTES if expects_go_ahead(scope["headers"]) else 0
        if not with_body:
            self.message(Body.LAST, b"")

    async def _receive(self) -> Message:
        if self._owed_bytes:
            # Now the body may come.
            self.taken(0)
        return await super()._receive()

    def taken(self, size: int) -> None:
        size += self._owed_bytes
        self._owed_bytes = 0
        if size and not (self._all_came or self._complete):
            self._link.credit(self._number, size)

    async def send_part(self, message: Message, *, last: bool) -> None:
        link, number = self._link, self._number
        if message["type"] == "http.response.start":
            link.send(number, Body.HEAD, (answer_head(message["status"], [*message.get("headers", ())]),))
            return
        body = message.get("body", b"")
        if last:
            link.answer(number, (body,))
            return
        link.send(number, Body.PART, (body,))
        self._window.spend(len(body))
        await self._window.room()
        await link.drain()

    def fail(self, error: ServingError) -> None:
        self._link.fail(self._number, error)

    def credited(self, size: int) -> None:
        self._window.credit(size)

    def cancelled(self, reason: Payload) -> None:
        self._window.open()
        super().cancelled(reason)


class WholeCall(AppCall):
    """A request whose body is there, and whose answer is wanted in one piece."""

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        body: Payload,
        on_answer: Callable[[int, list[tuple[bytes, bytes]], Parts], None],
        on_error: Callable[[ServingError], None],
    ) -> None:
        """`on_answer` takes status, headers and body."""
        super().__init__(app, scope)
        self._on_answer = on_answer
        self._on_error = on_error
        self._head: Message = {}
        self._parts: list[Payload] = []
        self.message(Body.LAST, body)

    async def send_part(self, message: Message, *, last: bool) -> None:
        if message["type"] == "http.response.start":
            self._head = message
            return
        self._parts.append(message.get("body", b""))
        if last:
            parts, self._parts = self._parts, []
            self._on_answer(self._head["status"], [*self._head.get("headers", ())], parts)

    def fail(self, error: ServingError) -> None:
        self._on_error(error)
