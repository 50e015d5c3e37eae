"""Large JSON and compressed bodies, which are read and written in slices, are answered as small ones are."""

import gzip
import json
import socket
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import ECHO, identity
from tests.integration.support import error_of, json_tensor, metric, wait_until

pytestmark = pytest.mark.slow

COUNT = 60_000
X = (np.random.default_rng(7).standard_normal(COUNT) * 1e6).astype(np.float32)
PAIRS = """
class Model:
    inputs = {{"A": ("FP32", [{count}]), "B": ("FP32", [{count}])}}
    outputs = {{"SUM": ("FP32", [{count}]), "DIFFERENCE": ("FP32", [{count}])}}
    max_batch_size = 1_000_000
    def __call__(self, inputs):
        return {{"SUM": inputs["A"] + inputs["B"], "DIFFERENCE": inputs["A"] - inputs["B"]}}
"""
ROWS = X.reshape(-1, 4).tolist()
PATH = "/v2/models/echo/infer"
JSON = json.dumps({"inputs": [json_tensor("X", "FP32", [COUNT], X.tolist())], "id": "large"}).encode()
SMALL = json.dumps({"inputs": [json_tensor("X", "FP32", [2], [1, 2])], "id": "small"}).encode()
BINARY = json.dumps({"inputs": [{"name": "X", "datatype": "FP32", "shape": [COUNT], "parameters": {"binary_data_size": X.nbytes}}]}).encode()  # fmt: skip


