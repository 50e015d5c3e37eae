"""Control calls that a page of another site has a browser send, without the operator's leave.

A browser sends plain POST requests to any address for any page, also to a server that listens on the loopback alone; it
only keeps the answers from the page. That would be enough to have models unloaded. Other clients say nothing of
origins, and are not affected. Requests to models are not looked at: they change nothing, and their answers stay hidden.
"""

import ipaddress
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from kserve_v2.errors import PermissionDeniedError
from kserve_v2.rest.errors import error_response

Headers = Iterable[tuple[bytes, bytes]]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({"same-origin", "none"})


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


def foreign_origin(headers: Headers) -> str | None:
    """The origin of the page of another site that has sent a request, None if no page has, or one of the server's own.

    Sec-Fetch-Site says it where browsers send it (https://www.w3.org/TR/fetch-metadata/), over HTTPS and to the
    loopback. Elsewhere the host of the origin is compared with that which was asked.
    """
    found = {name: value.decode("latin-1") for name, value in headers}
    origin = found.get(b"origin")
    site = found.get(b"sec-fetch-site")
    if site is not None:
        return None if site in _OWN else origin or "another site"
    if origin is None or _host(origin) == found.get(b"host", "").lower():
        return None
    return origin


def rebound_name(headers: Headers, server: str) -> str | None:
    """The name by which a page has reached an address of this machine alone, if it is none of the machine's own; None
    if there is no such page. `server`: the address that was reached.

    Whoever owns a name can have it point here once their page is loaded: to the browser, page and server are of one
    site then.
    """
    found = {name: value.decode("latin-1") for name, value in headers}
    if b"origin" not in found or not _is_loopback(server):
        return None
    name = _host_name(found.get(b"host", ""))
    if _address(name) is not None or name == "localhost" or name.endswith(".localhost"):
        return None
    return name or "no host"


def _is_loopback(text: str) -> bool:
    found = _address(text)
    return found is not None and (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _host_name(host: str) -> str:
    """Without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return host


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
