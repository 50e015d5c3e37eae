"""What one client may cost the server: every limit on what it sends, at the limit and one beyond it."""

import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration import handlers
from tests.integration.grpc_requests import STATUS, Channel, request_of, tensor
from tests.integration.rest_requests import IN, padded, post_text
from tests.integration.support import Gate, Wire, error_of, gated_request, infer_bytes, json_tensor, new_tag

MAX_INPUT_BYTES = 1024 * 1024
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256
MAX_CHUNKS = 65536
MAX_STALL_SECONDS = 1

EVENTS = 30
LONG_STREAM = f"""
import numpy as np
class Model:
    inputs = {{"IN": ("FP32", [1])}}
    outputs = {{"OUT": ("FP32", [-1])}}
    def __call__(self, inputs):
        for _ in range({EVENTS}):
            yield {{"OUT": np.zeros(100_000, np.float32)}}
"""

GOOD = {"inputs": [IN]}
INFER = "POST /v2/models/bat/infer HTTP/1.1\r\nHost: x\r\n"
TOO_LARGE = "exceeds the maximum allowed input size"


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    """A server with limits that tests reach soon."""
    root: Path = tmp_path_factory.mktemp("limits")
    write_model(root, "bat", handlers.identity("FP32", [3], max_batch_size=4))
    write_model(root, "id_fp32", handlers.identity("FP32", [-1]))
    write_model(root, "gated", handlers.GATED)
    write_model(root, "long_stream", LONG_STREAM)
    return start_server(
        root,
        f"--http-max-input-size={MAX_INPUT_BYTES}",
        f"--http-read-timeout-secs={MAX_STALL_SECONDS}",
        "--grpc-infer-response-compression-level=low",
        "--grpc-http2-min-recv-ping-interval-without-data=100",
        "--grpc-http2-max-ping-strikes=1",
    )


@pytest.fixture(autouse=True)
def server_survives(server: RunningServer) -> Iterator[None]:
    """After each test, a good request is answered on every port, and nothing has gone wrong inside."""
    yield
    assert server.infer("bat", GOOD).json()["outputs"][0]["data"] == [1, 2, 3]
    with Channel(server) as channel:
        assert channel.method("ServerLive", pb.ServerLiveResponse)(pb.ServerLiveRequest(), timeout=60).live
    assert server.client.get(server.metrics).status_code == 200
    assert "Traceback" not in server.log


def refused(wire: Wire, status: int, text: str) -> None:
    """The answer is an error, and then the server hangs up."""
    response = wire.response()
    assert (response.status_code, response.headers["connection"]) == (status, "close")
    assert text in error_of(response)
    assert wire.at_end()


def send_all(wire: Wire, data: bytes) -> None:
    """Send what the server may refuse to read to its end."""
    with suppress(ConnectionError):
        wire.send(data)


# --- the head of a request ------------------------------------------------------------------------------------


def head_of(size: int, *, url_share: float) -> bytes:
    """A GET whose request target and headers have together `size` bytes, as the server counts them."""
    host = len("Host") + len("x")
    target = "/v2/health/live?".ljust(int((size - host) * url_share) or 16, "q")
    value = "v" * (size - host - len(target) - len("X-Long"))
    return f"GET {target} HTTP/1.1\r\nHost: x\r\nX-Long: {value}\r\n\r\n".encode()


@pytest.mark.parametrize("url_share", [0, 0.99])
def test_head_bytes(server: RunningServer, url_share: float) -> None:
    with Wire(server) as wire:
        wire.send(head_of(MAX_HEAD_BYTES, url_share=url_share))
        assert wire.response().status_code == 200
        send_all(wire, head_of(MAX_HEAD_BYTES + 1, url_share=url_share))
        refused(wire, 431, "request line and headers exceed 65536 bytes")


def test_number_of_headers(server: RunningServer) -> None:
    def get(count: int) -> bytes:
        return b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n" + b"X: 1\r\n" * (count - 1) + b"\r\n"

    with Wire(server) as wire:
        wire.send(get(MAX_HEADERS))
        assert wire.response().status_code == 200
        wire.send(get(MAX_HEADERS + 1))
        refused(wire, 431, "257 headers; at most 256")


@pytest.mark.parametrize(
    "start", ["GET /", "GET / HTTP/1.1\r\nX: ", "GET / HTTP/1.1\r\nX"], ids=["target", "value", "name"]
)
def test_a_head_that_never_ends(server: RunningServer, start: str) -> None:
    """Nothing of it is handed out by the parser, which would keep all of it."""
    with Wire(server) as wire:
        send_all(wire, start.encode() + b"a" * 10_000_000)
        refused(wire, 431, "request line and headers exceed")


