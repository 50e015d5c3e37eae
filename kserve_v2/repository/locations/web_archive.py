"""An archive on a web server, by the standard library: proxies of the environment are used, no other schemes than HTTP
are, and nothing goes from HTTPS to HTTP.
"""

import base64
import email.utils
import http.client
import re
import urllib.error
import urllib.request
from typing import IO
from urllib.parse import unquote, urlsplit

from kserve_v2.repository.locations.manifest import Item, Manifest
from kserve_v2.repository.locations.store import RefusedError, UnreachableError, unreachable, without_secrets

_TIMEOUT_S = 60.0
_RANGE = re.compile(r"bytes (?P<start>[0-9]+)-[0-9]+/(?P<size>[0-9]+)")
_FORBIDDEN, _NOT_FOUND, _PARTIAL = {401, 403}, {404, 410}, 206


class WebArchive:
    """One archive by its URL. Used on several threads."""

    def __init__(self, url: str, file_name: str) -> None:
        self.shown = without_secrets(url)
        self._file_name = file_name
        parts = urlsplit(url)
        self._headers = {"User-Agent": "kserve-v2", "Accept-Encoding": "identity"}
        if parts.username is not None:
            # urllib would take it for a part of the host.
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(),
        ):
            self._opener.add_handler(handler)

    def whole(self) -> Manifest | None:
        """The archive as it is now; None if it is not there. Raises UnreachableError."""
        try:
            # Not HEAD: URLs that are signed are so for GET.
            with self._open({"Range": "bytes=0-0"}) as response:
                return Manifest((self._item(response),), archive=True)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise unreachable(error, self.shown) from error

    def _item(self, response: http.client.HTTPResponse) -> Item:
        headers = response.headers
        told = _RANGE.fullmatch(headers.get("Content-Range", ""))
        size = told["size"] if response.status == _PARTIAL and told else headers.get("Content-Length")
        if size is None:
            raise UnreachableError("the web server does not tell how large the archive is")
        modified = headers.get("Last-Modified", "")
        tag = headers.get("ETag", "") or modified
        when = email.utils.parsedate_to_datetime(modified).timestamp() if modified else 0.0
        return Item(self._file_name, self._file_name, int(size), tag, None, when)

    def read(self, item: Item, start: int, end: int) -> bytes:
        """See `Store`."""
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if item.tag.startswith('"'):
            # Of another content nothing is wanted.
            headers["If-Match"] = item.tag
        with self._open(headers) as response:
            if response.status != _PARTIAL:
                # It gives the whole of it, whatever is asked for.
                _skip(response, start)
            return response.read(end - start)

    def counts(self, item: Item) -> bool:
        """See `Store`."""
        return True

    def _open(self, headers: dict[str, str]) -> http.client.HTTPResponse:
        request = urllib.request.Request(self._url, headers={**self._headers, **headers})  # noqa: S310 - two schemes
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _NOT_FOUND:
                raise FileNotFoundError(self.shown) from None
            if error.code in _FORBIDDEN:
                raise PermissionError(f"HTTP {error.code}") from None
            raise OSError(f"HTTP {error.code}") from None
        return response


def _skip(response: http.client.HTTPResponse, size: int) -> None:
    while size:
        passed = len(response.read(min(size, 1 << 20)))
        if not passed:
            raise OSError("the answer ends before what was asked for")
        size -= passed


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirection from HTTPS to anything else, and gives no password to another host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request that follows."""
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in {before.scheme, "https"}:
            raise RefusedError("a redirection leads away from HTTPS")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and before.netloc != after.netloc:
            following.remove_header("Authorization")
        return following
