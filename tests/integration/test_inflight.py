"""The memory of requests in flight: bounded for the server as a whole, and given back however a request ends."""

import json
import queue
import random
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.grpc_requests import SERVICE, STATUS, Channel
from tests.integration.support import Gate, Wire, error_of, metric, wait_until

MIB = 1024 * 1024
# Room for four requests: a body has a little more than tensors.
LIMIT = 8 * MIB + 64 * 1024
MAX_INPUT = 4 * MIB
SIZE = 2 * MIB

# Waits at the gate, and says how much it got; a decoupled one then says it again.
HELD = """
import socket
class Model:
    inputs = {"PORT": ("INT32", [1]), "DATA": ("FP32", [-1])}
    outputs = {"SIZE": ("INT64", [1])}
    def __call__(self, inputs):
        port = inputs["PORT"].item()
        if port:
            with socket.create_connection(("127.0.0.1", port), timeout=120) as gate:
                gate.recv(1)
        return {"SIZE": [inputs["DATA"].size]}
"""
HELD_STREAM = HELD.replace("        return ", "        for _ in range(2): yield ")

TEXTS = """
import socket
class Model:
    inputs = {"PORT": ("INT32", [1]), "DATA": ("BYTES", [-1])}
    outputs = {"SIZE": ("INT64", [1])}
    def __call__(self, inputs):
        with socket.create_connection(("127.0.0.1", inputs["PORT"].item()), timeout=120) as gate:
            gate.recv(1)
        return {"SIZE": [inputs["DATA"].size]}
"""

# Gives what was asked for at once, and on the loop's thread.
LARGE_ANSWER = """
import numpy as np
class Model:
    inputs = {"N": ("INT32", [1])}
    outputs = {"OUT": ("UINT8", [-1])}
    def __call__(self, inputs):
        return {"OUT": np.zeros(inputs["N"].item(), np.uint8)}
"""


