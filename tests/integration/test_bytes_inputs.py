"""A handler gets BYTES as an object array of `bytes`, whichever way they come."""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.utils.shared_memory as shm

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.grpc_requests import Channel, request_of, tensor
from tests.integration.rest_requests import post_binary

# Says what it got, and writes to it.
TYPES = """
class Model:
    inputs = {"IN": ("BYTES", [-1])}
    outputs = {"OUT": ("BYTES", [-1])}
    max_batch_size = %d

    def __call__(self, inputs):
        array = inputs["IN"]
        said = [f"{type(array).__name__} {array.dtype} {type(each).__name__} {each!r}" for each in array.flat]
        array[...] = b"written"
        array.flat = said
        return {"OUT": array}
"""

VALUES = [b"", b"plain", "ŝ – \U0001f600".encode(), b"\x00nul\x00"]
ENCODED = b"".join(struct.pack("<I", len(value)) + value for value in VALUES)
EXPECTED = [f"ndarray object bytes {value!r}" for value in VALUES]

Ask = Callable[[RunningServer, str, list[int]], list[str]]


def read(encoded: bytes) -> list[str]:
    values = []
    while encoded:
        (length,) = struct.unpack_from("<I", encoded)
        values.append(encoded[4 : 4 + length].decode())
        encoded = encoded[4 + length :]
    return values


def over_rest(server: RunningServer, model: str, shape: list[int]) -> list[str]:
    texts = [value.decode() for value in VALUES]
    body = {"inputs": [{"name": "IN", "datatype": "BYTES", "shape": shape, "data": texts}]}
    answer = server.infer(model, body)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["outputs"][0]["data"])


def over_rest_in_binary(server: RunningServer, model: str, shape: list[int]) -> list[str]:
    size = {"binary_data_size": len(ENCODED)}
    header = {"inputs": [{"name": "IN", "datatype": "BYTES", "shape": shape, "parameters": size}]}
    answer = post_binary(server, model, header, ENCODED)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["outputs"][0]["data"])


def over_grpc_raw(server: RunningServer, model: str, shape: list[int]) -> list[str]:
    with Channel(server) as channel:
        answer = channel.infer(request_of(model, tensor("IN", "BYTES", shape), raw=[ENCODED]))
    return read(answer.raw_output_contents[0])


def over_grpc_typed(server: RunningServer, model: str, shape: list[int]) -> list[str]:
    with Channel(server) as channel:
        answer = channel.infer(request_of(model, tensor("IN", "BYTES", shape, bytes_contents=VALUES)))
    return read(answer.raw_output_contents[0])


def in_shared_memory(server: RunningServer, model: str, shape: list[int]) -> list[str]:
    region = shm.create_shared_memory_region("bytes", f"bytes_{os.getpid()}", len(ENCODED), create_only=True)
    try:
        shm.set_shared_memory_region(region, [np.frombuffer(ENCODED, np.uint8)])
        with triton.InferenceServerClient(server.rest.removeprefix("http://")) as client:
            client.register_system_shared_memory("bytes", f"bytes_{os.getpid()}", len(ENCODED))
            sent = triton.InferInput("IN", shape, "BYTES")
            sent.set_shared_memory("bytes", len(ENCODED))
            answer = client.infer(model, [sent])
            assert Path("/dev/shm", f"bytes_{os.getpid()}").read_bytes() == ENCODED  # noqa: S108
            client.unregister_system_shared_memory("bytes")
        return [each.decode() for each in answer.as_numpy("OUT").ravel().tolist()]
    finally:
        shm.destroy_shared_memory_region(region)


@pytest.fixture(scope="module")
def bytes_server(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("bytes")
    write_model(root, "flat", TYPES % 0)
    write_model(root, "batched", TYPES % 4)
    return start_server(root, "--allow-client-shm=true")


@pytest.mark.parametrize(("model", "shape"), [("flat", [4]), ("batched", [2, 2])])
@pytest.mark.parametrize(
    "ask", [over_rest, over_rest_in_binary, over_grpc_raw, over_grpc_typed, in_shared_memory]
)
def test_a_handler_gets_bytes(bytes_server: RunningServer, ask: Ask, model: str, shape: list[int]) -> None:
    for _ in range(3):  # requests like earlier ones go ways of their own
        assert ask(bytes_server, model, shape) == EXPECTED