def test_headers_that_never_end(server: RunningServer) -> None:
    with Wire(server) as wire:
        send_all(wire, b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 1_000_000)
        refused(wire, 431, "request line and headers exceed")


def test_a_refusal_waits_for_the_answers_before_it(server: RunningServer) -> None:
    with Gate() as gate, Wire(server) as wire:
        wire.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        wire.send_infer("bat", GOOD)
        wire.send(b"no HTTP\r\n\r\n")
        gate.open()
        assert [wire.response().status_code for _ in range(2)] == [200, 200]
        refused(wire, 400, "Invalid HTTP request received.")


def test_an_upgrade_is_not_made(server: RunningServer) -> None:
    """What follows the request is HTTP/1.1 again: `curl --http2` sends this, and goes on with the connection."""
    upgrade = infer_bytes(
        "bat", GOOD, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"
    )
    with Wire(server) as wire:
        wire.send(upgrade)
        assert wire.response().status_code == 200
        wire.send(upgrade * 2 + infer_bytes("bat", GOOD))
        assert [wire.response().status_code for _ in range(3)] == [200] * 3
        wire.send(b"CONNECT localhost:1 HTTP/1.1\r\nHost: x\r\n\r\n")
        refused(wire, 405, "Method Not Allowed")


# --- its body -------------------------------------------------------------------------------------------------


def chunked(body: bytes, size: int) -> bytes:
    """An inference request in chunks of `size` bytes."""
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    encoded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return INFER.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + encoded + b"0\r\n\r\n"


@pytest.mark.slow
def test_tiny_chunks(server: RunningServer) -> None:
    with Wire(server) as wire:
        wire.send(chunked(padded(MAX_CHUNKS), 1))
        assert wire.response().status_code == 200
        send_all(wire, chunked(padded(MAX_CHUNKS + 1), 1))
        refused(
            wire,
            400,
            "Chunked request body exceeds maximum of 65536 non-empty chunks. Send fewer or larger HTTP chunks.",
        )


@pytest.mark.parametrize(
    "waste",
    [b"1;" + b"x" * 10_000_000, b"0\r\nX-Trailer: " + b"x" * 10_000_000, b"0\r\n" + b"X: 1\r\n" * 1_000_000],
    ids=["extension", "trailer", "trailers"],
)
def test_what_is_no_body_between_the_chunks(server: RunningServer, waste: bytes) -> None:
    with Wire(server) as wire:
        send_all(wire, INFER.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + waste)
        refused(wire, 431, "exceed")


@pytest.mark.parametrize("trailer", [b"Inference-Header-Content-Length: 3", b"Content-Encoding: gzip"])
def test_trailers_are_no_headers(server: RunningServer, trailer: bytes) -> None:
    """Not even of a request that comes in one piece, whose trailers are there before anybody has read its headers."""
    with Wire(server) as wire:
        wire.send(chunked(json.dumps(GOOD).encode(), 50)[:-2] + trailer + b"\r\n\r\n")
        response = wire.response()
        assert (response.status_code, response.json()["outputs"][0]["data"]) == (200, [1, 2, 3])


@pytest.mark.parametrize("size", [MAX_INPUT_BYTES, MAX_INPUT_BYTES + 1])
@pytest.mark.parametrize("encoding", ["length", "chunks", "gzip"])
def test_body_bytes(server: RunningServer, encoding: str, size: int) -> None:
    body = padded(size)
    if encoding == "length":
        response = server.post("/v2/models/bat/infer", content=body)
    elif encoding == "chunks":
        response = server.post("/v2/models/bat/infer", content=iter([body[:1000], body[1000:]]))
    else:
        headers = {"Content-Encoding": "gzip"}
        response = server.post("/v2/models/bat/infer", content=gzip.compress(body), headers=headers)
    if size <= MAX_INPUT_BYTES:
        assert response.status_code == 200
    else:
        assert response.status_code == 413
        assert f"{MAX_INPUT_BYTES} bytes. Use --http-max-input-size" in error_of(response)


