"""One server for the tests of the client, and clients of each kind for it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.client import AsyncClient, Client
from tests.client import models
from tests.client.scripted import Scripted
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration import handlers
from tests.integration.support import DTYPES


class Blocking:
    """An async client, asked as a sync one is."""

    def __init__(self, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._make(url, options))
        self.url = self._client.url

    @staticmethod
    async def _make(url: str, options: dict[str, Any]) -> AsyncClient:
        return AsyncClient(url, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._runner.run(method(*arguments, **options))

    def stream(self, *arguments: Any, **options: Any) -> "BlockingStream":
        return BlockingStream(self._runner, self._runner.run(self._client.stream(*arguments, **options)))

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


class BlockingStream:
    """Its answers, as a sync client has them."""

    def __init__(self, runner: asyncio.Runner, stream: Any) -> None:
        self._runner = runner
        self._stream = stream

    def __iter__(self) -> "BlockingStream":
        return self

    def __next__(self) -> Any:
        try:
            return self._runner.run(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self) -> Any:
        return await anext(self._stream)

    def close(self) -> None:
        self._runner.run(self._stream.close())


KINDS = ("rest", "grpc", "rest-async", "grpc-async")


def url_of(server: RunningServer, kind: str) -> str:
    """Of a kind of client."""
    return server.rest if kind.startswith("rest") else f"grpc://{server.grpc}"


def make_client(server: RunningServer, kind: str, **options: Any) -> Any:
    """A client of a kind."""
    make = Blocking if kind.endswith("async") else Client
    return make(url_of(server, kind), **options)


@pytest.fixture(scope="session")
def client_repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    """Models that the tests of the client ask."""
    root = tmp_path_factory.mktemp("models")
    for datatype in DTYPES:
        write_model(root, f"id_{datatype.lower()}", handlers.identity(datatype, [-1, -1]))
        write_model(root, f"rows_{datatype.lower()}", handlers.identity(datatype, [-1], max_batch_size=64))
    write_model(root, "text", handlers.identity("BYTES", [1], max_batch_size=8))
    write_model(root, "two", handlers.TWO)
    write_model(root, "picture", models.PICTURE)
    write_model(root, "failing", handlers.FAILING)
    write_model(root, "gated", handlers.GATED)
    write_model(root, "gated_short_queue", handlers.GATED, models.SHORT_QUEUE)
    write_model(root, "hwc", models.pixels("UINT8", [-1, -1, 3]))
    write_model(root, "chw", models.pixels("UINT8", [1, -1, -1], max_batch_size=4))
    write_model(root, "chw_float", models.pixels("FP32", [1, -1, -1], max_batch_size=4))
    write_model(root, "file", models.FILE)
    write_model(root, "count", models.COUNT)
    write_model(root, "endless", models.ENDLESS)
    write_model(root, "ends_badly", models.ENDS_BADLY)
    write_model(root, "odd names", models.ODD_NAMES)
    write_model(root, "parameters", models.PARAMETERS)
    write_model(root, "refuses", models.REFUSES)
    write_model(root, "sums", models.SUMS, models.SEQUENCES)
    for number in (1, 2):
        write_model(root, "versions", handlers.versioned(number), "version_policy { all { } }", number)
    (write_model(root, "classes", handlers.CLASSES, handlers.CLASSES_CONFIG) / "labels.txt").write_text(
        "cat\ndog\nbird: small\n"
    )
    return root


@pytest.fixture(scope="session")
def server(start_server: StartServer, client_repository: Path) -> RunningServer:
    """A server with all of them loaded."""
    return start_server(
        client_repository, "--model-control-mode=explicit", "--load-model=*", "--allow-file-override"
    )


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """A protocol, and a kind of client."""
    return str(request.param)


@pytest.fixture(scope="session")
def client(server: RunningServer, kind: str) -> Iterator[Any]:
    """A client of each kind."""
    made = make_client(server, kind)
    yield made
    made.close()


@pytest.fixture(scope="session", params=["rest", "grpc"])
def sync_client(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A sync client of each protocol, for what has nothing to do with the event loop."""
    with make_client(server, request.param) as made:
        yield made


@pytest.fixture(scope="session")
def scripted_server() -> Iterator[Scripted]:
    """One for all tests."""
    server = Scripted()
    yield server
    server.close()


@pytest.fixture
def scripted(scripted_server: Scripted) -> Scripted:
    """A server that says what it is told to."""
    scripted_server.reset()
    return scripted_server
