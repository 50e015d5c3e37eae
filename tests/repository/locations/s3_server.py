"""A real S3 server, moto's, and a proxy in front of it that breaks what goes through it."""

import http.client
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from moto.server import ThreadedMotoServer

# moto looks at who writes, and not at the signature.
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, "
    "Signature=none"
}
SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'


@dataclass
class Bucket:
    """One bucket: objects are put past the proxy, and read through it."""

    name: str
    direct: str
    proxied: str

    @property
    def url(self) -> str:
        """In Triton's form."""
        return f"s3://{self.proxied}/{self.name}"

    def put(self, key: str, content: bytes | str = b"content") -> None:
        """Write an object."""
        # Not as the client likes it, who would take `..` and `//` out.
        connection = http.client.HTTPConnection(self.direct.removeprefix("http://"))
        try:
            connection.request("PUT", f"/{self.name}/{key}", content, SIGNED)
            assert connection.getresponse().status == 200
        finally:
            connection.close()

    def delete(self, key: str) -> None:
        """Remove an object."""
        assert httpx.delete(f"{self.direct}/{self.name}/{key}", headers=SIGNED).status_code == 204


# What a fault makes of an answer: the status, the length that is announced, and the body.
Fault = Callable[[int, bytes], tuple[int, int, bytes]]


def cut(status: int, body: bytes) -> tuple[int, int, bytes]:
    """The connection breaks in the middle."""
    return status, len(body), body[: len(body) // 2]


def truncated(status: int, body: bytes) -> tuple[int, int, bytes]:
    """Half of it, and nothing says so."""
    return status, len(body) // 2, body[: len(body) // 2]


def corrupted(status: int, body: bytes) -> tuple[int, int, bytes]:
    """One bit is another."""
    return status, len(body), bytes([body[0] ^ 1]) + body[1:]


def slow_down(status: int, body: bytes) -> tuple[int, int, bytes]:
    """Throttled."""
    return 503, len(SLOW_DOWN), SLOW_DOWN


def forbidden(status: int, body: bytes) -> tuple[int, int, bytes]:
    """Not let in."""
    return 403, 0, b""


@dataclass
class Proxy:
    """Passes requests on. `faults`: by the end of the path, what is done to the next answers."""

    port: int = 0
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Path and range of each GET that asks for content."""
    before: Callable[[str], None] = lambda path: None
    """Called with the path before each request is passed on."""

    def fault(self, path: str) -> Fault | None:
        """What to do to the next answer for a path."""
        for end, faults in self.faults.items():
            if path.endswith(end) and faults:
                return faults.pop(0)
        return None

    def reset(self) -> None:
        """No faults, and nothing seen."""
        self.faults, self.requests, self.before = {}, [], lambda path: None

    @property
    def read(self) -> list[str]:
        """The paths of the objects that were read."""
        return [path for path, _ in self.requests]


@contextmanager
def running_proxy(backend: str) -> Iterator[Proxy]:
    """A proxy in front of a server."""
    proxy = Proxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def _forward(self) -> None:
            path = self.path.partition("?")[0]
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length)
            proxy.before(path)
            connection = http.client.HTTPConnection(backend)
            try:
                connection.request(self.command, self.path, sent, dict(self.headers.items()))
                answer = connection.getresponse()
                body = answer.read()
            finally:
                connection.close()
            listing = "list-type" in self.path or "location" in self.path
            is_content = self.command == "GET" and not listing
            if is_content:
                proxy.requests.append((path, self.headers.get("Range", "")))
            status, announced = answer.status, len(body)
            fault = proxy.fault(path if is_content else f"LIST {path}" if self.command == "GET" else "")
            if fault is not None:
                status, announced, body = fault(status, body)
            self.send_response(status)
            for name, value in answer.getheaders():
                if name.lower() not in {
                    "content-length",
                    "transfer-encoding",
                    "connection",
                    "date",
                    "server",
                }:
                    self.send_header(name, value)
            if self.command == "HEAD":
                self.send_header("Content-Length", answer.getheader("Content-Length") or "0")
                self.end_headers()
                return
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(body)
            if len(body) < announced:
                self.wfile.flush()
                self.close_connection = True

        do_GET = do_HEAD = do_POST = _forward  # noqa: N815 - as http.server calls them

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def running_s3() -> Iterator[str]:
    """moto's server; `host:port`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"{host}:{port}"
    finally:
        server.stop()