@pytest.fixture(scope="module")
def models(write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with one instance each."""
    root = tmp_path_factory.mktemp("inflight")
    for name, code in {
        "held": HELD,
        "wide": HELD.replace("FP32", "INT64"),
        "texts": TEXTS,
        "large_answer": LARGE_ANSWER,
    }.items():
        write_model(root, name, code)
    write_model(root, "held_stream", HELD_STREAM, "model_transaction_policy { decoupled: true }")
    return root


# Several processes share the budget out.
FLAGS = (f"--max-inflight-bytes={LIMIT}", f"--http-max-input-size={MAX_INPUT}", "--processes=1")
VARIANTS = {"usual": (), "asgi": ("--http-fast-lane=false",)}


@pytest.fixture(scope="module")
def servers(start_server: StartServer, models: Path) -> Callable[[str], RunningServer]:
    """A server of each variant, started at its first use."""
    started: dict[str, RunningServer] = {}

    def server(variant: str) -> RunningServer:
        if variant not in started:
            started[variant] = start_server(models, *FLAGS, *VARIANTS[variant])
        return started[variant]

    return server


@pytest.fixture(scope="module")
def server(servers: Callable[[str], RunningServer]) -> RunningServer:
    """The usual one."""
    return servers("usual")


def used(server: RunningServer) -> int:
    """Bytes that are in flight."""
    return int(metric(server, "kserve_v2_inflight_bytes"))


def refused(server: RunningServer) -> int:
    """Requests that were refused."""
    return int(metric(server, "kserve_v2_inflight_refused"))


def settle(server: RunningServer) -> None:
    """Wait until nothing is in flight."""
    wait_until(lambda: used(server) == 0)


# --- requests, on every way ---------------------------------------------------------------------------------------


def binary(port: int, size: int = SIZE) -> tuple[bytes, bytes]:
    """JSON and tensors of a request to `held`."""
    inputs = [
        {"name": "PORT", "datatype": "INT32", "shape": [1], "data": [port]},
        {
            "name": "DATA", "datatype": "FP32", "shape": [size // 4],
            "parameters": {"binary_data_size": size},
        },
    ]  # fmt: skip
    return json.dumps({"inputs": inputs}).encode(), bytes(size)


def http_bytes(model: str, port: int, *, chunked: bool = False, compressed: bool = False) -> bytes:
    """A whole request over HTTP."""
    head, tensors = binary(port)
    body = head + tensors
    lines = [f"POST /v2/models/{model}/infer HTTP/1.1", "Host: test"]
    lines.append(f"Inference-Header-Content-Length: {len(head)}")
    if compressed:
        body = zlib.compress(body)
        lines.append("Content-Encoding: deflate")
    lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
    if chunked:
        parts = [body[start : start + 65536] for start in range(0, len(body), 65536)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def json_bytes(model: str, port: int, operation: str = "infer") -> bytes:
    """The same in JSON, of which each element takes two bytes, and its tensor four."""
    data = [1] * (SIZE // 4)
    if operation == "infer":
        inputs = [
            {"name": "PORT", "datatype": "INT32", "shape": [1], "data": [port]},
            {"name": "DATA", "datatype": "FP32", "shape": [len(data)], "data": data},
        ]
        body = json.dumps({"inputs": inputs}).encode()
    else:
        body = json.dumps({"PORT": port, "DATA": data}).encode()
    head = (
        f"POST /v2/models/{model}/{operation} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def message(model: str, port: int, size: int = SIZE) -> pb.ModelInferRequest:
    """The same over gRPC."""
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="PORT", datatype="INT32", shape=[1])
    request.inputs.add(name="DATA", datatype="FP32", shape=[size // 4])
    request.raw_input_contents.extend([struct.pack("<i", port), bytes(size)])
    return request


class HttpAsk:
    """A request over HTTP that is under way."""

    def __init__(self, server: RunningServer, data: bytes) -> None:
        self._wire = Wire(server)
        self._wire.send(data)

    def outcome(self) -> str:
        """`ok`, or `overloaded`, whose form is checked."""
        response = self._wire.response()
        self._wire.close()
        if response.status_code == 503:
            assert response.headers["retry-after"] == "1"
            assert "--max-inflight-bytes" in error_of(response)
            return "overloaded"
        assert response.status_code == 200, response.text
        return "ok"

    def leave(self) -> None:
        """The client goes."""
        self._wire.close()


class GrpcAsk:
    """The same over gRPC, in a connection of its own."""

    def __init__(
        self, server: RunningServer, request: pb.ModelInferRequest, *, compressed: bool = False
    ) -> None:
        self._channel = Channel(server)
        method = self._channel.channel.unary_unary(f"/{SERVICE}/ModelInfer")
        compression = grpc.Compression.Gzip if compressed else None
        self._call = method.future(request.SerializeToString(), timeout=60, compression=compression)

    def outcome(self) -> str:
        """As `HttpAsk.outcome`."""
        error = self._call.exception()
        self._channel.channel.close()
        if error is None:
            return "ok"
        assert error.code() is STATUS.RESOURCE_EXHAUSTED, error
        assert "--max-inflight-bytes" in error.details()
        return "overloaded"

    def leave(self) -> None:
        """The client cancels."""
        self._call.cancel()
        self._channel.channel.close()


class StreamAsk:
    """The same as the only request of a stream."""

    def __init__(self, server: RunningServer, request: pb.ModelInferRequest) -> None:
        self._channel = Channel(server)
        method = self._channel.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer", response_deserializer=pb.ModelStreamInferResponse.FromString
        )
        requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        requests.put(request.SerializeToString())
        self._answers = method(iter(requests.get, b""), timeout=60)
        self._end = requests

    def outcome(self) -> str:
        """As `HttpAsk.outcome`."""
        try:
            answer = next(self._answers)
        except grpc.RpcError as error:
            # There was no room for the message itself, which says whose it is.
            assert error.code() is STATUS.RESOURCE_EXHAUSTED, error
            assert "--max-inflight-bytes" in error.details()
            return "overloaded"
        finally:
            self._end.put(b"")
        assert not [each for each in self._answers if each.error_message]
        self._channel.channel.close()
        if not answer.error_message:
            return "ok"
        assert "--max-inflight-bytes" in answer.error_message
        return "overloaded"

    def leave(self) -> None:
        """The client cancels."""
        self._answers.cancel()
        self._channel.channel.close()
        self._end.put(b"")


Ask = HttpAsk | GrpcAsk | StreamAsk

WAYS: dict[str, tuple[str, Callable[[RunningServer, int], Ask]]] = {
    "binary": ("usual", lambda server, port: HttpAsk(server, http_bytes("held", port))),
    "json": ("usual", lambda server, port: HttpAsk(server, json_bytes("held", port))),
    "chunked": ("usual", lambda server, port: HttpAsk(server, http_bytes("held", port, chunked=True))),
    "compressed": ("usual", lambda server, port: HttpAsk(server, http_bytes("held", port, compressed=True))),
    "asgi": ("asgi", lambda server, port: HttpAsk(server, http_bytes("held", port))),
    "generate": ("usual", lambda server, port: HttpAsk(server, json_bytes("held", port, "generate"))),
    "grpc": ("usual", lambda server, port: GrpcAsk(server, message("held", port))),
    "grpc compressed": (
        "usual",
        lambda server, port: GrpcAsk(server, message("held", port), compressed=True),
    ),
    "stream": ("usual", lambda server, port: StreamAsk(server, message("held", port))),
    "decoupled": ("usual", lambda server, port: StreamAsk(server, message("held_stream", port))),
}


@contextmanager
def full(server: RunningServer, ask: Callable[[RunningServer, int], Ask]) -> Iterator[list[Ask]]:
    """As many requests are under way as there is room for; inside, the first one is at a gate. They are answered at the
    end, unless they have left.
    """
    settle(server)
    with Gate() as gate:
        asks = [ask(server, gate.port)]
        gate.await_start()
        one = used(server)
        while used(server) + one <= LIMIT:
            before = used(server)
            asks.append(ask(server, 0))
            # While it is read in slices, it takes more.
            wait_until(lambda before=before: used(server) == before + one)  # type: ignore[misc]
        try:
            yield asks
            gate.open()
            assert [each.outcome() for each in asks] == ["ok"] * len(asks)
        finally:
            for each in asks:
                each.leave()
    settle(server)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_beyond_the_budget_requests_are_refused_and_others_go_on(
    servers: Callable[[str], RunningServer], way: str
) -> None:
    variant, ask = WAYS[way]
    server = servers(variant)
    with full(server, ask) as asks:
        assert LIMIT // SIZE - 1 <= len(asks) <= LIMIT // SIZE
        before = refused(server)
        assert ask(server, 0).outcome() == "overloaded"
        assert refused(server) == before + 1
        assert used(server) <= LIMIT
    assert ask(server, 0).outcome() == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_clients_that_leave_give_their_share_back(servers: Callable[[str], RunningServer], way: str) -> None:
    variant, ask = WAYS[way]
    server = servers(variant)
    with full(server, ask) as asks:
        one = used(server) // len(asks)
        asks.pop().leave()
        wait_until(lambda: used(server) <= LIMIT - one)
        asks.append(ask(server, 0))


@pytest.mark.parametrize("first", ["known", "new"])
def test_a_connection_goes_on_after_a_body_that_there_was_no_room_for(
    server: RunningServer, first: str
) -> None:
    """The body is read to its end, and the next request on the connection is answered."""
    request = http_bytes("held", 0)
    with Wire(server) as wire, full(server, WAYS["binary"][1]):
        if first == "new":
            request = request.replace(b"Host: test", b"Host: test-%d" % id(wire))
        for _ in range(2):
            wire.send(request)
            response = wire.response()
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        wire.send(b"GET /v2/health/live HTTP/1.1\r\nHost: test\r\n\r\n")
        assert wire.response().status_code == 200


# --- bodies that are not complete ---------------------------------------------------------------------------------

BEGUN: dict[str, tuple[str, bytes]] = {
    "binary": ("usual", http_bytes("held", 0)),
    "chunked": ("usual", http_bytes("held", 0, chunked=True)),
    "asgi": ("asgi", http_bytes("held", 0)),
}


@pytest.mark.parametrize("name", BEGUN)
def test_a_body_that_does_not_end_counts_as_far_as_it_came(
    servers: Callable[[str], RunningServer], name: str
) -> None:
    variant, request = BEGUN[name]
    server = servers(variant)
    settle(server)
    with Wire(server) as wire:
        wire.send(request[: MIB + 1000])
        wait_until(lambda: MIB // 2 <= used(server) <= MIB + 1000)
    settle(server)


def test_bodies_that_grow_beyond_the_budget_together_are_refused(server: RunningServer) -> None:
    """There was room for each when it began."""
    settle(server)
    request = http_bytes("held", 0)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(server)) for _ in range(6)]
        for wire in wires:
            wire.send(request[:MIB])
        wait_until(lambda: used(server) > 5 * MIB)
        # No more than the budget is kept; who comes too late has its answer, and the connection is over.
        for wire in wires:
            threading.Thread(target=_send_rest, args=(wire, request[MIB:-1]), daemon=True).start()
        wait_until(lambda: refused(server) > 0)
        assert used(server) <= LIMIT
    settle(server)


def _send_rest(wire: Wire, data: bytes) -> None:
    try:
        wire.send(data)
    except OSError:
        # It was refused, or the test is over.
        return


def test_a_message_that_does_not_end_counts_as_far_as_it_came(server: RunningServer) -> None:
    settle(server)
    stop = threading.Event()
    with Channel(server) as channel:

        def requests() -> Iterator[bytes]:
            yield message("held", 0).SerializeToString()
            stop.wait(60)

        # Nobody half-closes: the message is there, and no request yet.
        method = channel.channel.stream_unary(f"/{SERVICE}/ModelInfer")
        call = method.future(requests(), timeout=60)
        wait_until(lambda: SIZE <= used(server) <= SIZE + MIB)
        stop.set()
        assert len(call.result()) > 0
    settle(server)


# --- one client ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_connection_with_many_large_calls(server: RunningServer) -> None:
    """Issue: 250 times 4 MiB took 1 GB."""
    settle(server)
    data = message("held", 0).SerializeToString()
    with Gate() as gate, Channel(server) as channel:
        method = channel.channel.unary_unary(f"/{SERVICE}/ModelInfer")
        first = method.future(message("held", gate.port).SerializeToString(), timeout=60)
        gate.await_start()
        calls = [method.future(data, timeout=60) for _ in range(40)]
        exhausted = 0
        for _ in range(30):
            exhausted = sum(1 for call in calls if call.done())
            assert used(server) <= LIMIT + SIZE
        wait_until(lambda: sum(1 for call in calls if call.done()) >= 36)
        gate.open()
        codes = [error.code() if (error := call.exception()) else STATUS.OK for call in calls]
        assert first.exception() is None
    assert set(codes) == {STATUS.OK, STATUS.RESOURCE_EXHAUSTED}
    assert exhausted <= len(codes)
    settle(server)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["held", "held_stream"])
def test_one_stream_waits_instead(server: RunningServer, model: str) -> None:
    """More requests than there is room for, one after the other on one stream: it is read no further, and all are
    answered.
    """
    settle(server)
    before, count = refused(server), 20
    with Gate() as gate, Channel(server) as channel:
        sent = [message(model, gate.port), *[message(model, 0) for _ in range(count)]]
        method = channel.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer", response_deserializer=pb.ModelStreamInferResponse.FromString
        )
        answers = method(iter([each.SerializeToString() for each in sent]), timeout=60)
        gate.await_start()
        wait_until(lambda: used(server) >= SIZE)
        assert used(server) <= LIMIT
        gate.open()
        found = list(answers)
    assert [each.error_message for each in found if each.error_message] == []
    assert len(found) >= count + 1
    assert refused(server) == before
    settle(server)


@pytest.mark.slow
def test_answers_that_nobody_reads(server: RunningServer) -> None:
    """A stream that is not read is not read from either."""
    settle(server)
    request = pb.ModelInferRequest(model_name="large_answer")
    request.inputs.add(name="N", datatype="INT32", shape=[1])
    request.raw_input_contents.append(struct.pack("<i", MIB))
    with Channel(server) as channel:
        method = channel.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer", response_deserializer=pb.ModelStreamInferResponse.FromString
        )
        requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        answers = method(iter(requests.get, b""), timeout=60)
        requests.put(request.SerializeToString())
        assert len(next(answers).infer_response.raw_output_contents[0]) == MIB
        for _ in range(100):
            requests.put(request.SerializeToString())
        requests.put(b"")
        wait_until(lambda: used(server) >= MIB)
        for _ in range(20):
            assert used(server) <= LIMIT
        assert len(list(answers)) == 100
    settle(server)


def test_texts_are_counted_by_what_they_hold(server: RunningServer) -> None:
    settle(server)
    inputs: list[dict[str, Any]] = [
        {"name": "PORT", "datatype": "INT32", "shape": [1], "data": [0]},
        {"name": "DATA", "datatype": "BYTES", "shape": [2], "data": ["x" * MIB, ""]},
    ]
    with Gate() as gate:
        inputs[0]["data"] = [gate.port]
        with httpx.Client(timeout=60) as client:
            url = f"{server.rest}/v2/models/texts/infer"
            answer: list[int] = []
            asking = threading.Thread(
                target=lambda: answer.append(client.post(url, json={"inputs": inputs}).status_code)
            )
            asking.start()
            gate.await_start()
            assert MIB <= used(server) <= MIB + 10_000
            gate.open()
            asking.join(60)
    assert answer == [200]
    settle(server)


def test_a_request_that_can_never_fit_is_told_so(server: RunningServer) -> None:
    """2 bytes of JSON for each element are 8 of its tensor."""
    body = (
        '{"inputs":[{"name":"PORT","datatype":"INT32","shape":[1],"data":[0]},'
        f'{{"name":"DATA","datatype":"INT64","shape":[{LIMIT // 8}],"data":[{"1," * (LIMIT // 8 - 1)}1]}}]}}'
    )
    response = server.client.post(f"{server.rest}/v2/models/wide/infer", content=body.encode())
    assert (response.status_code, "retry-after" in response.headers) == (413, False)
    assert f"the request takes {LIMIT + 4} bytes of memory" in error_of(response)
    settle(server)


# --- everything at once -------------------------------------------------------------------------------------------


def _cut_off(server: RunningServer, data: bytes, at: int) -> None:
    with Wire(server) as wire:
        wire.send(data[:at])


def _whole(server: RunningServer, data: bytes) -> None:
    with Wire(server) as wire:
        try:
            wire.send(data)
            wire.response()
        except OSError:
            # Refused before it was sent to its end.
            return


def _call(server: RunningServer, request: pb.ModelInferRequest, timeout: float, *, cancel: bool) -> None:
    with Channel(server) as channel:
        method = channel.channel.unary_unary(f"/{SERVICE}/ModelInfer")
        call = method.future(request.SerializeToString(), timeout=timeout)
        if cancel:
            call.cancel()
        else:
            call.exception()


def _stream(server: RunningServer, requests: list[pb.ModelInferRequest], taken: int) -> None:
    with Channel(server) as channel:
        method = channel.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        answers = method(iter([each.SerializeToString() for each in requests]), timeout=60)
        try:
            for _ in range(taken):
                next(answers)
        except (StopIteration, grpc.RpcError):
            return
        answers.cancel()


@cache
def _bodies() -> list[bytes]:
    """Requests over HTTP, right and wrong."""
    return [
        http_bytes("held", 0),
        http_bytes("held", 0, chunked=True),
        http_bytes("held", 0, compressed=True),
        http_bytes("nosuch", 0),
        json_bytes("held", 0),
        json_bytes("held", 0, "generate"),
        json_bytes("held", 0, "generate_stream"),
        json_bytes("held", 0)[:-1] + b"x",
    ]


def _action(server: RunningServer, rng: random.Random) -> Callable[[], None]:
    """Something that a client may do."""
    http, at = rng.choice(_bodies()), rng.random()
    request = message(rng.choice(["held", "held_stream", "nosuch"]), 0, rng.choice([SIZE, 100_000, 1000]))
    timeout, cancel, taken = rng.choice([0.001, 0.01, 60]), rng.random() < 0.3, rng.randrange(6)
    requests = [message(rng.choice(["held", "held_stream"]), 0, rng.choice([SIZE, 1000])) for _ in range(5)]
    return rng.choice(
        [
            lambda: _cut_off(server, http, int(at * len(http))),
            lambda: _whole(server, http),
            lambda: _call(server, request, timeout, cancel=cancel),
            lambda: _stream(server, requests, taken),
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_whatever_clients_do_all_is_given_back(servers: Callable[[str], RunningServer], variant: str) -> None:
    """Many at a time, more than there is room for: cut off, cancelled, too late, refused, wrong, and in order."""
    server, rng = servers(variant), random.Random(7)  # noqa: S311 - nothing secret
    settle(server)
    with ThreadPoolExecutor(8) as pool:
        for outcome in [pool.submit(_action(server, rng)) for _ in range(60)]:
            outcome.result()
    settle(server)
    assert WAYS["binary"][1](server, 0).outcome() == "ok"