def test_a_body_without_end(server: RunningServer) -> None:
    """More than the limit is not kept, whatever the client goes on to send."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with Wire(server) as wire:
        wire.send(INFER.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            send_all(wire, chunk)
        response = wire.response()
        assert response.status_code == 413
        assert TOO_LARGE in error_of(response)


def test_a_length_over_the_limit_is_refused_before_the_body_is_sent(server: RunningServer) -> None:
    with Wire(server) as wire:
        wire.send(INFER.encode() + b"Expect: 100-continue\r\nContent-Length: 100000000000\r\n\r\n")
        response = wire.response()
        assert response.status_code == 413
        assert TOO_LARGE in error_of(response)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_a_gzip_bomb(server: RunningServer, layers: int) -> None:
    """One gigabyte, in one megabyte."""
    before = resident_bytes(server)
    body = (
        gzip.compress(bytes(1_000_000) * 1000, 1)
        if layers == 1
        else gzip.compress(gzip.compress(bytes(10**8)))
    )
    response = server.post(
        "/v2/models/bat/infer", content=body[:MAX_INPUT_BYTES], headers={"Content-Encoding": "gzip"}
    )
    assert response.status_code in (400, 413)
    assert error_of(response)
    assert resident_bytes(server) - before < 64 * MAX_INPUT_BYTES


def resident_bytes(server: RunningServer) -> int:
    """Memory of the server's process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) * 1024


# --- JSON -----------------------------------------------------------------------------------------------------


def nested(depth: int, innermost: str = "1") -> str:
    """A request whose `data` makes it `depth` levels deep."""
    data = "[" * (depth - 3) + innermost + "]" * (depth - 3)
    return f'{{"inputs":[{{"name":"IN","datatype":"FP32","shape":[1],"data":{data}}}]}}'


@pytest.mark.parametrize("innermost", ["1", "NaN"])
def test_json_depth(server: RunningServer, innermost: str) -> None:
    assert post_text(server, "id_fp32", nested(99, innermost)).status_code == 200
    for depth in (100, 101, 500, 1500, 100_000):
        response = post_text(server, "id_fp32", nested(depth, innermost))
        assert response.status_code == 400
        assert "JSON nesting depth exceeds maximum allowed limit (100)" in error_of(response)


def test_brackets_side_by_side_are_not_deep(server: RunningServer) -> None:
    text = (
        f'{{"inputs":[{{"name":"IN","datatype":"FP32","shape":[500],"data":[{",".join(["[1]"] * 500)}]}}]}}'
    )
    assert post_text(server, "id_fp32", text).status_code == 200


@pytest.mark.slow
def test_a_long_ragged_list_is_flattened_in_one_pass(server: RunningServer) -> None:
    """Once for each level, it would take minutes."""
    flat = "1," * 500_000
    data = f"{flat[:-1]}," + "[" * 90 + "1" + "]" * 90
    text = f'{{"inputs":[{{"name":"IN","datatype":"FP32","shape":[500001],"data":[{data}]}}]}}'
    response = post_text(server, "id_fp32", text)
    assert response.status_code == 200


@pytest.mark.parametrize("parameter", ["9" * 400, "-" + "9" * 400])
def test_a_parameter_that_is_too_big_for_a_double(server: RunningServer, parameter: str) -> None:
    response = post_text(
        server, "bat", json.dumps({**GOOD, "parameters": {"p": 0}}).replace('"p": 0', f'"p": {parameter}')
    )
    assert response.status_code == 400
    assert "Number too big to be stored in double." in error_of(response)


# --- shapes: nothing of their size is computed or allocated before it is known to fit ----------------------------


