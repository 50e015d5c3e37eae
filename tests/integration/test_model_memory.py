"""What models do to memory, their own and that of their inputs, is no other request's affair, whichever way it comes."""

import io
import itertools
import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import tritonclient.utils.shared_memory as shm

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.grpc_requests import Channel, request_of, tensor
from tests.integration.rest_requests import post_binary, read_binary
from tests.integration.support import Array, Wire, json_tensor

SMALL, LARGE = 4, 20_000
"""Elements; a large request is read to where it is used."""

DOUBLING = """
import numpy as np

class Model:
    inputs = {{"x": ("FP32", [-1])}}
    outputs = {{"y": ("FP32", [-1])}}
    {attributes}

    {call}(self, inputs):
        x = inputs["x"]
        x *= 2
        {then}
"""

# Fails where it is asked for two rows, after it has written to its inputs.
ONE_ROW = """
class Model:
    inputs = {"x": ("FP32", [2])}
    outputs = {"y": ("FP32", [2])}
    max_batch_size = 2

    def __call__(self, inputs):
        inputs["x"] *= 2
        if len(inputs["x"]) > 1:
            raise ValueError("one at a time")
        return {"y": inputs["x"]}
"""

WORDS = """
class Model:
    inputs = {"x": ("BYTES", [-1])}
    outputs = {"y": ("BYTES", [-1])}

    def __call__(self, inputs):
        inputs["x"][:] = [word + b"!" for word in inputs["x"]]
        return {"y": inputs["x"]}
"""

# An array for all answers, which is full of something else a moment later.
REUSING = """
import numpy as np

class Model:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def load(self, context):
        self.out = np.zeros(2_000_000, np.float32)

    def __call__(self, inputs):
        y = self.out[: len(inputs["x"])]
        y[:] = inputs["x"]
        return {"y": y}
"""

ECHO = """
class Model:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1])}

    def __call__(self, inputs):
        return {"y": inputs["x"][:]}
"""


