"""Control calls that a page of another site has a browser send, without the operator's leave.

A browser sends plain POST requests to any address for any page, also to a server that listens on the loopback alone; it
only keeps the answers from the page. That would be enough to have models unloaded. Other clients say nothing of
origins, and are not affected. Requests to models are not looked at: they change nothing, and their answers stay hidden.
"""

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from kserve_v2.errors import PermissionDeniedError
from kserve_v2.net.origins import foreign_origin
from kserve_v2.rest.errors import error_response

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
