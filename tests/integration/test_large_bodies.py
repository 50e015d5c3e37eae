"""Bodies that are read from the socket to where they are used: in any pieces, complete or not, and what follows them."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.grpc_requests import Channel, request_of
from tests.integration.rest_requests import HEADER_LENGTH, output_of, read_binary
from tests.integration.support import Wire, same

WHERE = """
import numpy as np

class Model:
    inputs = {"A": ("FP32", [-1]), "B": ("FP64", [-1])}
    outputs = {"SUM": ("FP64", [1]), "ALIGNED": ("BOOL", [1]), "OFFSET": ("INT64", [1])}

    def __call__(self, inputs):
        return {
            "SUM": np.array([inputs["A"].sum(dtype=np.float64) + inputs["B"].sum()]),
            "ALIGNED": np.array([inputs["A"].flags.aligned and inputs["B"].flags.aligned]),
            "OFFSET": np.array([inputs["A"].ctypes.data % 64]),
        }
"""

RNG = np.random.default_rng(5)
SENT = RNG.random(500_000, dtype=np.float32)


@pytest.fixture(scope="module")
def where(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    """A server whose model tells where its tensors are; it waits one second for a client."""
    root: Path = tmp_path_factory.mktemp("large")
    write_model(root, "where", WHERE)
    return start_server(root, "--http-read-timeout-secs=1")


def request_bytes(
    model: str, header: dict[str, Any], data: bytes, *, padding: int = 0, more_headers: str = ""
) -> tuple[bytes, bytes]:
    """The head and the body of a binary request; `padding`: spaces behind its JSON."""
    text = json.dumps(header).encode() + b" " * padding
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\n{HEADER_LENGTH}: {len(text)}\r\n"
        f"Content-Length: {len(text) + len(data)}\r\n{more_headers}\r\n"
    )
    return head.encode(), text + data


def identity_request(sent: np.ndarray[Any, Any], **more: Any) -> tuple[bytes, bytes]:
    """A binary request, both ways, to the model of its datatype."""
    tensor = {
        "name": "IN",
        "datatype": "FP32",
        "shape": [sent.size],
        "parameters": {"binary_data_size": sent.nbytes},
    }
    header = {"parameters": {"binary_data_output": True}, "inputs": [tensor]}
    return request_bytes("id_fp32", header, sent.tobytes(), **more)


def values(response: httpx.Response) -> np.ndarray[Any, Any]:
    return np.frombuffer(read_binary(response)[1], np.float32)


@pytest.mark.parametrize("cuts", [[], [1], [70_000], [65_536, 65_537, 900_000, 1_999_999]])
def test_in_pieces(server: RunningServer, cuts: list[int]) -> None:
    head, body = identity_request(SENT)
    with Wire(server) as wire:
        for _ in range(2):
            wire.send(head)
            for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
                wire.send(body[start:end])
            assert same(values(wire.response()), SENT)


def test_requests_that_follow_at_once(server: RunningServer) -> None:
    """What comes in one read with the end of a large body is not lost, nor taken for a part of it."""
    large = b"".join(identity_request(SENT))
    small = b"".join(identity_request(SENT[:3]))
    with Wire(server) as wire:
        wire.send(large + small + large + b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        for expected in (SENT, SENT[:3], SENT):
            assert same(values(wire.response()), expected)
        assert wire.response().status_code == 200


SIZES = [
    300_000,
    3,
    20_000,
    300_000,
    4_000,
    17_000,
    16_400,
    40_000,
    3,
    *range(4_000, 4_012),
    300_000,
    5,
    100_000,
]


@pytest.mark.parametrize("together", [True, False])
def test_sizes_that_change(server: RunningServer, together: bool) -> None:
    """How much is read of a request before its place is known depends on the one before."""
    requests = [b"".join(identity_request(SENT[:size])) for size in SIZES]
    with Wire(server) as wire, ThreadPoolExecutor(1) as sender:
        if together:
            # Beside the reader: the server does not read on for ever without being read.
            sender.submit(wire.send, b"".join(requests))
        for size, request in zip(SIZES, requests, strict=True):
            if not together:
                wire.send(request)
            assert same(values(wire.response()), SENT[:size])


@pytest.mark.parametrize("together", [True, False])
def test_sizes_that_change_over_grpc(server: RunningServer, together: bool) -> None:
    with Channel(server) as channel:
        infer = channel.method("ModelInfer", pb.ModelInferResponse)
        calls = []
        for size in SIZES:
            tensor = pb.ModelInferRequest.InferInputTensor(name="IN", datatype="FP32", shape=[size])
            calls.append(infer.future(request_of("id_fp32", tensor, raw=[SENT[:size].tobytes()]), timeout=60))
            if not together:
                calls[-1].result()
        for size, call in zip(SIZES, calls, strict=True):
            assert call.result().raw_output_contents == [SENT[:size].tobytes()]


def test_the_last_request_of_a_connection(server: RunningServer) -> None:
    with Wire(server) as wire:
        wire.send(b"".join(identity_request(SENT, more_headers="Connection: close\r\n")))
        assert same(values(wire.response()), SENT)
        assert wire.at_end()


def test_json(server: RunningServer) -> None:
    sent = RNG.integers(-(2**31), 2**31, 100_000).astype(np.int32)
    tensor = {"name": "IN", "datatype": "INT32", "shape": [sent.size], "data": sent.tolist()}
    response = server.infer("id_int32", {"inputs": [tensor]})
    assert output_of(response)["data"] == sent.tolist()


def test_json_that_is_none(server: RunningServer) -> None:
    body = b"[" * 300_000
    response = server.post("/v2/models/id_int32/infer", content=body)
    assert response.status_code == 400
    assert response.json()["error"].startswith("failed to parse the request JSON buffer: ")


@pytest.mark.parametrize("length", ["x", "-1", "99999999", "1"])
def test_a_length_of_json_that_cannot_be(server: RunningServer, length: str) -> None:
    response = server.post(
        "/v2/models/id_fp32/infer", content=b" " * 200_000, headers={HEADER_LENGTH: length}
    )
    assert response.status_code == 400


@pytest.mark.parametrize("padding", range(0, 64, 7))
def test_tensors_are_where_models_want_them(where: RunningServer, padding: int) -> None:
    """Whatever the length of the JSON before them."""
    a, b = SENT[:100_000], SENT[:50_000].astype(np.float64)
    inputs = [
        {
            "name": name,
            "datatype": datatype,
            "shape": [array.size],
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, datatype, array in (("A", "FP32", a), ("B", "FP64", b))
    ]
    head, body = request_bytes("where", {"inputs": inputs}, a.tobytes() + b.tobytes(), padding=padding)
    with Wire(where) as wire:
        wire.send(head + body)
        outputs = {output["name"]: output["data"] for output in wire.response().json()["outputs"]}
    assert outputs["SUM"] == [pytest.approx(a.sum(dtype=np.float64) + b.sum(), abs=1e-9)]
    assert outputs["ALIGNED"] == [True]
    assert outputs["OFFSET"] == [0]


@pytest.mark.slow
def test_a_client_that_stops_in_the_middle(where: RunningServer) -> None:
    head, body = request_bytes("where", {"inputs": []}, bytes(1_000_000))
    with Wire(where) as wire:
        wire.send(head + body[:500_000])
        response = wire.response()
        assert (response.status_code, response.json()["error"]) == (
            408,
            "the body of the request did not arrive within 1 s",
        )
        wire.send(body[500_000:])
        assert wire.at_end()


def test_a_client_that_leaves_in_the_middle(server: RunningServer) -> None:
    head, body = identity_request(SENT)
    with Wire(server) as wire:
        wire.send(head + body[:500_000])
    with Wire(server) as wire:
        wire.send(head + body)
        assert same(values(wire.response()), SENT)