@pytest.fixture(scope="module", params=["usual", "asgi", "two processes"])
def server(
    request: pytest.FixtureRequest,
    start_server: StartServer,
    write_model: WriteModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    root = tmp_path_factory.mktemp("large")
    write_model(root, "echo", ECHO)
    write_model(root, "rows", identity("FP32", [4], 1_000_000))
    write_model(root, "pairs", PAIRS.format(count=COUNT))
    write_model(root, "many", PAIRS.format(count=4))
    flags = {"usual": "--processes=1", "asgi": "--http-fast-lane=false", "two processes": "--processes=2"}
    server = start_server(root, flags[request.param])
    yield server
    wait_until(lambda: metric(server, "kserve_v2_inflight_bytes") == 0)


def post(server: RunningServer, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    return server.client.post(
        server.urls["REST"] + PATH, content=body, headers={"accept-encoding": "identity", **(headers or {})}
    )


def output(response: httpx.Response) -> Any:
    """The output as an array."""
    assert response.status_code == 200, response.text
    [found] = response.json()["outputs"]
    return np.array(found["data"], np.float32).reshape(found["shape"])


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_json_in_and_out(server: RunningServer, encoding: str) -> None:
    body = {"identity": JSON, "gzip": gzip.compress(JSON), "deflate": zlib.compress(JSON)}[encoding]
    headers = {} if encoding == "identity" else {"content-encoding": encoding}
    for accepted in ("identity", "gzip", "deflate"):
        response = post(server, body, {**headers, "accept-encoding": accepted})
        assert output(response).tobytes() == X.tobytes()
        assert response.json()["id"] == "large"
        assert response.headers.get("content-encoding", "identity") == accepted


def test_binary_in_and_compressed_out(server: RunningServer) -> None:
    response = post(
        server, BINARY + X.tobytes(), {"inference-header-content-length": str(len(BINARY)), "accept-encoding": "gzip"}
    )  # fmt: skip
    assert output(response).tobytes() == X.tobytes()


def test_numbers_that_are_not_finite(server: RunningServer) -> None:
    odd = X.copy()
    odd[[5, COUNT - 1]] = np.nan, np.inf
    body = BINARY + odd.tobytes()
    response = post(server, body, {"inference-header-content-length": str(len(BINARY))})
    assert np.array_equal(output(response), odd, equal_nan=True)
    literals = json.dumps({"inputs": [json_tensor("X", "FP32", [COUNT], odd.tolist())]}).encode()
    assert np.array_equal(output(post(server, literals)), odd, equal_nan=True)


def test_what_is_wrong_is_said_as_of_small_bodies(server: RunningServer) -> None:
    shape = post(server, JSON.replace(b"[60000]", b"[60001]"))
    assert shape.status_code == 400
    assert "shape has 60001 elements, 'data' has 60000" in error_of(shape)
    broken = post(server, JSON[:-2])
    assert broken.status_code == 400
    assert "failed to parse the request JSON buffer" in error_of(broken)
    values: list[float | str] = X.tolist()
    values[COUNT // 2] = "1"
    text = post(server, json.dumps({"inputs": [json_tensor("X", "FP32", [COUNT], values)]}).encode())
    assert "non-number as double" in error_of(text)
    damaged = post(server, gzip.compress(JSON)[:-9], {"content-encoding": "gzip"})
    assert "it ends too early" in error_of(damaged)
    missing = server.client.post(server.urls["REST"] + "/v2/models/nobody/infer", content=JSON)
    assert "unknown model" in error_of(missing)


def test_the_next_request_of_a_connection_waits(server: RunningServer) -> None:
    place = httpx.URL(server.urls["REST"])
    with socket.create_connection((place.host, place.port), timeout=60) as connection:
        for body in (JSON, SMALL, JSON, SMALL):
            head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
        stream = connection.makefile("rb")
        for expected in ("large", "small", "large", "small"):
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            size = 0
            while (line := stream.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                size = int(value) if name.lower() == b"content-length" else size
            answer = json.loads(stream.read(size))
            assert answer["id"] == expected
            assert answer["outputs"][0]["shape"] == ([COUNT] if expected == "large" else [2])


BY_NAME = {
    "generate": ("/v2/models/echo/generate", {"X": X.tolist(), "id": "large"}),
    "generate_stream": ("/v2/models/echo/generate_stream", {"id": "large", "X": X.tolist()}),
    "generate two": ("/v2/models/pairs/generate", {"A": X.tolist(), "B": X[::-1].tolist()}),
    "infer_stream": ("/v2/models/echo/infer_stream", json.loads(JSON)),
    "v1 inputs": ("/v1/models/echo:predict", {"inputs": {"X": X.tolist()}}),
    "v1 instances": ("/v1/models/rows:predict", {"instances": X.reshape(-1, 4).tolist()}),
    "v1 many rows": ("/v1/models/many:predict", {"instances": [{"A": row, "B": row[::-1]} for row in ROWS]}),
    "v1 named rows": (
        "/v1/models/pairs:predict",
        {"instances": [{"A": X.tolist(), "B": X[::-1].tolist()}] * 2},
    ),
}


def found(name: str, text: str) -> Any:
    """The tensor, or the tensors, in an answer."""
    answer = json.loads(text.removeprefix("data: "))
    if name == "infer_stream":
        return answer["outputs"][0]["data"]
    if name == "generate two":
        return {output: answer[output] for output in ("SUM", "DIFFERENCE")}
    return answer[{"generate": "Y", "generate_stream": "Y", "v1 inputs": "outputs"}.get(name, "predictions")]


def expected(name: str) -> Any:
    def row(a: Any, b: Any) -> Any:
        return {"SUM": (a + b).tolist(), "DIFFERENCE": (a - b).tolist()}

    if name == "v1 many rows":
        return [row(each, each[::-1]) for each in X.reshape(-1, 4)]
    pair = row(X, X[::-1])
    return {"v1 instances": ROWS, "v1 named rows": [pair] * 2, "generate two": pair}.get(name, X.tolist())


def as_float32(value: Any) -> Any:
    """The numbers of an answer as they were."""
    if isinstance(value, dict):
        return {name: as_float32(each) for name, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [as_float32(each) for each in value]
    return np.array(value, np.float32).tolist()


@pytest.mark.parametrize("name", BY_NAME)
def test_other_forms_of_requests(server: RunningServer, name: str) -> None:
    path, document = BY_NAME[name]
    response = server.client.post(server.urls["REST"] + path, json=document)
    assert response.status_code == 200, response.text
    assert as_float32(found(name, response.text)) == expected(name)
    if name in ("generate", "generate_stream"):
        assert json.loads(response.text.removeprefix("data: "))["id"] == "large"


@pytest.mark.parametrize("name", ["v1 inputs", "v1 instances"])
def test_v1_compressed(server: RunningServer, name: str) -> None:
    path, document = BY_NAME[name]
    headers = {"content-encoding": "gzip", "accept-encoding": "gzip"}
    response = server.client.post(
        server.urls["REST"] + path, content=gzip.compress(json.dumps(document).encode()), headers=headers
    )
    assert response.headers["content-encoding"] == "gzip"
    assert as_float32(found(name, response.text)) == expected(name)


def test_what_is_wrong_with_other_forms_is_said_as_of_small_bodies(server: RunningServer) -> None:
    def refused(path: str, document: Any) -> str:
        response = server.client.post(server.urls["REST"] + path, json=document)
        assert response.status_code == 400
        return error_of(response)

    values: list[Any] = X.tolist()
    assert "of type 'list'" not in refused("/v2/models/echo/generate", {"X": [*values, "1"]})
    assert "equally long" in refused(
        "/v1/models/rows:predict", {"instances": [*X.reshape(-1, 4).tolist(), [1, 2]]}
    )
    assert "1e+39 is out of range for FP32" in refused("/v1/models/echo:predict", {"inputs": [*values, 1e39]})
    assert "has invalid type" in refused("/v2/models/echo/generate", {"X": [1], "other": values})
    unsupported = server.client.post(
        server.urls["REST"] + "/v2/models/echo/generate",
        content=b"no gzip",
        headers={"content-encoding": "gzip"},
    )
    assert "only 'identity' is supported" in error_of(unsupported)


def test_other_forms_take_turns_on_a_connection(server: RunningServer) -> None:
    place = httpx.URL(server.urls["REST"])
    with socket.create_connection((place.host, place.port), timeout=60) as connection:
        small = {"generate": {"X": [1, 2]}, "v1 inputs": {"inputs": [1, 2]}}
        asked = [(name, body) for name in small for body in (BY_NAME[name][1], small[name])] * 2
        for name, document in asked:
            body = json.dumps(document).encode()
            head = f"POST {BY_NAME[name][0]} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
        stream = connection.makefile("rb")
        for name, document in asked:
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            size = 0
            while (line := stream.readline()) != b"\r\n":
                field, _, value = line.partition(b":")
                size = int(value) if field.lower() == b"content-length" else size
            assert len(found(name, stream.read(size).decode())) == (
                COUNT if document is BY_NAME[name][1] else 2
            )


@pytest.mark.parametrize("name", BY_NAME)
def test_clients_of_other_forms_that_leave(server: RunningServer, name: str) -> None:
    place = httpx.URL(server.urls["REST"])
    path, document = BY_NAME[name]
    body = json.dumps(document).encode()
    for _ in range(3):
        with socket.create_connection((place.host, place.port), timeout=60) as connection:
            head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
    assert output(post(server, SMALL)).tolist() == [1, 2]


def test_clients_that_leave(server: RunningServer) -> None:
    """What they have sent is let go: the fixture looks at that."""
    place = httpx.URL(server.urls["REST"])
    for _ in range(5):
        with socket.create_connection((place.host, place.port), timeout=60) as connection:
            head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(JSON)}\r\n\r\n"
            connection.sendall(head.encode() + JSON)
    assert output(post(server, JSON)).tobytes() == X.tobytes()