class Buffered(torch.nn.Module):
    """As REUSING."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("buf", torch.zeros(2_000_000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.buf[: x.size(0)]
        y.copy_(x)
        return y


class InPlace(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul_(2)


XY = 'input { name: "x" data_type: TYPE_FP32 dims: -1 } output { name: "y" data_type: TYPE_FP32 dims: -1 }'

DOUBLING_MODELS = {
    "doubling": DOUBLING.format(attributes="", call="def __call__", then='return {"y": x}'),
    "doubling_async": DOUBLING.format(attributes="", call="async def __call__", then='return {"y": x}'),
    "doubling_torch": DOUBLING.format(
        attributes='tensors = "torch"', call="def __call__", then='return {"y": x}'
    ),
}


def write_torchscript(root: Path, name: str, module: torch.nn.Module) -> None:
    (root / name / "1").mkdir(parents=True)
    buffer = io.BytesIO()
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(torch.jit.script(module), buffer)
    (root / name / "1" / "model.pt").write_bytes(buffer.getvalue())
    (root / name / "config.pbtxt").write_text(XY)


@pytest.fixture(scope="module")
def served(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    root = tmp_path_factory.mktemp("memory")
    for name, code in DOUBLING_MODELS.items():
        write_model(root, name, code)
    generator = DOUBLING.format(attributes="", call="def __call__", then='yield {"y": x}')
    write_model(root, "doubling_generator", generator)
    write_model(
        root, "one_row", ONE_ROW,
        "dynamic_batching { preferred_batch_size: [ 2 ] max_queue_delay_microseconds: 60000000 }",
    )  # fmt: skip
    write_model(root, "words", WORDS)
    write_model(root, "reusing", REUSING)
    write_model(root, "echo", ECHO)
    write_torchscript(root, "buffered", Buffered())
    write_torchscript(root, "doubling_script", InPlace())
    return start_server(root, "--allow-client-shm=true")


@pytest.fixture(scope="module")
def channel(served: RunningServer) -> Iterator[Channel]:
    with Channel(served) as made:
        yield made


# --- the ways in which a tensor comes ---------------------------------------------------------------------------


def by_json(served: RunningServer, channel: Channel, model: str, x: Array) -> Array:
    answer = served.infer(model, {"inputs": [json_tensor("x", "FP32", list(x.shape), x.tolist())]})
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["outputs"][0]["data"], np.float32)


def binary_header(x: Array) -> dict[str, Any]:
    described = {"name": "x", "datatype": "FP32", "shape": x.shape}
    return {
        "inputs": [{**described, "parameters": {"binary_data_size": x.nbytes}}],
        "parameters": {"binary_data_output": True},
    }


def by_binary(served: RunningServer, channel: Channel, model: str, x: Array) -> Array:
    answer = post_binary(served, model, binary_header(x), x.tobytes())
    return np.frombuffer(read_binary(answer)[1], np.float32)


def by_raw_body(served: RunningServer, channel: Channel, model: str, x: Array) -> Array:
    answer = served.post(
        f"/v2/models/{model}/infer",
        content=x.tobytes(),
        headers={"Inference-Header-Content-Length": "0"},
    )
    return np.frombuffer(read_binary(answer)[1], np.float32)


def by_grpc(served: RunningServer, channel: Channel, model: str, x: Array) -> Array:
    message = request_of(model, tensor("x", "FP32", list(x.shape)), raw=[x.tobytes()])
    return np.frombuffer(channel.infer(message).raw_output_contents[0], np.float32)


def by_typed_grpc(served: RunningServer, channel: Channel, model: str, x: Array) -> Array:
    message = request_of(model, tensor("x", "FP32", list(x.shape), fp32_contents=x.tolist()))
    return np.frombuffer(channel.infer(message).raw_output_contents[0], np.float32)


def by_stream(served: RunningServer, channel: Channel, model: str, x: Array) -> Array:
    method = channel.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )
    message = request_of(model, tensor("x", "FP32", list(x.shape)), raw=[x.tobytes()])
    first, second = method(iter([message, message]), timeout=60)
    raw = [answer.infer_response.raw_output_contents[0] for answer in (first, second)]
    assert raw[0] == raw[1]
    return np.frombuffer(raw[0], np.float32)


_keys = itertools.count()


def by_shared_memory(served: RunningServer, channel: Channel, model: str, x: Array) -> Array:
    key = f"test_memory_{os.getpid()}_{next(_keys)}"
    region = shm.create_shared_memory_region("memory", key, x.nbytes)
    try:
        shm.set_shared_memory_region(region, [x])
        body = {"key": key, "offset": 0, "byte_size": x.nbytes}
        assert served.post("/v2/systemsharedmemory/region/memory/register", json=body).status_code == 200
        place = {"shared_memory_region": "memory", "shared_memory_byte_size": x.nbytes}
        request = {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": x.shape, "parameters": place}],
            "parameters": {"binary_data_output": True},
        }
        answer = served.post(f"/v2/models/{model}/infer", content=json.dumps(request))
        assert shm.get_contents_as_numpy(region, np.float32, x.shape).tolist() == x.tolist()
        return np.frombuffer(read_binary(answer)[1], np.float32)
    finally:
        served.post("/v2/systemsharedmemory/unregister")
        shm.destroy_shared_memory_region(region)


WAYS: dict[str, Callable[[RunningServer, Channel, str, Array], Array]] = {
    "json": by_json,
    "binary": by_binary,
    "raw body": by_raw_body,
    "grpc": by_grpc,
    "typed grpc": by_typed_grpc,
    "stream": by_stream,
    "shared memory": by_shared_memory,
}

ways = pytest.mark.parametrize("send", WAYS.values(), ids=WAYS)


# --- tests ------------------------------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("model", [*DOUBLING_MODELS, "doubling_script"])
def test_a_model_may_write_to_its_inputs(
    served: RunningServer, channel: Channel, model: str, send: Callable[..., Array], size: int
) -> None:
    x = np.arange(size, dtype=np.float32)
    # The same request again, and one like it: the first has left nothing behind.
    for given in (x, x, x + 1):
        assert (send(served, channel, model, given) == given * 2).all()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_generator_may_write_to_its_inputs(channel: Channel, served: RunningServer, size: int) -> None:
    x = np.arange(size, dtype=np.float32)
    assert (by_stream(served, channel, "doubling_generator", x) == x * 2).all()


def test_one_that_is_tried_again_has_the_inputs_that_came(served: RunningServer) -> None:
    def ask(value: float) -> httpx.Response:
        body = {"inputs": [json_tensor("x", "FP32", [1, 2], [value, value])]}
        return httpx.post(f"{served.rest}/v2/models/one_row/infer", json=body, timeout=60)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(ask, (1.0, 10.0)))
    assert [answer.json()["outputs"][0]["data"] for answer in answers] == [[2, 2], [20, 20]]


def test_words_may_be_written_to(served: RunningServer, channel: Channel) -> None:
    for _ in range(2):
        answer = served.infer("words", {"inputs": [json_tensor("x", "BYTES", [2], ["a", "b"])]})
        assert answer.json()["outputs"][0]["data"] == ["a!", "b!"]
        message = request_of("words", tensor("x", "BYTES", [2], bytes_contents=[b"a", b"b"]))
        assert channel.infer(message).raw_output_contents[0] == b"\2\0\0\0a!\2\0\0\0b!"


@ways
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_echo(served: RunningServer, channel: Channel, send: Callable[..., Array], size: int) -> None:
    x = np.arange(size, dtype=np.float32)
    for given in (x, x + 1):
        assert (send(served, channel, "echo", given) == given).all()


@pytest.mark.parametrize("model", ["reusing", "buffered"])
def test_a_slow_reader_gets_what_was_meant_for_it(
    served: RunningServer, channel: Channel, model: str
) -> None:
    """More than the sockets hold is still to be sent when the model has gone on to the next request."""
    size = 2_000_000
    x = np.full(size, 7, np.float32)
    header = json.dumps(binary_header(x)).encode()
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: test\r\nContent-Length: {len(header) + x.nbytes}\r\n"
        f"Inference-Header-Content-Length: {len(header)}\r\n\r\n"
    )
    with Wire(served) as slow:
        slow.send(head.encode() + header + x.tobytes())
        # The answer has begun to come.
        assert slow.socket.recv(1, socket.MSG_PEEK) == b"H"
        for value in (8, 9):
            other = np.full(size, value, np.float32)
            assert (by_grpc(served, channel, model, other) == other).all()
        assert (np.frombuffer(read_binary(slow.response())[1], np.float32) == x).all()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["reusing", "buffered"])
def test_clients_at_the_same_time_get_their_own_numbers(served: RunningServer, model: str) -> None:
    """Small answers and large ones, over both protocols, from a model that has one buffer for all of them."""

    def ask(client: int) -> int:
        wrong = 0
        with Channel(served) as channel:
            for turn in range(8):
                size = LARGE if (client + turn) % 4 == 0 else SMALL
                x = np.full(size, client * 100 + turn, np.float32)
                send = by_grpc if turn % 2 else by_binary_alone
                wrong += not (send(served, channel, model, x) == x).all()
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 0


def by_binary_alone(served: RunningServer, channel: Channel, model: str, x: Array) -> Array:
    """In a connection of its own: the server's client belongs to the test."""
    text = json.dumps(binary_header(x)).encode()
    answer = httpx.post(
        f"{served.rest}/v2/models/{model}/infer",
        content=text + x.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(text))},
        timeout=60,
    )
    return np.frombuffer(read_binary(answer)[1], np.float32)
