"""What is made in slices counts as in flight while others have their turns, and is given back; and the server exits when
all is made.
"""

import asyncio
import gzip
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.net.answer_text import Parts
from kserve_v2.processes.answering.infer import InferAnswering
from kserve_v2.processes.heads import sized
from kserve_v2.rest.compression import decompressed
from kserve_v2.rest.endpoint import Call
from kserve_v2.rest.heads import InferHeads
from kserve_v2.rest.infer import Infer
from kserve_v2.scheduling.slices import LARGE_BYTES, Slicer, Slices
from kserve_v2.server import Server
from kserve_v2.settings.settings import Settings
from tests.slices import counted

PLAIN = b" " * 3_000_000
BODY = gzip.compress(PLAIN)


def test_without_room_the_rest_is_decompressed_in_one_go() -> None:
    asked: list[int] = []

    def room(size: int) -> bool:
        asked.append(size)
        return len(asked) <= most

    most = 1000
    count, plain = counted(decompressed(BODY, b"gzip", 10**7, room))
    # Each is made, and then put behind those before it.
    assert (count, plain, sum(asked)) == (2 * len(asked) - 1, PLAIN, len(PLAIN))
    for most in (0, 2):
        asked.clear()
        assert counted(decompressed(BODY, b"gzip", 10**7, room)) == (most, PLAIN)


MODEL = SimpleNamespace(
    signature=SimpleNamespace(verbatim=False, model_name="m"), splits=False, decoupled=False
)


@pytest.mark.parametrize("limit", [10**9, len(BODY) + 1])
def test_a_compressed_body_over_asgi(limit: int) -> None:
    inflight = InflightBytes(limit)
    service: Any = SimpleNamespace(
        acquire=lambda *_, **__: MODEL, inflight=inflight, shared_memory=None, slicer=Slicer()
    )
    call = Call("m", "", {b"content-encoding": b"gzip"}, (), BODY, None)
    seen = set()

    async def send(message: Any) -> None:
        raise AssertionError(message)

    async def main() -> None:
        task = asyncio.create_task(Infer(service, 10**7)(call, send))
        while not task.done():
            await asyncio.sleep(0)
            seen.add(inflight.used)
        with pytest.raises(InvalidArgumentError, match="document is empty"):
            await task

    asyncio.run(main())
    # Without room, nobody has a turn before it is decoded.
    assert max(seen) == (len(BODY) + len(PLAIN) if limit == 10**9 else 0)
    assert inflight.used == 0


class Lane:
    """Takes down what is in flight when it is asked to prepare a body."""

    log_access = False

    def __init__(self, limit: int) -> None:
        self.heads = InferHeads(10**7)
        self.inflight = InflightBytes(limit)
        self.seen: list[int] = []

    def takes(self, head: object) -> bool:
        return True

    def prepare(self, head: object, body: object, share: object, **more: object) -> None:
        self.seen.append(self.inflight.used)

    def infer(self, head: object, body: object, **more: object) -> Parts:
        return (b"answer",)


@pytest.mark.parametrize("fits", [True, False])
def test_a_large_body_that_another_process_has_read(fits: bool) -> None:
    lane: Any = Lane(LARGE_BYTES if fits else LARGE_BYTES - 1)
    answers: list[bytes] = []
    link: Any = SimpleNamespace(answer=lambda number, parts: answers.append(b"".join(parts)))
    lines = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LARGE_BYTES
    app: Any = None
    InferAnswering(app, lane, app).open(link, 1, sized(lines) + bytes(LARGE_BYTES))
    assert lane.seen == ([LARGE_BYTES] if fits else [])
    assert lane.inflight.used == 0
    assert answers[0].startswith(b"answer" if fits else b"HTTP/1.1 413")


def test_a_server_exits_when_all_answers_are_written(tmp_path: Path) -> None:
    """Their models are done with them, but they may take longer than there is for slow readers."""
    settings = Settings(
        model_repository=(tmp_path,), http_port=0, allow_grpc=False, allow_metrics=False, processes=1
    )
    ends: list[object] = []

    async def main() -> None:
        server = Server(settings)
        await server.start()
        stopping: asyncio.Task[bool] | None = None

        def written() -> Slices[str]:
            for _ in range(3000):
                if stopping is not None and stopping.done():
                    return "too late"
                yield
            return "in time"

        slicer = server.service.slicer
        slicer.begin(written(), ends.append)
        stopping = asyncio.create_task(server.stop())
        assert await stopping
        await slicer.idle()

    asyncio.run(main())
    assert ends == ["in time"]


ECHO = """
class Model:
    inputs = {"X": ("FP32", [-1])}
    outputs = {"Y": ("FP32", [-1])}
    def __call__(self, inputs):
        return {"Y": inputs["X"]}
"""
NUMBERS = b"[" + b",".join([b"1.5"] * 300_000) + b"]"
FORMS = {
    "/v2/models/echo/generate": b'{"X":%b}',
    "/v2/models/echo/generate_stream": b'{"X":%b}',
    "/v2/models/echo/infer": b'{"inputs":[{"name":"X","datatype":"FP32","shape":[300000],"data":%b}]}',
    "/v2/models/echo/infer_stream": b'{"inputs":[{"name":"X","datatype":"FP32","shape":[300000],"data":%b}]}',
    "/v1/models/echo:predict": b'{"inputs":%b}',
}


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("path", FORMS)
def test_a_body_that_is_being_read_when_the_server_is_told_to_exit(
    tmp_path: Path, path: str, leaves: bool
) -> None:
    """It is answered, and it counts as in flight until then; or it is let go if its client leaves."""
    (tmp_path / "echo" / "1").mkdir(parents=True)
    (tmp_path / "echo" / "1" / "model.py").write_text(ECHO)
    settings = Settings(
        model_repository=(tmp_path,), http_port=0, allow_grpc=False, allow_metrics=False, processes=1,
        http_fast_lane=False,
    )  # fmt: skip
    body = FORMS[path] % NUMBERS

    async def main() -> None:
        server = Server(settings, owns_process=False)
        await server.start()
        try:
            inflight, slicer = server.service.inflight, server.service.slicer
            place = urlsplit(server.urls["REST"])
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(
                b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body))
                + body
            )
            while not slicer._works:  # noqa: ASYNC110 - it is to be one of these turns
                await asyncio.sleep(0)
            assert inflight.used >= len(body)
            if leaves:
                writer.close()
            stopping = asyncio.create_task(server.stop())
            answer = await reader.read() if not leaves else b""
            assert await stopping
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        finally:
            await server.stop()
        assert inflight.used == 0
        assert inflight.refused == 0
        if not leaves:
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.count(b"1.5") == 300_000

    asyncio.run(main())
