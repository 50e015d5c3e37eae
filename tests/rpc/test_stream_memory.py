"""What a stream keeps in memory: nothing of what is over, without the garbage collector's help."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.errors import ServingError
from kserve_v2.rpc.stream import ERRORS_END_STREAM, ModelStreamInfer
from kserve_v2.server import Server
from kserve_v2.settings.settings import Settings
from tests.conftest import WriteModel

ELEMENTS = 100_000
REQUESTS = 20

# A client's mistake is not logged: what is logged is kept, with its traceback, by whoever captures the log.
TWICE = """
from kserve_v2.errors import InvalidArgumentError
class Model:
    inputs = {"IN": ("FP32", [-1])}
    outputs = {"OUT": ("FP32", [-1])}
    def __call__(self, inputs):
        if inputs["IN"].size == 1:
            raise InvalidArgumentError("too small")
        return {"OUT": inputs["IN"] * 2}
"""


async def turn() -> None:
    """One turn of the event loop."""
    await asyncio.sleep(0)


async def asleep(server: Server) -> None:
    """Return when the model's instance has nothing more to do."""
    while not server.service.acquire("twice")._queue._queue.idle:
        await turn()


class Client:
    """The other end of one stream."""

    def __init__(self, server: Server, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self.metadata = metadata
        self._requests: asyncio.Queue[bytes] = asyncio.Queue()
        self.answers = ModelStreamInfer(server.service).answer(self._messages(), self)
        self._statistics = server.service.acquire("twice").statistics

    def on_end(self, callback: Callable[[int, str], None]) -> None:
        """See `Context`."""

    async def _messages(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._requests.get()

    def send(self, elements: int) -> None:
        tensor = pb.ModelInferRequest.InferInputTensor(name="IN", datatype="FP32", shape=[elements])
        request = pb.ModelInferRequest(
            model_name="twice", inputs=[tensor], raw_input_contents=[bytes(4 * elements)]
        )
        self._requests.put_nowait(request.SerializeToString())

    async def executed(self, count: int) -> None:
        """Return when so many requests are."""
        while self._statistics.inference_count < count:
            await turn()


def kept_bytes(repository: Path, run: Callable[[Server], Awaitable[Any]]) -> int:
    """How much more memory is in use at the end of `run`, if that returns something, while it is still there."""

    async def measured() -> int:
        server = Server(Settings(model_repository=(repository,)))
        await server.manager.load("twice")
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            left = await run(server)
            # Until then its thread has what it has worked on. And tasks that were given up end in their next turn.
            await asleep(server)
            for _ in range(10):
                await turn()
            kept = tracemalloc.get_traced_memory()[0]
            if left is not None:
                await left.aclose()
        finally:
            tracemalloc.stop()
            gc.enable()
        await server.stop()
        return kept

    return asyncio.run(measured())


@pytest.fixture
def repository(tmp_path: Path, write_model: WriteModel) -> Path:
    write_model(tmp_path, "twice", TWICE)
    return tmp_path


def test_a_client_that_leaves_without_its_answers(repository: Path) -> None:
    async def run(server: Server) -> None:
        client = Client(server)
        for _ in range(REQUESTS):
            client.send(ELEMENTS)
        await anext(client.answers)
        await client.executed(REQUESTS)
        await client.answers.aclose()

    assert kept_bytes(repository, run) < 4 * ELEMENTS


def test_a_client_that_leaves_before_its_answers(repository: Path) -> None:
    async def run(server: Server) -> None:
        client = Client(server)
        for _ in range(REQUESTS):
            client.send(ELEMENTS)
        await anext(client.answers)
        await client.answers.aclose()

    assert kept_bytes(repository, run) < 4 * ELEMENTS


def test_a_stream_that_an_error_ends(repository: Path) -> None:
    async def run(server: Server) -> None:
        client = Client(server, ((ERRORS_END_STREAM, "true"),))
        client.send(1)
        for _ in range(REQUESTS):
            client.send(ELEMENTS)
        with pytest.raises(ServingError, match="too small"):
            await anext(client.answers)

    assert kept_bytes(repository, run) < 4 * ELEMENTS


def test_a_stream_that_idles(repository: Path) -> None:
    async def run(server: Server) -> Any:
        client = Client(server)
        for _ in range(3):
            client.send(ELEMENTS)
            await anext(client.answers)
        # It waits for the next one, as a transport does.
        waiting = asyncio.ensure_future(anext(client.answers))
        await turn()
        return Idle(client, waiting)

    assert kept_bytes(repository, run) < 4 * ELEMENTS


class Idle:
    """A stream that waits for its next answer."""

    def __init__(self, client: Client, waiting: "asyncio.Future[Any]") -> None:
        self._client = client
        self._waiting = waiting

    async def aclose(self) -> None:
        self._waiting.cancel()
        await asyncio.wait([self._waiting])
        await self._client.answers.aclose()
