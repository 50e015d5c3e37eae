"""Two servers with TorchServe's APIs: one where models may be registered, and one that is as closed as by default."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import RunningServer, launch
from tests.torchserve_api.support import ECHO, LAB, PARTS, PROPERTIES, mar

ANSWERED = threading.Event()
"""What the web server below waits for before it answers for archives that are called slow."""


@dataclass
class Server:
    """A server, and a client for each of its APIs."""

    running: RunningServer
    inference: httpx.Client
    management: httpx.Client
    metrics: httpx.Client

    @classmethod
    def of(cls, running: RunningServer) -> "Server":
        urls = [running.urls[f"TorchServe {name}"] for name in ("inference", "management", "metrics")]
        return cls(running, *map(client_of, urls))

    def register(self, url: str, **parameters: Any) -> httpx.Response:
        return self.management.post("/models", params={"url": url, **parameters})

    def close(self) -> int:
        for client in (self.inference, self.management, self.metrics):
            client.close()
        return self.running.stop()


def client_of(url: str) -> httpx.Client:
    """A client of a URL, or of a Unix socket."""
    if url.startswith("unix:"):
        transport = httpx.HTTPTransport(uds=url.removeprefix("unix:"))
        return httpx.Client(base_url="http://torchserve", transport=transport, timeout=60)
    return httpx.Client(base_url=url, timeout=60)


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, list[str]]]:
    """A web server with archives: its URL, its folder, and the paths that it was asked for."""
    folder = tmp_path_factory.mktemp("web")
    mar(folder, "fetched")
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path.startswith("/slow"):
                ANSWERED.wait()
            super().do_GET()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder, asked
    ANSWERED.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model store of the first server."""
    store = tmp_path_factory.mktemp("torchserve") / "store"
    mar(store, "echo", ECHO)
    mar(store, "lab", LAB)
    mar(store, "parts", PARTS)
    mar(store, "echo", ECHO, version="2.0", file="echo2.mar")
    mar(store, "broken", "def handle(data, context):\n    raise RuntimeError('secret')\n")
    mar(store, "asks", yaml="minWorkers: 1\nmaxWorkers: 2\nbatchSize: 3\nresponseTimeout: 50\n")
    (store / "junk.mar").write_text("no archive")
    return store


@pytest.fixture(scope="session")
def server(
    store: Path, web: tuple[str, Path, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """`echo`, `lab` and `parts` are loaded, with one worker each."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "metrics.yaml").write_text(
        "dimensions:\n  - &place Place\nmodel_metrics:\n  gauge:\n"
        "    - {name: Listed, unit: ms, dimensions: [*place]}\n  odd: 1\n"
    )
    (folder / "config.properties").write_text(
        f"{PROPERTIES}\nmetrics_config={folder / 'metrics.yaml'}\nmax_request_size=100000\nmax_response_size=200000\nmodel_metrics_auto_detect=true\n"
        f"allowed_urls={web[0]}/.*,file:///.*\n"
        'models={"echo": {"1.0": {"minWorkers": 1, "maxWorkers": 2}}, "lab": {"1.0": {"minWorkers": 1}}, '
        '"parts": {"1.0": {"minWorkers": 1}}}\n'
    )
    running = launch(
        folder, store, "--torchserve", "--ts-config", str(folder / "config.properties"), "--enable-model-api",
        "--models", "echo.mar", "--models", "lab.mar,parts.mar", "--torchserve-networks", "127.0.0.0/8",
    )  # fmt: skip
    started = Server.of(running)
    yield started
    assert started.close() == 0


@pytest.fixture(scope="session")
def closed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All three APIs at one address, with tokens, CORS, the Open Inference Protocol, and JSON that is left as it is. Of
    the models of its snapshot one cannot be loaded.
    """
    folder = tmp_path_factory.mktemp("closed")
    address = "".join(f"{name}_address=unix:ts.sock\n" for name in ("inference", "management", "metrics"))
    snapshot = (
        '{"name": "startup.cfg", "modelCount": 2, "models": {"named": {"1.0": {"marName": "echo.mar", "minWorkers": 1}, '
        '"2.0": {"defaultVersion": true, "marName": "lab.mar", "minWorkers": 1}}, '
        '"broken": {"1.0": {"marName": "broken.mar", "minWorkers": 1}}}}'
    )
    (folder / "config.properties").write_text(
        f"{PROPERTIES}\n{address}\nmodel_snapshot={snapshot}\nmodel_store={store}\n"
        "disable_token_authorization=false\nts_open_inference_protocol=true\ndecode_input_request=false\n"
        "cors_allowed_origin=https://app.example\ncors_allowed_methods=GET, POST\n"
    )
    running = launch(folder, None, "--torchserve", cwd=folder)
    running.urls |= {
        name: f"unix:{folder}/ts.sock" for name, url in running.urls.items() if url.startswith("unix:")
    }
    started = Server.of(running)
    yield started
    assert started.close() == 0
    assert not (folder / "key_file.json").exists()
