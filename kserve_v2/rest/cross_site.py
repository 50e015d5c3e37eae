"""Calls from pages of other origins: their answers, which browsers hide from them unless the server says otherwise, and
control calls without the operator's leave.

A browser sends plain POST requests to any address for any page, also to a server that listens on the loopback alone; it
only keeps the answers from the page. That would be enough to have models unloaded. Other clients say nothing of
origins, and are not affected. Requests to models are not looked at: they change nothing, and their answers stay hidden.
"""

from collections.abc import Collection, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from kserve_v2.errors import PermissionDeniedError
from kserve_v2.net.origins import foreign_origin
from kserve_v2.rest.errors import error_response

# What a page may read of an answer beside its body.
_EXPOSED_HEADERS = ("Inference-Header-Content-Length", "Content-Encoding", "Retry-After")

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class OwnPagesOnly:
    """An application whose calls that change something are refused to pages of other sites."""

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        """`allowed`: origins whose pages may call the server; `*` for all of them."""
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and scope["method"] not in _SAFE:
            origin = foreign_origin(scope["headers"])
            if origin is not None and not self._allowed & {origin, "*"}:
                error = PermissionDeniedError(
                    f"a page of {origin} may not do this: start the server with --http-cors-allow-origin to allow it"
                )
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def allow_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """`app`, with the answers to preflight requests, and the headers that let pages of `origins` read its answers."""
    return CORSMiddleware(
        app, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], expose_headers=_EXPOSED_HEADERS
    )
