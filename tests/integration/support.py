"""What several integration tests need: tensors with edge values, a gate for slow models, raw connections."""

import http.client
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx
import ml_dtypes
import numpy as np

from tests.conftest import RunningServer

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"INT{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    "FP16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}


def _edge_values(datatype: str) -> list[Any]:
    dtype = DTYPES[datatype]
    if datatype == "BOOL":
        return [True, False, True]
    if datatype == "BYTES":
        return [b"", b"plain", b"nul \x00 inside", "ŝ – \U0001f600".encode(), b"x" * 1000]
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return [limits.min, limits.min + 1, 0, 1, limits.max - 1, limits.max]
    limits = ml_dtypes.finfo(dtype)
    return [0.0, -0.0, 0.1, 1.0, limits.smallest_subnormal, limits.min, limits.max, np.inf, -np.inf, np.nan]


EDGE_VALUES: dict[str, Array] = {
    datatype: np.array(_edge_values(datatype), dtype=dtype) for datatype, dtype in DTYPES.items()
}
"""For each datatype, a flat array of the values at which implementations go wrong."""


def same(left: Array, right: Array) -> bool:
    """Whether two arrays have the same bits: NaN equals itself, -0.0 is not 0.0."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return left.tolist() == right.tolist() if left.dtype == np.object_ else left.tobytes() == right.tobytes()


def json_tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    """An input of a REST request."""
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def error_of(response: httpx.Response) -> str:
    """The message of an error answer, whose form is checked."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)
    return body["error"]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return when `condition`, which asks a server, holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"


def statistics(server: RunningServer, model: str) -> dict[str, Any]:
    """The statistics of a model that has one version."""
    [entry] = server.get(f"/v2/models/{model}/stats").json()["model_stats"]
    return dict(entry)


def metric(server: RunningServer, name: str, **labels: str) -> float:
    """The value of one sample of /metrics."""
    wanted = {f'{label}="{value}"' for label, value in labels.items()}
    for line in server.client.get(server.metrics).text.splitlines():
        head, _, value = line.rpartition(" ")
        if head.startswith(f"{name}{{") and wanted <= set(head.partition("{")[2].rstrip("}").split(",")):
            return float(value)
    raise AssertionError(f"no sample {name} with {labels}")


def pending(server: RunningServer, model: str) -> int:
    """How many requests wait in a model's queue."""
    return int(metric(server, "nv_inference_pending_request_count", model=model))


# --- models that wait ---------------------------------------------------------------------------------------

_tags = itertools.count(1)


def new_tag() -> int:
    """A number that no other request to a gated model has."""
    return next(_tags)


def gated_request(tag: int, port: int = 0) -> dict[str, Any]:
    """A request to a gated model; `port` of the gate that it waits at, 0 for none."""
    return {
        "inputs": [json_tensor("PORT", "INT32", [1, 1], [port]), json_tensor("TAG", "INT64", [1, 1], [tag])]
    }


def executed_tags(server: RunningServer, model: str) -> list[int]:
    """Tags of all that the gated model has executed, the question itself included."""
    answer = server.infer(model, gated_request(new_tag())).json()
    tags: list[int] = json.loads(answer["outputs"][0]["data"][0])
    return tags


class Gate:
    """A place where a gated model waits: it has started when it connects, and goes on when the gate opens."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(100)
        self._waiting: list[socket.socket] = []

    @property
    def port(self) -> int:
        """What a request has to name."""
        return int(self._listener.getsockname()[1])

    def await_start(self) -> None:
        """Return when one execution has arrived here."""
        self._waiting.append(self._listener.accept()[0])

    def open(self) -> None:
        """Let those that have arrived go on."""
        while self._waiting:
            self._waiting.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.open()
        self._listener.close()


@contextmanager
def blocked(server: RunningServer, model: str) -> Iterator[Callable[[], httpx.Response]]:
    """The model's only instance is busy inside the block; what is yielded ends that, and gives its answer."""
    # In a connection of its own: the server's client belongs to the test.
    with Gate() as gate, Wire(server) as wire:
        wire.send_infer(model, gated_request(new_tag(), gate.port))
        gate.await_start()

        def release() -> httpx.Response:
            gate.open()
            return wire.response()

        yield release


# --- raw connections ----------------------------------------------------------------------------------------


class Wire:
    """A bare TCP connection to a server's REST port (or another one), for what no HTTP client would send."""

    def __init__(self, server: RunningServer, address: str | None = None) -> None:
        host, port = (address or server.rest.removeprefix("http://")).split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self._reader = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def send_infer(self, model: str, body: dict[str, Any]) -> None:
        """Send one complete inference request."""
        self.send(infer_bytes(model, body))

    def response(self) -> httpx.Response:
        """Read one answer."""
        status = int(self._reader.readline().split()[1])
        headers = dict(http.client.parse_headers(self._reader).items())
        lengths = [value for name, value in headers.items() if name.lower() == "content-length"]
        body = self._reader.read(int(lengths[0])) if lengths and status >= 200 else b""
        return httpx.Response(status, headers=headers, content=body)

    def at_end(self) -> bool:
        """Whether the server has closed the connection and sent nothing more. Waits for either."""
        try:
            return self._reader.read(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        """Leave without a word more."""
        self._reader.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def infer_bytes(model: str, body: dict[str, Any], *headers: str) -> bytes:
    """One HTTP/1.1 inference request."""
    content = json.dumps(body).encode()
    lines = [
        f"POST /v2/models/{model}/infer HTTP/1.1", "Host: test", f"Content-Length: {len(content)}", *headers,
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
