"""What clients and models must not be able to do to a server: after each of these, a good request is answered."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer
from tests.integration.conftest import ExplicitServer
from tests.integration.handlers import identity
from tests.integration.support import Wire, error_of, infer_bytes, json_tensor, statistics, wait_until

GOOD = {"inputs": [json_tensor("IN", "FP32", [1, 3], [1, 2, 3])]}


@pytest.fixture(autouse=True)
def _good_requests_are_answered_afterwards(server: RunningServer) -> Iterator[None]:
    yield
    assert server.process.poll() is None, "the server has ended"
    answer = server.infer("bat", GOOD)
    assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, [1, 2, 3])
    with grpc.insecure_channel(server.grpc) as channel:
        live = channel.unary_unary(
            "/inference.GRPCInferenceService/ServerLive",
            request_serializer=pb.ServerLiveRequest.SerializeToString,
            response_deserializer=pb.ServerLiveResponse.FromString,
        )
        assert live(pb.ServerLiveRequest(), timeout=30).live
    assert "Traceback" not in server.client.get(server.metrics).text


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


# --- models ---------------------------------------------------------------------------------------------------


def command(*commands: str) -> dict[str, Any]:
    """A request to the model that does what it is told, one row per command."""
    return {"inputs": [json_tensor("COMMAND", "BYTES", [len(commands), 1], list(commands))]}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("raise", ("ValueError", "boom in", "weights.bin")),
        ("exit", ("SystemExit", "3")),
        ("rows", ("'OUT'", "[2, 1]", "1")),
        ("names", ("'OUT'", "'OTHER'")),
        ("datatype", ("'OUT'", "FP64", "FP32")),
        ("none", ("NoneType",)),
    ],
)
def test_a_handler_that_fails(server: RunningServer, name: str, parts: tuple[str, ...]) -> None:
    before = statistics(server, "failing")["inference_stats"]
    response = server.infer("failing", command(name))
    text = error_of(response)
    assert response.status_code == 500
    assert all(part in text for part in parts), text
    for secret in ("Traceback", "model.py", "/srv", "kserve_v2", str(Path(__file__).parent)):
        assert secret not in text
    after = statistics(server, "failing")["inference_stats"]
    assert after["fail"]["count"] == before["fail"]["count"] + 1
    assert after["success"]["count"] == before["success"]["count"]
    assert server.infer("failing", command("fine")).json()["outputs"][0]["data"] == [1]


@pytest.mark.parametrize("name", ["raise", "exit", "rows", "names", "datatype", "none"])
def test_a_handler_that_fails_over_grpc(server: RunningServer, name: str) -> None:
    request = pb.ModelInferRequest(model_name="failing")
    request.inputs.add(
        name="COMMAND", datatype="BYTES", shape=[1, 1], contents={"bytes_contents": [name.encode()]}
    )
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
        )(request, timeout=30)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == error_of(server.infer("failing", command(name)))


def test_the_traceback_of_a_handler_is_in_the_log(server: RunningServer) -> None:
    server.infer("failing", {"id": "find-me-in-the-log", **command("raise")})
    wait_until(lambda: "find-me-in-the-log" in server.log)
    entry = server.log.rpartition("find-me-in-the-log")[2]
    assert "Traceback" in entry
    assert "boom in /srv/models/secret/weights.bin" in entry


def test_an_error_of_the_client_s_is_the_client_s(server: RunningServer) -> None:
    response = server.infer("failing", command("refuse"))
    assert (response.status_code, error_of(response)) == (400, "COMMAND must not be 'refuse'")


def test_one_bad_row_does_not_fail_requests_that_share_its_batch(server: RunningServer) -> None:
    """The handler fails for a whole batch; each request of it is then tried alone."""
    with Wire(server) as bad, Wire(server) as good:
        for _ in range(20):
            bad.send_infer("failing", command("raise"))
            good.send_infer("failing", command("fine"))
        assert {bad.response().status_code for _ in range(20)} == {500}
        assert {good.response().status_code for _ in range(20)} == {200}


# --- configurations -------------------------------------------------------------------------------------------

FIVE_MISTAKES = """
name: "somebody_else"
max_batch_size: -1
input [ { name: "IN" data_type: TYPE_INVALID dims: [ 3 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 0 ] } ]
instance_group [ { kind: KIND_CPU count: -2 } ]
"""


def test_all_mistakes_of_a_configuration_are_reported_at_once(explicit: ExplicitServer) -> None:
    explicit.write("mistaken", identity("FP32", [3]).replace("inputs =", "_in =").replace("outputs =", "_out ="),
                   FIVE_MISTAKES)  # fmt: skip
    explicit.write("sound", identity("FP32", [3]))
    text = error_of(explicit.load("mistaken"))
    [entry] = explicit.index("mistaken")
    assert entry["state"] == "UNAVAILABLE"
    for field in (
        "name",
        "max_batch_size",
        "input[0].data_type",
        "output[0].dims",
        "instance_group[0].count",
    ):
        assert f"{field}" in entry["reason"]
        assert f"{field}" in text
    assert explicit.load("sound").status_code == 200
    good = {"inputs": [json_tensor("IN", "FP32", [3], [1, 2, 3])]}
    assert explicit.server.infer("sound", good).status_code == 200


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ('name: "x\n', "1:7"),
        ("max_batch_size: many", "1:17"),
        ("\n\ninput [ { name: 3 } ]", "3:17"),
        ("max_batchsize: 4", "1:1"),
        (json.dumps({"max_batch_size": 4}), "1:1"),
    ],
)
def test_a_configuration_that_cannot_be_parsed(explicit: ExplicitServer, config: str, place: str) -> None:
    explicit.write("unparsable", identity("FP32", [3]), config)
    text = error_of(explicit.load("unparsable"))
    [entry] = explicit.index("unparsable")
    assert entry["state"] == "UNAVAILABLE"
    assert f"unparsable/config.pbtxt:{place}: " in entry["reason"]
    assert f"unparsable/config.pbtxt:{place}: " in text
    assert str(explicit.root) not in text + entry["reason"]


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("this is no Python", ("model.py", "line 1", "SyntaxError")),
        ("\nraise RuntimeError('init boom')", ("model.py", "line 2", "RuntimeError", "init boom")),
        ("import nosuchmodule", ("ModuleNotFoundError", "nosuchmodule")),
        ("x = 1", ("model.py", "class named Model")),
        ("raise SystemExit(1)", ("SystemExit",)),
        (identity("FP32", [3]) + "\n    def load(self, context):\n        raise OSError('no weights')\n", ("no weights",)),
        ("class Model:\n    inputs = 3\n    def __call__(self, inputs): ...", ("Model.inputs",)),
    ],
)  # fmt: skip
def test_a_handler_that_cannot_be_loaded(explicit: ExplicitServer, code: str, parts: tuple[str, ...]) -> None:
    explicit.write("unloadable", code)
    text = error_of(explicit.load("unloadable"))
    [entry] = explicit.index("unloadable")
    assert entry["state"] == "UNAVAILABLE"
    for part in parts:
        assert part in entry["reason"]
        assert part in text
    for secret in ("Traceback", str(explicit.root)):
        assert secret not in text + entry["reason"]


def test_a_backend_that_nobody_knows(explicit: ExplicitServer) -> None:
    explicit.write("foreign", identity("FP32", [3]), 'backend: "nosuch"')
    assert "nosuch" in error_of(explicit.load("foreign"))
    assert "nosuch" in explicit.index("foreign")[0]["reason"]


def test_a_model_without_versions(explicit: ExplicitServer) -> None:
    (explicit.root / "versionless").mkdir()
    text = error_of(explicit.load("versionless"))
    assert text == (
        "load failed for model 'versionless': at least one version must be available under the version policy of "
        "model 'versionless'\n"
    )


@pytest.mark.parametrize("name", ["..", "...", "%2e%2e", "a%5cb", ".hidden", "%00"])
def test_a_model_name_is_no_path(explicit: ExplicitServer, name: str) -> None:
    response = explicit.server.post(f"/v2/repository/models/{name}/load")
    assert response.status_code in (400, 404)
    error_of(response)
