"""The client for REST. It reads leniently and keeps what it saw: judging answers is the cases' business."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from kserve_v2_conformance.exchange import Exchange, show_body
from kserve_v2_conformance.findings import Checks, UnreadableAnswer
from kserve_v2_conformance.repeat import LONGEST_BODY, curl

HEADER_LENGTH = "Inference-Header-Content-Length"
TIMEOUT_SECONDS = 60.0
_SHOWN_HEADERS = ("content-type", "inference-header-content-length", "content-encoding")


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """One answer: its status, its headers by lower-case name, its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """The media type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def header_length(self) -> int | None:
        """Length of the JSON part where binary tensors follow. Raises UnreadableAnswer if it is no such length."""
        text = self.headers.get(HEADER_LENGTH.lower())
        if text is None:
            return None
        if not text.isdecimal() or int(text) > len(self.body):
            raise UnreadableAnswer(f"{HEADER_LENGTH} is {text!r} for a body of {len(self.body)} bytes")
        return int(text)

    def json(self) -> Any:
        """The JSON of the body. Raises UnreadableAnswer."""
        text = self.body[: self.header_length]
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableAnswer(f"the body is no JSON: {error}; it is {show_body(text)!r}") from None

    def object(self) -> dict[str, Any]:
        """The JSON object of the body. Raises UnreadableAnswer."""
        value = self.json()
        if not isinstance(value, dict):
            raise UnreadableAnswer(f"the body is no JSON object; it is {show_body(self.body)!r}")
        return value

    def says(self, member: str, value: bool) -> bool:
        """Whether the body is an object with this member."""
        try:
            return bool(self.object().get(member) is value)
        except UnreadableAnswer:
            return False

    @property
    def error(self) -> str | None:
        """The text of an error body, or None if the body is none."""
        try:
            text = self.object().get("error")
        except UnreadableAnswer:
            return None
        return text if isinstance(text, str) else None


def base_url(text: str) -> str:
    """The URL below which the protocol's paths begin: people give it with and without `/v2` or a scheme.

    >>> base_url("http://localhost:8000/v2/"), base_url("localhost:8000"), base_url("https://host/serving")
    ('http://localhost:8000', 'http://localhost:8000', 'https://host/serving')
    """
    url = text.strip().rstrip("/").removesuffix("/v2").rstrip("/")
    return url if "://" in url else f"http://{url}"


class RestClient:
    """Requests to one server. `checks` receives every exchange of the running case; it may be replaced at any time."""

    def __init__(self, url: str, connections: int = 100) -> None:
        self.url = base_url(url)
        self.checks = Checks()
        # Servers may close a connection at any time after an answer; a request that meets such an end is sent again.
        self._http, self._fresh = _client(url, connections, connections), _client(url, connections, 0)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
        self._fresh.close()

    def get(self, path: str) -> RestAnswer:
        """GET."""
        return self.send("GET", path)

    def post(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> RestAnswer:
        """POST. `body`: bytes as they are, None for an empty one, anything else as JSON."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        media_type = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        return self.send("POST", path, content, {"Content-Type": media_type, **(headers or {})})

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> RestAnswer:
        """Send one request and keep the exchange. Raises UnreadableAnswer if no answer comes."""
        headers = dict(headers or {})
        shown_request = _show_request(method, path, body, headers)
        # A long body is not kept: only its size would be told.
        kept = body if len(body) <= LONGEST_BODY else bytes(len(body))
        exchange = Exchange("REST", shown_request, partial(curl, self.url + path, method, headers, kept))
        self.checks.exchanges.append(exchange)
        answer = self.request(method, path, body, headers, exchange)
        lines = [
            f"{answer.status}",
            *(f"{n}: {answer.headers[n]}" for n in _SHOWN_HEADERS if n in answer.headers),
        ]
        length = answer.headers.get(HEADER_LENGTH.lower(), "")
        shown = show_body(answer.body, int(length) if length.isdecimal() else None)
        exchange.answer = "\n".join([*lines, "", shown]).rstrip()
        return answer

    def request(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        exchange: Exchange | None = None,
    ) -> RestAnswer:
        """Send one request without keeping it, so from any thread. Raises UnreadableAnswer if no answer comes."""
        content, url = body or None, self.url + path
        try:
            try:
                answer = self._http.request(method, url, content=content, headers=dict(headers))
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                answer = self._fresh.request(method, url, content=content, headers=dict(headers))
        except httpx.HTTPError as error:
            if exchange is not None:
                exchange.answer = f"(no answer: {type(error).__name__}: {error})"
            raise UnreadableAnswer(f"no answer to {method} {path}: {type(error).__name__}: {error}") from None
        return RestAnswer(
            answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content
        )


def _show_request(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> str:
    length = headers.get(HEADER_LENGTH, "")
    lines = [f"{method} {path}", *(f"{name}: {value}" for name, value in headers.items())]
    shown = show_body(body, int(length) if length.isdecimal() else None) if body else ""
    return "\n".join([*lines, "", shown]).rstrip()


def _client(url: str, connections: int, kept_alive: int) -> httpx.Client:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=kept_alive)
    # Reading the certificates takes longer than many a case: only where they are needed.
    return httpx.Client(
        timeout=TIMEOUT_SECONDS,
        limits=limits,
        trust_env=False,
        verify=url.startswith("https:"),
        # Compressed answers are for the cases that ask for them.
        headers={"Accept-Encoding": "identity"},
    )
