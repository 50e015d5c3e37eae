"""The ASGI application of a worker, which hands its requests to the home as they come, and its answers back."""

import asyncio
from collections import deque

from starlette.types import Receive, Scope, Send

from kserve_v2.errors import ServingError, UnfinishedError
from kserve_v2.net.attended import Attended
from kserve_v2.net.coming_body import COMING_BODY
from kserve_v2.processes.accepted import Accepted, Counted
from kserve_v2.processes.bodies import Body
from kserve_v2.processes.frames import Payload
from kserve_v2.processes.heads import expects_go_ahead, has_body, read_answer, scope_head
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link, Party
from kserve_v2.processes.window import Window
from kserve_v2.rest.errors import error_response


class ForwardingApp:
    """Everything is the home's to answer."""

    def __init__(self, link: Link, accepted: Accepted) -> None:
        """`accepted`: where requests with a body are counted."""
        self._link = link
        self._accepted = accepted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. When the client leaves, the home is told."""
        asked = _Asked(self._link, self._accepted)
        with Attended(scope) as attended:
            try:
                error = await asked.forward(scope, receive, send)
            except asyncio.CancelledError:
                if attended.take_back():
                    return
                error = UnfinishedError("Server exiting: the request was not finished in time")
            finally:
                asked.give_up()
        # What has begun ends without its end, and the connection with it.
        if error is not None and not asked.started:
            await error_response(error)(scope, receive, send)


class _Asked(Party):
    """One request. `started`: its answer has begun."""

    def __init__(self, link: Link, accepted: Accepted) -> None:
        self.started = False
        self._link = link
        self._accepted = accepted
        # Once all of its body is there.
        self._counted: Counted | None = None
        self._given_up = False
        self._number = 0
        self._window = Window()
        self._messages: deque[tuple[int, Payload]] = deque()
        self._wake = asyncio.Event()
        self._error: ServingError | None = None
        self._over = False

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> ServingError | None:
        """Ask, and pass the answer on. Returns the error that has ended that."""
        headers = scope["headers"]
        with_body = has_body(headers)
        if expects_go_ahead(headers):
            # Who reads the body says that it may come.
            self._window = Window(0)
        if with_body and COMING_BODY in scope:
            scope[COMING_BODY].when_whole(self._whole)
        try:
            head = scope_head(scope, has_body=with_body)
            self._number = self._link.ask(Kind.HTTP, (head,), self)
        except ServingError as error:
            return error
        sending = asyncio.create_task(self._send_body(receive)) if with_body else None
        try:
            await self._answer(send)
        finally:
            if sending is not None:
                sending.cancel()
        return self._error

    async def _send_body(self, receive: Receive) -> None:
        # To ask for the body says that it may come.
        await self._window.room()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                # The application finds that out by itself, or is cancelled.
                return
            more = message.get("more_body", False)
            body, kind = message.get("body", b""), Body.PART
            if not more:
                self._whole()
                accepted = self._counted is not None and self._counted.accepted
                kind = Body.LAST_ACCEPTED if accepted else Body.LAST
            await self._window.room()
            self._window.spend(len(body))
            self._link.send(self._number, kind, (body,))

    def _whole(self) -> None:
        """All of the body is there now, however long there is no room for it, or for what stands before its end."""
        if self._counted is None and not self._given_up:
            self._counted = self._accepted.take()

    async def _answer(self, send: Send) -> None:
        """Pass on what comes, no faster than the client takes it."""
        while True:
            while self._messages:
                kind, payload = self._messages.popleft()
                if kind == Body.HEAD:
                    # Whatever answers has it.
                    self._end()
                    status, headers = read_answer(bytes(payload))
                    self.started = True
                    await send({"type": "http.response.start", "status": status, "headers": headers})
                    continue
                last = kind == Body.LAST
                await send({"type": "http.response.body", "body": payload, "more_body": not last})
                if last:
                    return
                self._link.credit(self._number, len(payload))
                # It is not kept while the next one is waited for.
                del payload
            if self._over:
                return
            self._wake.clear()
            await self._wake.wait()

    def give_up(self) -> None:
        """Nobody waits for the answer any more, if there is still one to come."""
        self._given_up = True
        self._end()
        self._link.cancel(self._number)

    def _end(self) -> None:
        if self._counted is not None:
            self._counted.end()

    def message(self, kind: int, payload: Payload) -> None:
        self._messages.append((kind, payload))
        self._wake.set()

    def answered(self, payload: Payload) -> None:
        self.message(Body.LAST, payload)

    def failed(self, error: ServingError) -> None:
        self._error = error
        self._over = True
        self._end()
        self._window.open()
        self._wake.set()

    def credited(self, size: int) -> None:
        self._window.credit(size)
