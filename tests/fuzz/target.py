"""Sending bytes to a server, and what every answer has to be."""

import http.client
import json
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from tests.conftest import RunningServer

MAX_INPUT_BYTES = 4 * 1024 * 1024

CORPUS = Path(__file__).parent / "corpus"

# No request here is slow: a server that takes longer hangs.
_TIMEOUT_SECONDS = 60

# Answers of the transport, which any path can give.
_TRANSPORT_STATUSES = {400, 408, 431}


@dataclass(frozen=True)
class Answer:
    """An answer over HTTP/1.1."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The JSON part of the body."""
        length = self.headers.get("inference-header-content-length")
        return json.loads(self.body if length is None else self.body[: int(length)])


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A request that is the last of its connection."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def exchange(server: RunningServer, request: bytes) -> Answer:
    """The answer to one complete request, over a connection of its own."""
    with connect(server.rest) as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())


def throw(address: str, data: bytes) -> bytes:
    """Send bytes that need not mean anything, and leave; returns what has been answered until then."""
    received = b""
    with connect(address) as connection, suppress(ConnectionError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            received += part
    return received


def connect(address: str) -> socket.socket:
    """A connection. While a server is replaced, which takes a moment, its port refuses them."""
    host, port = address.removeprefix("http://").removesuffix("/metrics").split(":")
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        try:
            return socket.create_connection((host, int(port)), timeout=_TIMEOUT_SECONDS)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nobody listens on {address}"


def check_answer(server: RunningServer, request: bytes) -> Answer:
    """Send one request. The status of its answer is documented and no defect, and its body what the status says."""
    answer = exchange(server, request)
    method, target = request.split(b" ", 2)[:2]
    documented = _documented(server.rest, method.decode().lower(), unquote(target.decode().partition("?")[0]))
    assert answer.status in documented | _TRANSPORT_STATUSES
    assert answer.status != 500 or b"Unable to open shared memory region" in answer.body, answer
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/event-stream"):
        _check_events(answer)
    elif answer.status >= 400:
        assert kind == "application/json"
        assert isinstance(answer.json["error"], str)
    elif answer.body:
        assert kind == ("application/octet-stream" if _is_binary(answer) else "application/json")
        assert answer.json is not None
    return answer


def _is_binary(answer: Answer) -> bool:
    return "inference-header-content-length" in answer.headers


def _check_events(answer: Answer) -> None:
    events = answer.body.decode().split("\n\n")
    assert events.pop() == ""
    for event in events:
        assert event.startswith("data: ")
        assert isinstance(json.loads(event.removeprefix("data: ")), dict)


@cache
def openapi(rest: str) -> dict[str, Any]:
    """The server's own description."""
    document: dict[str, Any] = httpx.get(f"{rest}/openapi.json").json()
    return document


def _documented(rest: str, method: str, path: str) -> set[int]:
    """The statuses that the description has for a method of a path; for what it does not have, 404 and 405."""
    for template, methods in openapi(rest)["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if re.fullmatch(pattern, path):
            return {int(status) for status in methods.get(method, {"responses": {"405": {}}})["responses"]}
    return {404, 405}


def resident_bytes(server: RunningServer) -> int:
    """Memory of the server's process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) * 1024


def corpus(folder: str) -> dict[str, bytes]:
    """The inputs that once went wrong, and those that tell a new reader what is meant, by name."""
    return {path.stem: path.read_bytes() for path in sorted((CORPUS / folder).iterdir())}
