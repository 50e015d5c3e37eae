"""Streams of answers, over both protocols, and what becomes of those that nobody reads to the end."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kserve_v2.client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InvalidArgumentError,
    NoServerError,
    NotFoundError,
    SequenceStep,
    ServingError,
    UnsupportedError,
)
from kserve_v2.client.description import ModelInfo, TensorInfo
from kserve_v2.client.request import Request
from kserve_v2.client.rest_stream import EventReader, EventSplitter, encode_generate
from tests.client.conftest import make_client, url_of
from tests.client.scripted import Scripted
from tests.conftest import RunningServer
from tests.integration.support import wait_until


def test_answers_as_they_come(client: Any) -> None:
    found = list(client.stream("count", to=3, text="", request_id="r"))
    assert [each["number"].tolist() for each in found] == [[0], [1], [2]]
    assert [each["word"].tolist() for each in found] == [[b"0"], [b"1"] * 2, [b"2"] * 3]
    assert {(each.id, each.model_name, each.model_version) for each in found} == {("r", "count", "1")}
    assert [list(each) for each in client.stream("count", to=1, text="", outputs=["word"])] == [["word"]]
    assert list(client.stream("count", to=0, text="")) == []


def test_a_model_that_answers_once(client: Any) -> None:
    [result] = client.stream("two", A=[1, 2], B=[3, 4])
    assert (result["X"].tolist(), result["Y"].tolist()) == ([4, 6], [-2, -2])
    [result] = client.stream("two", A=[[1, 2], [5, 6]], B=[[3, 4], [0, 0]])
    assert result["X"].tolist() == [[4, 6], [5, 6]]
    [result] = client.stream("text", IN=["ü", b"\xff\x00"])
    assert result["OUT"].tolist() == [["ü".encode()], [b"\xff\x00"]]


@pytest.mark.parametrize("shape", [(2, 3), (1, 6), (6, 1), (1, 1), (0, 3)])
def test_shapes_that_the_metadata_leaves_open(client: Any, shape: tuple[int, int]) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    try:
        [result] = client.stream("id_fp32", IN=array)
    except (NoServerError, InvalidArgumentError) as error:
        # Rather than another shape.
        assert "ask for it over gRPC" in error.message or shape == (0, 3)
    else:
        assert result["OUT"].tolist() == array.tolist()
        assert result["OUT"].shape == shape


def test_errors_of_streams(client: Any) -> None:
    with pytest.raises(ServingError, match="x must not be below 0"):
        list(client.stream("ends_badly", x=-1))
    stream = client.stream("ends_badly", x=5)
    assert next(stream)["y"].tolist() == [5]
    with pytest.raises(ServingError, match="there is no second one"):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)
    with pytest.raises(NotFoundError, match="unknown model: 'nobody'"):
        client.stream("nobody", x=1)
    with pytest.raises(InvalidArgumentError, match="has no input 'y'"):
        client.stream("ends_badly", y=1)


def test_who_leaves_a_stream_stops_the_model(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "left"
    stream = client.stream("endless", path=str(path))
    assert [next(stream)["number"].tolist() for _ in range(3)] == [[0], [1], [2]]
    stream.close()
    wait_until(path.exists)


def test_a_sync_stream_is_left_with_its_last_reference(sync_client: Client, tmp_path: Path) -> None:
    path = tmp_path / "left"
    for result in sync_client.stream("endless", path=str(path)):
        if result["number"][0] == 2:
            break
    wait_until(path.exists)
    other = tmp_path / "other"
    with sync_client.stream("endless", path=str(other)) as stream:
        next(stream)
    wait_until(other.exists)


@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_a_task_that_is_cancelled_leaves_its_stream(server: RunningServer, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "left"

    async def read(client: AsyncClient, begun: asyncio.Event) -> None:
        async with await client.stream("endless", path=str(path)) as stream:
            async for _ in stream:
                begun.set()

    async def run() -> None:
        async with AsyncClient(url_of(server, kind)) as client:
            begun = asyncio.Event()
            task = asyncio.create_task(read(client, begun))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # Others go on with the same client.
            assert (await client.infer("two", A=[1, 2], B=[3, 4]))["X"].tolist() == [4, 6]

    asyncio.run(run())
    wait_until(path.exists)


def test_the_time_of_a_stream(server: RunningServer, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "left"
    client = make_client(server, kind)
    begun = False
    with pytest.raises(DeadlineExceededError, match=r"has not answered within 0.5 s"):
        for _ in client.stream("endless", path=str(path), timeout=0.5):
            begun = True
    if begun:
        wait_until(path.exists)
    client.close()


def test_sequences_and_classes_stream_over_grpc_only(server: RunningServer) -> None:
    steps = [SequenceStep(77, start=True), SequenceStep(77, end=True)]
    with Client(f"grpc://{server.grpc}") as client:
        found = [next(client.stream("sums", x=2, sequence=step))["sum"].tolist() for step in steps]
    assert found == [[2], [4]]
    with Client(server.rest) as client, pytest.raises(UnsupportedError, match="over gRPC only"):
        client.stream("sums", x=2, sequence=steps[0])


def test_streams_of_many_threads(sync_client: Client) -> None:
    found: list[int] = []

    def read() -> None:
        found.append(sum(int(each["number"][0]) for each in sync_client.stream("count", to=5, text="")))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [10] * 8


# --- events --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_put_together(size: int) -> None:
    text = b'data: {"a":\ndata: 1}\n\n: nothing\r\n\r\ndata:{}\r\n\r\nevent: x\ndata: [\xc3\xbc]\n\n'
    splitter = EventSplitter()
    found = [
        data for start in range(0, len(text), size) for data in splitter.feed(text[start : start + size])
    ]
    assert found == [b'{"a":\n1}', b"{}", b"[\xc3\xbc]"]
    splitter.finish("here")
    list(splitter.feed(b"data: {"))
    with pytest.raises(ServingError, match="the answer of here ends within an event"):
        splitter.finish("here")


def reader(
    shape: tuple[int, ...], batched: bool | None, rows: int = 1, datatype: str = "INT32"
) -> EventReader:
    info = ModelInfo("m", {}, {"y": TensorInfo("y", datatype, shape)}, batched)
    return EventReader(info, Request("m", "", {"x": np.zeros((rows, 1))}))


@pytest.mark.parametrize(
    ("shape", "batched", "rows", "value", "expected"),
    [
        ((3,), False, 1, "[1,2,3]", (3,)),
        ((1,), False, 1, "1", (1,)),
        ((), False, 1, "1", ()),
        ((-1,), False, 1, "[]", (0,)),
        ((-1,), False, 1, "[1,2]", (2,)),
        ((-1, -1), False, 1, "1", (1, 1)),
        ((-1, -1), True, 1, "[1,2]", (1, 2)),
        ((-1, 2), True, 2, "[1,2,3,4]", (2, 2)),
        ((-1, -1), False, 1, "[[1,2]]", (1, 2)),
        ((-1, -1, -1), True, 1, "[[1,2]]", (1, 1, 2)),
        ((-1, -1), False, 1, "[1,2]", None),
        ((-1, -1, -1), True, 1, "[1,2]", None),
        ((3,), False, 1, "[1,2]", None),
        ((-1, 2), True, 2, "[1,2]", None),
        ((-1, -1), False, 1, "[[1],[1,2]]", None),
        ((1,), False, 1, "null", None),
    ],
)
def test_the_shape_of_an_output_is_known_or_an_error(
    shape: tuple[int, ...], batched: bool, rows: int, value: str, expected: Any
) -> None:
    data = f'{{"y": {value}, "model_name": "m", "model_version": "1", "z": 5}}'.encode()
    if expected is None:
        with pytest.raises(NoServerError):
            reader(shape, batched, rows).read(data)
    else:
        result = reader(shape, batched, rows).read(data)
        assert (result["y"].shape, result.parameters) == (expected, {"z": 5})


def test_a_shape_that_the_server_could_mistake_is_written_out() -> None:
    def body(shape: tuple[int, ...], array: Any, batched: bool | None) -> str:
        info = ModelInfo("m", {"x": TensorInfo("x", "INT64", shape)}, {}, batched)
        return encode_generate(Request("m", "", {"x": array}), info).decode()

    table = np.arange(4).reshape(2, 2)
    assert body((-1, -1), table, False) == '{"x": [[0, 1], [2, 3]]}'
    assert body((-1, -1), table, True) == '{"x": [[0, 1], [2, 3]]}'
    assert body((-1, 2), table, True) == '{"x": [0, 1, 2, 3]}'
    assert body((2, 2), table, False) == '{"x": [0, 1, 2, 3]}'
    assert body((-1, -1), table[:1], True) == '{"x": [0, 1]}'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"data: {\n\n", "an event of the server is no object of JSON"),
        (b"data: [1]\n\n", "an event of the server is no object of JSON"),
        (b'data: {"y": 1}', "ends within an event"),
        (b'data: {"y": ["a"]}\n\n', "an event of the server cannot be read"),
        (b'data: {"error": "broke"}\n\n', "broke"),
    ],
)
def test_events_that_make_no_sense(scripted: Scripted, content: bytes, problem: str) -> None:
    outputs = [{"name": "y", "datatype": "INT32", "shape": [1]}]
    scripted.answer("/v2/models/m", {"name": "m", "inputs": [], "outputs": outputs})
    scripted.answer("/v2/models/m/generate_stream", content, content_type="text/event-stream")
    with Client(scripted.url) as client, pytest.raises(ServingError, match=problem):
        list(client.stream("m", x=[1]))