SHAPES: dict[str, list[int]] = {
    "many-dimensions": [1] * 33,
    "very-many-dimensions": [2**62] * 100_000,
    "overflow": [2**62, 2**62],
    "overflow-to-zero": [2**32, 2**32],
    "overflow-and-zero": [0, 2**62, 2**62],
    "large": [2**40],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("binary", [False, True])
def test_shapes_over_rest(server: RunningServer, shape: list[int], binary: bool) -> None:
    item: dict[str, Any] = {"name": "IN", "datatype": "FP32", "shape": shape}
    item |= {"parameters": {"binary_data_size": 0}} if binary else {"data": [1] if 0 not in shape else []}
    response = server.infer("id_fp32", {"inputs": [item]})
    if len(json.dumps(item)) > MAX_INPUT_BYTES:
        assert response.status_code == 413
    else:
        assert response.status_code == 400
        assert error_of(response)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("raw", [False, True])
def test_shapes_over_grpc(server: RunningServer, shape: list[int], raw: bool) -> None:
    count = 0 if 0 in shape else 1
    contents = {} if raw else {"fp32_contents": [1.0] * count}
    request = request_of(
        "id_fp32", tensor("IN", "FP32", shape, **contents), raw=[b"\0\0\0\0" * count] if raw else []
    )
    if not raw and not count:
        request.inputs[0].contents.SetInParent()
    with Channel(server) as channel:
        code, details = channel.infer_fails(request)
    assert code is STATUS.INVALID_ARGUMENT
    assert details


# --- clients that are slow --------------------------------------------------------------------------------------


def test_a_connection_that_never_says_anything_is_closed(server: RunningServer) -> None:
    with Wire(server) as wire:
        assert wire.at_end()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_bytes", "part"),
    [
        (b"GET /v2/health/live HTTP/1.1\r\nX: ", "head"),
        (INFER.encode() + b"Content-Length: 100\r\n\r\n{", "body"),
        (INFER.encode() + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "body"),
    ],
)
def test_a_request_that_stops_in_the_middle(server: RunningServer, request_bytes: bytes, part: str) -> None:
    with Wire(server) as wire:
        wire.send(request_bytes)
        refused(wire, 408, f"the {part} of the request did not arrive within 1 s")


@pytest.mark.slow
def test_a_head_that_arrives_byte_by_byte_for_ever(server: RunningServer) -> None:
    """A byte now and then is no progress: the head has to be complete in time."""
    with Wire(server) as wire:
        wire.send(b"GET /v2/health/live HTTP/1.1\r\nX: ")
        wire.socket.settimeout(0.1)
        while True:
            send_all(wire, b"x")
            try:
                answer = wire.socket.recv(10_000)
                break
            except TimeoutError:
                pass
        assert answer.startswith(b"HTTP/1.1 408 ")


def in_one_of_five(attempt: Callable[[], None]) -> None:
    """On a busy machine a pause may be longer than it was meant to be, and than the limit: not each time."""
    for _ in range(4):
        with suppress(AssertionError, OSError, IndexError):
            return attempt()
    return attempt()


@pytest.mark.slow
def test_a_slow_body_that_makes_progress_is_read(server: RunningServer) -> None:
    """It takes longer than the limit on a single pause."""
    request = infer_bytes("bat", GOOD)

    def attempt() -> None:
        started = time.monotonic()
        with Wire(server) as wire:
            wire.send(request[:-8])
            pause = threading.Event()
            for byte in request[-8:]:
                pause.wait(0.2)
                wire.send(bytes([byte]))
            assert wire.response().status_code == 200
        assert time.monotonic() - started > MAX_STALL_SECONDS

    in_one_of_five(attempt)


@pytest.mark.slow
def test_a_model_may_take_longer_than_a_client(server: RunningServer, later: Any) -> None:
    """The limit is on what clients do, not on how long an answer takes."""
    with Gate() as gate, Wire(server) as wire, Wire(server) as silent:
        wire.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        assert silent.at_end()  # the limit has passed for a connection that was made later
        gate.open()
        assert wire.response().status_code == 200


@pytest.mark.slow
def test_a_client_that_does_not_read_its_answer_is_cut_off(server: RunningServer) -> None:
    count = MAX_INPUT_BYTES // 8
    body = {"inputs": [json_tensor("IN", "FP32", [count], [0.1] * count)]}
    request = infer_bytes("id_fp32", {**body, "id": "x"})
    assert len(request) < MAX_INPUT_BYTES
    with Wire(server) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.socket.settimeout(60)
        # The answers are larger than the requests; in the end the server cannot send, and stops reading.
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                wire.send(request)


