"""uvicorn's HTTP protocol, plus one thing: a request whose client has left is cancelled at once.

ASGI tells an application of a disconnect only if it waits for one, which would take a task per request.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

WAITING_TASKS = "kserve_v2.waiting_tasks"
"""Scope key of the connection's set of tasks to cancel when the client leaves. A task that is cancelled is
taken out of it.
"""


class DisconnectAwareProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection."""

    _waiting_tasks: set[asyncio.Task[None]]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        self._waiting_tasks = set()
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self.scope[WAITING_TASKS] = self._waiting_tasks  # type: ignore[literal-required]

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        while self._waiting_tasks:
            self._waiting_tasks.pop().cancel()
