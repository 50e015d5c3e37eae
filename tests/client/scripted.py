"""A server that says what it is told to: for what no real one can be made to do."""

import http.server
import json
import threading
from collections import deque
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """What a client has sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Scripted:
    """Takes down what it is asked. Its answers: by path, one after the other, the last one again and again; each is a
    status, headers and a body: JSON, or bytes as they are.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[str, deque[tuple[int, dict[str, str], Any]]] = {}
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.asked.append(Asked(self.command, self.path, headers, body))
                answers = server.answers.get(self.path) or deque([(404, {}, {"error": f"no {self.path}"})])
                status, more, content = answers[0] if len(answers) == 1 else answers.popleft()
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                if status == 0:
                    # It hangs up.
                    self.wfile.write(data)
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                for name, value in more.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815 - as the base class has it

            def log_message(self, *arguments: object) -> None:
                """Nothing is said."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, path: str, *contents: Any, status: int = 200, **headers: str) -> None:
        """Answer a path with these, one after the other."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault(path, deque()).extend((status, named, content) for content in contents)

    def reset(self) -> None:
        """Forget all."""
        self.asked.clear()
        self.answers.clear()

    def paths(self) -> list[str]:
        """What was asked, in order."""
        return [asked.path for asked in self.asked]

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