@pytest.mark.slow
def test_a_client_that_reads_slowly_gets_all_of_a_long_stream(server: RunningServer) -> None:
    """The stream is paused again and again, often with more unread than in a pause before, for longer than the limit."""
    body = b'{"IN": 1}'

    def attempt() -> None:
        started, received = time.monotonic(), b""
        with Wire(server) as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            wire.send(b"POST /v2/models/long_stream/generate_stream HTTP/1.1\r\nHost: x\r\n")
            wire.send(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            pause = threading.Event()
            while not received.endswith(b"0\r\n\r\n"):
                part = wire.socket.recv(64 * 1024)
                assert part, f"the server has hung up after {len(received)} bytes"
                received += part
                pause.wait(0.015)
        assert received.count(b"data: ") == EVENTS
        assert time.monotonic() - started > 2 * MAX_STALL_SECONDS

    in_one_of_five(attempt)


def test_a_client_that_closes_its_half_has_left(server: RunningServer) -> None:
    with Gate() as gate, Wire(server) as wire:
        wire.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.at_end()


# --- gRPC -----------------------------------------------------------------------------------------------------


def test_the_size_of_a_grpc_message(server: RunningServer) -> None:
    def request(size: int) -> pb.ModelInferRequest:
        return request_of("id_fp32", tensor("IN", "FP32", [size // 4]), raw=[bytes(size)])

    room = MAX_INPUT_BYTES - request(0).ByteSize() - 16
    with Channel(server) as channel:
        assert channel.infer(request(room // 4 * 4)).outputs[0].shape == [room // 4]
        code, details = channel.infer_fails(request(MAX_INPUT_BYTES))
    assert code is STATUS.RESOURCE_EXHAUSTED
    assert "larger than max" in details


def test_long_texts_in_an_error(server: RunningServer) -> None:
    """Status details travel in a trailer, whose size the client limits: a long name must not cost it the status."""
    with Channel(server) as channel:
        for name in ("n" * 100_000, "ŝ" * 100_000, "%" * 100_000):
            code, details = channel.infer_fails(request_of(name))
            assert code is STATUS.NOT_FOUND
            assert details.startswith("Request for unknown model: '")
            assert details.endswith("…")


@pytest.mark.parametrize("count", [1000, 10_000])
@pytest.mark.parametrize(("field", "name"), [("inputs", "IN"), ("outputs", "OUT")])
def test_very_many_tensors(server: RunningServer, field: str, name: str, count: int) -> None:
    """To decode them would hold up others for a second, and so would it to read the message of still more."""
    request = request_of("bat", tensor("IN", "FP32", [1, 3]), raw=[bytes(12)])
    while len(getattr(request, field)) < count:
        getattr(request, field).add(name=str(len(getattr(request, field))))
    with Channel(server) as channel:
        code, details = channel.infer_fails(request)
    assert code is STATUS.INVALID_ARGUMENT
    few = f"expected at most 1 {field} but got {count} {field} for model 'bat'. The model has {field[:-1]}(s) ['{name}']"
    many = "the request has more than 8192 fields in its message, which are as many as are supported"
    assert details == (few if count == 1000 else many)


def test_metadata_over_the_limit(server: RunningServer) -> None:
    with Channel(server) as channel:
        live = channel.method("ServerLive", pb.ServerLiveResponse)
        assert live(pb.ServerLiveRequest(), metadata=[("x", "v" * 30_000)], timeout=60).live
        with pytest.raises(grpc.RpcError) as caught:
            live(pb.ServerLiveRequest(), metadata=[("x", "v" * 100_000)], timeout=60)
        assert caught.value.code() is STATUS.RESOURCE_EXHAUSTED
        assert live(pb.ServerLiveRequest(), timeout=60).live


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """An HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def test_too_many_pings(server: RunningServer) -> None:
    """The options of the command line reach grpc: it lets go of a client that pings more often."""
    with Wire(server, server.grpc) as wire:
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0))
        wire.send(b"".join(frame(6, 0, bytes(8)) for _ in range(10)))
        received = b""
        while data := wire.socket.recv(10_000):
            received += data
        assert b"too_many_pings" in received


class Forwarder:
    """Forwards one connection to a server, and counts the bytes of the answers."""

    def __init__(self, target: str) -> None:
        host, port = target.split(":")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._target = (host, int(port))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.answered = 0

    def run(self) -> None:
        """Until both sides have closed the connection."""
        client, _ = self._listener.accept()
        server = socket.create_connection(self._target)
        back = threading.Thread(target=self._back, args=(server, client))
        back.start()
        while data := client.recv(65536):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)
        back.join()
        for each in (client, server, self._listener):
            each.close()

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        while data := server.recv(65536):
            self.answered += len(data)
            client.sendall(data)


def test_compressed_grpc_responses(server: RunningServer, later: Any) -> None:
    """The level of the command line reaches grpc, which compresses by it."""
    forwarder = Forwarder(server.grpc)
    done: Future[None] = later(forwarder.run)
    zeros = np.zeros(50_000, np.float32).tobytes()
    with grpc.insecure_channel(forwarder.address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        request = request_of("id_fp32", tensor("IN", "FP32", [50_000]), raw=[zeros])
        answer = pb.ModelInferResponse.FromString(call(request.SerializeToString(), timeout=60))
    done.result(60)
    assert answer.raw_output_contents[0] == zeros
    assert forwarder.answered < len(zeros) / 10
