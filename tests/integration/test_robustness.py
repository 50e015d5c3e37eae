"""What clients must not be able to do to a server: after each of these, a good request is answered."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.conftest import RunningServer
from tests.integration.support import Wire, error_of, infer_bytes, json_tensor

pytestmark = pytest.mark.usefixtures("server_survives")

GOOD = {"inputs": [json_tensor("IN", "FP32", [1, 3], [1, 2, 3])]}


# --- the wire -------------------------------------------------------------------------------------------------

GARBAGE = {
    "random": bytes(range(256)) * 64,
    "zeros": bytes(100_000),
    "tls": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
    "no-method": b" / HTTP/1.1\r\n\r\n",
    "no-version": b"POST /v2/models/bat/infer\r\n\r\n",
    "bad-length": b"POST /v2/models/bat/infer HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "negative-length": b"POST /v2/models/bat/infer HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "bad-chunk": b"POST /v2/models/bat/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "bad-header": b"POST /v2/models/bat/infer HTTP/1.1\r\nHost x\r\n\r\n",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_on_the_rest_port(server: RunningServer, data: bytes) -> None:
    with Wire(server) as wire:
        try:
            wire.send(data)
            response = wire.response()
            error_of(response)
            assert response.status_code in (400, 404, 405)
        except ConnectionError:
            pass  # the server hung up while we were still sending
        assert wire.at_end()


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_on_the_grpc_port(server: RunningServer, data: bytes) -> None:
    with Wire(server, server.grpc) as wire:
        try:
            wire.send(data)
            wire.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server has hung up
        while not wire.at_end():
            pass


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_on_the_metrics_port(server: RunningServer, data: bytes) -> None:
    with Wire(server, server.metrics.removeprefix("http://").removesuffix("/metrics")) as wire:
        try:
            wire.send(data)
            assert wire.response().status_code in (400, 404, 405)
        except ConnectionError:
            pass


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_half_a_request_then_the_end(server: RunningServer, share: float) -> None:
    request = infer_bytes("bat", GOOD)
    with Wire(server) as wire:
        wire.send(request[: int(len(request) * share)])
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.at_end()


def test_a_client_that_is_killed_in_the_middle_of_its_request(server: RunningServer) -> None:
    """Half of the body is sent; then the process is gone."""
    request = infer_bytes("bat", GOOD)
    code = (
        "import socket, sys\n"
        "connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "connection.sendall(sys.stdin.buffer.read())\n"
        "print('sent', flush=True)\n"
        "connection.recv(1)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, server.rest.rpartition(":")[2]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request[:-10])
        process.stdin.close()
        assert process.stdout.readline() == b"sent\n"
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_grpc_client_that_is_killed_in_the_middle_of_its_calls(server: RunningServer) -> None:
    code = (
        "import sys, grpc\n"
        "channel = grpc.insecure_channel(sys.argv[1])\n"
        "call = channel.unary_unary('/inference.GRPCInferenceService/ServerMetadata')\n"
        "pending = [call.future(b'') for _ in range(2000)]\n"
        "pending[0].result()\n"
        "print('answered', flush=True)\n"
        "[each.result() for each in pending]\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, server.grpc], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"answered\n"
        os.kill(process.pid, signal.SIGKILL)


def test_connections_that_never_say_anything(server: RunningServer) -> None:
    wires = [Wire(server) for _ in range(100)]
    assert server.infer("bat", GOOD).status_code == 200
    for wire in wires:
        wire.close()


# --- the protocol, as bytes -----------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(server: RunningServer) -> None:
    bodies = [
        {"id": str(number), "inputs": [json_tensor("IN", "FP32", [1, 3], [number] * 3)]}
        for number in range(50)
    ]
    with Wire(server) as wire:
        wire.send(b"".join(infer_bytes("bat", body) for body in bodies))
        answers = [wire.response().json() for _ in bodies]
    assert [answer["id"] for answer in answers] == [body["id"] for body in bodies]
    assert [answer["outputs"][0]["data"][0] for answer in answers] == list(range(50))


def test_pipelined_requests_of_all_kinds(server: RunningServer) -> None:
    get = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with Wire(server) as wire:
        wire.send(
            get
            + infer_bytes("bat", GOOD)
            + get
            + infer_bytes("nosuch", GOOD)
            + get
            + infer_bytes("bat", GOOD)
        )
        statuses = [wire.response().status_code for _ in range(6)]
    assert statuses == [200, 200, 200, 404, 200, 200]


def test_a_request_that_arrives_byte_by_byte(server: RunningServer) -> None:
    with Wire(server) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in infer_bytes("bat", GOOD):
            wire.send(bytes([byte]))
        assert wire.response().status_code == 200


def test_the_client_waits_for_100_continue(server: RunningServer) -> None:
    head, _, body = infer_bytes("bat", GOOD, "Expect: 100-continue").partition(b"\r\n\r\n")
    with Wire(server) as wire:
        wire.send(head + b"\r\n\r\n")
        assert wire.response().status_code == 100
        wire.send(body)
        assert wire.response().status_code == 200


@pytest.mark.parametrize(
    ("version", "headers", "stays_open"),
    [
        ("1.1", (), True),
        ("1.1", ("Connection: close",), False),
        ("1.0", (), False),
    ],
)
def test_when_the_connection_is_closed(
    server: RunningServer, version: str, headers: tuple[str, ...], stays_open: bool
) -> None:
    request = infer_bytes("bat", GOOD, *headers).replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1)
    with Wire(server) as wire:
        wire.send(request)
        assert wire.response().status_code == 200
        if stays_open:
            wire.send(request)
            assert wire.response().status_code == 200
        else:
            assert wire.at_end()


def test_errors_keep_the_connection_open(server: RunningServer) -> None:
    with Wire(server) as wire:
        for model, body in (("nosuch", GOOD), ("bat", {}), ("bat", {"inputs": 1}), ("bat", GOOD)):
            wire.send(infer_bytes(model, body))
        assert [wire.response().status_code for _ in range(4)] == [404, 400, 400, 200]
