"""The servers that the integration tests share. Started once; their models are in `handlers`."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel, launch
from tests.integration import handlers
from tests.integration.grpc_requests import Channel
from tests.integration.support import DTYPES, json_tensor

MAX_INPUT_BYTES = 16 * 1024 * 1024

_SHORT_QUEUE = "dynamic_batching { default_queue_policy { max_queue_size: 1 } }"

# Long, so that what is to be executed is executed on any machine: what is to expire asks for less.
_OWN_WAIT = """
dynamic_batching {
  default_queue_policy { default_timeout_microseconds: 600000000 allow_timeout_override: true }
}
"""

_BATCHER_CONFIG = """
dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 60000000 }
"""


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    """Models that work, for the server of most tests."""
    root = tmp_path_factory.mktemp("models")
    for datatype in DTYPES:
        write_model(root, f"id_{datatype.lower()}", handlers.identity(datatype, [-1]))
    write_model(root, "bat", handlers.identity("FP32", [3], max_batch_size=4))
    write_model(root, "batcher", handlers.identity("FP32", [1], max_batch_size=4), _BATCHER_CONFIG)
    write_model(root, "two", handlers.TWO)
    write_model(root, "opt", handlers.OPTIONAL, handlers.OPTIONAL_CONFIG)
    write_model(root, "failing", handlers.FAILING)
    write_model(root, "gated", handlers.GATED)
    write_model(root, "gated_short_queue", handlers.GATED, _SHORT_QUEUE)
    write_model(root, "gated_own_wait", handlers.GATED, _OWN_WAIT)
    for number in (1, 2, 3):
        write_model(root, "versions", handlers.versioned(number), "version_policy { all { } }", number)
    for name in ("a b", "modèle", "50%", "a%2Fb"):
        write_model(root, name, handlers.identity("INT32", [-1]))
    (write_model(root, "classes", handlers.CLASSES, handlers.CLASSES_CONFIG) / "labels.txt").write_text(
        "cat\ndog\nbird\n"
    )
    return root


@pytest.fixture(scope="session")
def server(start_server: StartServer, repository: Path) -> RunningServer:
    """A server with all models loaded."""
    return start_server(repository, f"--http-max-input-size={MAX_INPUT_BYTES}")


@dataclass(frozen=True)
class ExplicitServer:
    """A server whose models are loaded on request, and its repository."""

    server: RunningServer
    root: Path
    write_model: WriteModel

    def write(self, name: str, code: str, config: str = "", version: int = 1) -> Path:
        """Put a handler model into the repository; returns the model's directory."""
        return self.write_model(self.root, name, code, config, version)

    def load(self, name: str, **options: object) -> httpx.Response:
        """Ask for a load; `options` as httpx takes them. It may import torch, in each process, on a busy machine."""
        options = {"timeout": 120, **options}
        return self.server.post(f"/v2/repository/models/{quote(name)}/load", **options)

    def unload(self, name: str) -> httpx.Response:
        """Ask for an unload."""
        return self.server.post(f"/v2/repository/models/{quote(name)}/unload")

    def unload_all(self) -> None:
        """Unload what is loaded, and what has failed to load."""
        for entry in self.server.post("/v2/repository/index").json():
            if "state" in entry and entry.get("reason") != "unloaded":
                answer = self.unload(entry["name"])
                assert answer.status_code == 200, answer.text

    def index(self, name: str) -> list[dict[str, str]]:
        """What the repository index says of one model."""
        entries = self.server.post("/v2/repository/index").json()
        return [entry for entry in entries if entry["name"] == name]


StartExplicit = Callable[..., ExplicitServer]


@pytest.fixture(scope="session")
def start_explicit(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> StartExplicit:
    """Starts a server without models, with these flags besides."""

    def start(*flags: str) -> ExplicitServer:
        root = tmp_path_factory.mktemp("explicit")
        return ExplicitServer(start_server(root, "--model-control-mode=explicit", *flags), root, write_model)

    return start


@pytest.fixture(scope="session")
def explicit_server(start_explicit: StartExplicit) -> ExplicitServer:
    """A server that starts without models."""
    return start_explicit()


@pytest.fixture
def explicit(explicit_server: ExplicitServer) -> Iterator[ExplicitServer]:
    """The same server; what a test has loaded, or failed to load, is unloaded after it."""
    yield explicit_server
    explicit_server.unload_all()


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[Channel]:
    """A gRPC connection to `server`."""
    with Channel(server) as made:
        yield made


@pytest.fixture(scope="module")
def explicit_channel(explicit_server: ExplicitServer) -> Iterator[Channel]:
    """A gRPC connection to `explicit_server`."""
    with Channel(explicit_server.server) as made:
        yield made


@pytest.fixture
def server_survives(server: RunningServer) -> Iterator[None]:
    """After the test, `server` still answers good requests on every port."""
    yield
    assert server.process.poll() is None, "the server has ended"
    answer = server.infer("bat", {"inputs": [json_tensor("IN", "FP32", [1, 3], [1, 2, 3])]})
    assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, [1, 2, 3])
    with Channel(server) as channel:
        live = channel.method("ServerLive", pb.ServerLiveResponse)
        assert live(pb.ServerLiveRequest(), timeout=60).live
    assert server.client.get(server.metrics).status_code == 200


@pytest.fixture
def later() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a blocking call on a thread."""
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit


Start = Callable[..., RunningServer]


@pytest.fixture
def start(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts servers on `tmp_path`, which end with the test at the latest."""
    servers: list[RunningServer] = []

    def start(*flags: str) -> RunningServer:
        servers.append(launch(tmp_path_factory.mktemp("log"), tmp_path, *flags))
        return servers[-1]

    yield start
    for server in servers:
        server.stop(signal.SIGKILL)
