"""Which page has had a browser send a request, as far as its headers say it, and whose pages may read an answer."""

import ipaddress
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

Headers = Iterable[tuple[bytes, bytes]]

_OWN = frozenset({"same-origin", "none"})


def readable_by(headers: Headers, origins: Collection[str]) -> str | None:
    """The origin to whose pages an answer is shown that no application has made, `*` for all; None for none. `headers`:
    those of the request, as far as they have been read.
    """
    origin = next((value.decode("latin-1") for name, value in headers if name == b"origin"), None)
    if origin is None:
        return None
    return "*" if "*" in origins else origin if origin in origins else None


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
