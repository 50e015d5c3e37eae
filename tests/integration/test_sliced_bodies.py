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
from tests.integration.handlers import ECHO
from tests.integration.support import error_of, json_tensor, metric, wait_until

pytestmark = pytest.mark.slow

COUNT = 60_000
X = (np.random.default_rng(7).standard_normal(COUNT) * 1e6).astype(np.float32)
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


def test_clients_that_leave(server: RunningServer) -> None:
    """What they have sent is let go: the fixture looks at that."""
    place = httpx.URL(server.urls["REST"])
    for _ in range(5):
        with socket.create_connection((place.host, place.port), timeout=60) as connection:
            head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(JSON)}\r\n\r\n"
            connection.sendall(head.encode() + JSON)
    assert output(post(server, JSON)).tobytes() == X.tobytes()
