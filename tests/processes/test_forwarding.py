"""Requests that a worker hands to its home: many at a time, large ones, those of clients that leave, and what becomes
of all of them when the home is killed.
"""

import asyncio
import json
import queue
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, WriteModel
from tests.integration.grpc_requests import Channel, request_of, tensor
from tests.integration.rest_requests import HEADER_LENGTH, read_binary
from tests.integration.support import Gate, Wire, infer_bytes, json_tensor, metric, wait_until
from tests.processes.conftest import Fronted, fronted

pytestmark = pytest.mark.slow

SAME = """
class Model:
    inputs = {"IN": ("INT32", [-1])}
    outputs = {"OUT": ("INT32", [-1])}
    def __call__(self, inputs):
        return {"OUT": inputs["IN"]}
"""

# Waits at a gate, if PORT names one.
GATED = """
import socket
class Model:
    inputs = {"PORT": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [1])}
    def __call__(self, inputs):
        if inputs["PORT"][0]:
            with socket.create_connection(("127.0.0.1", int(inputs["PORT"][0])), timeout=120) as gate:
                gate.recv(1)
        return {"OUT": inputs["PORT"]}
"""

# As many answers as are asked for, of so many numbers each; without an end if COUNT is negative.
COUNTER = """
import numpy as np
class Model:
    inputs = {"COUNT": ("INT32", [1]), "SIZE": ("INT32", [1])}
    outputs = {"I": ("INT32", [-1])}
    def __call__(self, inputs):
        i = 0
        while i != inputs["COUNT"][0]:
            yield {"I": np.full(int(inputs["SIZE"][0]), i, np.int32)}
            i += 1
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Iterator[Fronted]:
    """Killed by the last test."""
    root = tmp_path_factory.mktemp("forwarding")
    repository = root / "models"
    write_model(repository, "same", SAME)
    write_model(repository, "gated", GATED)
    write_model(repository, "counter", COUNTER)
    traces = f"triton,file={root / 'traces'}", "triton,log-frequency=1", "rate=1"
    flags = ("--log-access", *(f"--trace-config={option}" for option in traces))
    with fronted(root, repository, *flags) as running:
        yield running


@pytest.fixture
def server(front: Fronted) -> RunningServer:
    return front.server


def number(value: int) -> dict[str, Any]:
    return {"inputs": [json_tensor("IN", "INT32", [1], [value])], "id": str(value)}


def numbered(value: int) -> pb.ModelInferRequest:
    return request_of("same", tensor("IN", "INT32", [1], int_contents=[value]), id=str(value))


def gated(port: int) -> dict[str, Any]:
    return {"inputs": [json_tensor("PORT", "INT32", [1], [port])]}


def counted(count: int, size: int = 1) -> pb.ModelInferRequest:
    inputs = [
        tensor(name, "INT32", [1], int_contents=[value]) for name, value in (("COUNT", count), ("SIZE", size))
    ]
    return request_of("counter", *inputs)


def stream(channel: grpc.Channel) -> Any:
    return channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )


# --- each its own answer --------------------------------------------------------------------------------------------


def test_a_thousand_pipelined_requests(server: RunningServer) -> None:
    """And as many calls on few connections of gRPC, at the same time."""

    async def pipelined(first: int) -> list[int]:
        host, port = server.rest.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        sent = [infer_bytes("same", number(each)) for each in range(first, first + 100)]
        writer.write(b"".join(sent))
        found = []
        for _ in sent:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            answer = json.loads(await reader.readexactly(int(length[1])))
            [value] = answer["outputs"][0]["data"]
            assert answer["id"] == str(value)
            found.append(value)
        writer.close()
        return found

    async def calls(first: int) -> list[int]:
        async with grpc.aio.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            method = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=pb.ModelInferRequest.SerializeToString,
                response_deserializer=pb.ModelInferResponse.FromString,
            )
            answers = await asyncio.gather(*(method(numbered(each)) for each in range(first, first + 100)))
        values = [int(np.frombuffer(answer.raw_output_contents[0], np.int32)[0]) for answer in answers]
        assert [answer.id for answer in answers] == [str(value) for value in values]
        return values

    async def both() -> None:
        starts = range(0, 1000, 100)
        asked = [*map(pipelined, starts), *map(calls, starts)]
        expected = [list(range(first, first + 100)) for first in starts] * 2
        assert await asyncio.gather(*asked) == expected

    asyncio.run(both())


# --- large ones -----------------------------------------------------------------------------------------------------


def binary(values: "np.ndarray[Any, Any]") -> tuple[bytes, int]:
    header = {
        "inputs": [
            {
                "name": "IN",
                "datatype": "INT32",
                "shape": [len(values)],
                "parameters": {"binary_data_size": values.nbytes},
            }
        ],
        "outputs": [{"name": "OUT", "parameters": {"binary_data": True}}],
    }
    text = json.dumps(header).encode()
    return text + values.tobytes(), len(text)


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
@pytest.mark.parametrize("size", [4_000, 20_000, 40_000, 2_621_440])
def test_bodies_of_any_size_over_rest(server: RunningServer, size: int, chunked: bool) -> None:
    values = np.random.default_rng(size).integers(-(2**31), 2**31, size, np.int32)
    body, length = binary(values)
    content: Any = iter([body[:1000], body[1000:]]) if chunked else body
    for _ in range(3):
        answer = server.post("/v2/models/same/infer", content=content, headers={HEADER_LENGTH: str(length)})
        assert read_binary(answer)[1] == values.tobytes()
        content = iter([body[:1000], body[1000:]]) if chunked else body


@pytest.mark.parametrize("size", [4_000, 20_000, 40_000, 2_621_440])
def test_messages_of_any_size(server: RunningServer, size: int) -> None:
    values = np.random.default_rng(size).integers(-(2**31), 2**31, size, np.int32)
    request = request_of("same", tensor("IN", "INT32", [size]), raw=[values.tobytes()])
    with Channel(server) as channel:
        for _ in range(3):
            assert channel.infer(request).raw_output_contents == [values.tobytes()]
        answers = stream(channel.channel)(iter([request] * 5), timeout=60)
        assert [each.infer_response.raw_output_contents for each in answers] == [[values.tobytes()]] * 5


def test_nothing_is_counted_any_more_when_all_is_answered(server: RunningServer) -> None:
    wait_until(lambda: metric_of_inflight(server) == 0)


def metric_of_inflight(server: RunningServer) -> float:
    text = server.client.get(server.metrics).text
    found = re.search(r"^kserve_v2_inflight_bytes(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_a_slow_reader_slows_the_model_down_and_nobody_else(server: RunningServer) -> None:
    """An endless stream of 1 MB answers: the process would be out of memory soon if nothing held it back."""
    with Channel(server) as channel:
        answers = stream(channel.channel)(iter([counted(-1, 250_000)]), timeout=60)
        read = [next(answers).infer_response.raw_output_contents[0][:4] for _ in range(3)]
        assert read == [bytes([each, 0, 0, 0]) for each in range(3)]
        for each in range(20):
            assert server.infer("same", number(each)).json()["outputs"][0]["data"] == [each]
        answers.cancel()
    with Channel(server) as channel:
        answers = stream(channel.channel)(iter([counted(3)] * 2), timeout=60)
        found = [
            int(np.frombuffer(each.infer_response.raw_output_contents[0], np.int32)[0]) for each in answers
        ]
        assert sorted(found) == [0, 0, 1, 1, 2, 2]


# --- clients that leave ---------------------------------------------------------------------------------------------


def cancelled(server: RunningServer) -> int:
    return int(metric(server, "nv_inference_request_failure", model="gated", reason="CANCELED"))


def leave_rest(server: RunningServer, port: int) -> Callable[[], None]:
    wire = Wire(server)
    wire.send_infer("gated", gated(port))
    return wire.close


def leave_chunked(server: RunningServer, port: int) -> Callable[[], None]:
    wire = Wire(server)
    body = json.dumps(gated(port)).encode()
    wire.send(b"POST /v2/models/gated/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    return wire.close


def leave_grpc(server: RunningServer, port: int) -> Callable[[], None]:
    channel = Channel(server)
    request = request_of("gated", tensor("PORT", "INT32", [1], int_contents=[port]))
    call = channel.method("ModelInfer", pb.ModelInferResponse).future(request, timeout=60)

    def leave() -> None:
        call.cancel()
        channel.channel.close()

    return leave


def leave_stream(server: RunningServer, port: int) -> Callable[[], None]:
    channel = Channel(server)
    request = request_of("gated", tensor("PORT", "INT32", [1], int_contents=[port]))
    sent: queue.SimpleQueue[Any] = queue.SimpleQueue()
    sent.put(request)
    call = stream(channel.channel)(iter(sent.get, None), timeout=60)

    def leave() -> None:
        call.cancel()
        sent.put(None)
        channel.channel.close()

    return leave


LEAVERS = pytest.mark.parametrize("ask", [leave_rest, leave_chunked, leave_grpc, leave_stream])


@LEAVERS
def test_the_request_of_a_client_that_has_left_is_not_executed(
    server: RunningServer, ask: Callable[[RunningServer, int], Callable[[], None]]
) -> None:
    before = cancelled(server)
    with Gate() as gate, Wire(server) as wire:
        wire.send_infer("gated", gated(gate.port))
        gate.await_start()
        leave = ask(server, 0)
        wait_until(lambda: metric(server, "nv_inference_pending_request_count", model="gated") == 1)
        leave()
        wait_until(lambda: cancelled(server) == before + 1)
        gate.open()
        assert wire.response().status_code == 200


def test_a_deadline_gives_the_request_up(server: RunningServer) -> None:
    before = cancelled(server)
    with Gate() as gate, Wire(server) as wire, Channel(server) as channel:
        wire.send_infer("gated", gated(gate.port))
        gate.await_start()
        request = request_of("gated", tensor("PORT", "INT32", [1], int_contents=[0]), id="too-late")
        # So long that it gets to the model's home on a busy machine, too.
        with pytest.raises(grpc.RpcError) as caught:
            channel.infer(request, timeout=3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: cancelled(server) == before + 1)
    wait_until(lambda: "request_id=too-late" in server.log)
    [line] = [line for line in server.log.splitlines() if "request_id=too-late" in line]
    # Its client gives it up at the same moment, and may be first.
    assert " status=4 " in line or " status=1 " in line


# --- the access log -------------------------------------------------------------------------------------------------


def test_each_request_has_one_line_in_the_access_log(server: RunningServer) -> None:
    server.post("/v2/models/same/infer", json={**number(1), "id": "logged-rest"})
    server.post(
        "/v2/models/same/infer", content=iter([json.dumps({**number(1), "id": "logged-chunked"}).encode()])
    )
    with Channel(server) as channel:
        channel.infer(request_of("same", tensor("IN", "INT32", [1], int_contents=[1]), id="logged-grpc"))
        failing = request_of("same", tensor("IN", "INT32", [2], int_contents=[1]), id="logged-failing")
        assert channel.infer_fails(failing)[0] is grpc.StatusCode.INVALID_ARGUMENT
    names = ("logged-rest", "logged-chunked", "logged-grpc", "logged-failing")
    wait_until(lambda: all(name in server.log for name in names))
    lines = [line for line in server.log.splitlines() if "logged-" in line and "kserve_v2.access" in line]
    assert len(lines) == 4
    assert [line.partition(" status=")[2].split()[0] for line in lines] == ["200", "200", "0", "3"]


# --- traces ---------------------------------------------------------------------------------------------------------


def test_requests_that_are_traced(front: Fronted, server: RunningServer) -> None:
    """The home traces them, and answers as it does otherwise."""
    text = json.dumps({**number(1), "id": "traced"}).encode()
    untraced = server.post("/v2/models/same/infer", content=text)
    assert server.post("/v2/trace/setting", json={"trace_level": ["TIMESTAMPS"]}).status_code == 200
    with Channel(server) as channel:
        request = request_of("same", tensor("IN", "INT32", [1], int_contents=[1]), id="traced-too")
        for _ in range(2):
            answer = server.post("/v2/models/same/infer", content=text)
            assert (answer.content, answer.headers) == (untraced.content, untraced.headers)
            assert channel.infer(request).id == "traced-too"
        refused = server.post("/v2/models/same/infer", content=b"{}")
        assert refused.status_code == 400
        with Wire(server) as wire:
            wire.send(infer_bytes("same", number(1)).replace(b"POST /", b"POST http://elsewhere/"))
            assert wire.response().status_code == 200
    assert server.post("/v2/trace/setting", json={"trace_level": ["OFF"]}).status_code == 200
    folder = front.server.log_path.parent
    files = [folder / f"traces.{number}" for number in range(6)]
    wait_until(lambda: all(file.exists() for file in files))
    found = "".join(file.read_text() for file in files)
    assert (found.count("HTTP_SEND_END"), found.count("GRPC_SEND_END")) == (4, 2)


# --- the end --------------------------------------------------------------------------------------------------------


def test_all_that_waits_for_a_home_fails_when_it_is_killed(server: RunningServer) -> None:
    """At once, each with its own answer; and so does what comes later."""
    with Gate() as gate:
        wires = [Wire(server) for _ in range(3)]
        for wire in wires[:2]:
            wire.send_infer("gated", gated(gate.port))
        body = json.dumps(gated(gate.port)).encode()
        head = b"POST /v2/models/gated/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        wires[2].send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        with Channel(server) as channel:
            request = request_of("gated", tensor("PORT", "INT32", [1], int_contents=[gate.port]))
            call = channel.method("ModelInfer", pb.ModelInferResponse).future(request, timeout=60)
            answers = stream(channel.channel)(iter([counted(-1, 250_000)]), timeout=60)
            assert next(answers).infer_response.raw_output_contents
            gate.await_start()
            wait_until(lambda: metric(server, "nv_inference_pending_request_count", model="gated") == 3)
            server.process.send_signal(signal.SIGKILL)
            for wire in wires:
                answer = wire.response()
                assert answer.status_code == 503
                assert "retry-after" not in answer.headers
                assert "has ended before it did: see the server's log" in answer.json()["error"]
            assert call.exception(timeout=60).code() is grpc.StatusCode.UNAVAILABLE
            with pytest.raises(grpc.RpcError) as caught:
                for _ in answers:
                    pass
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert channel.infer_fails(numbered(1))[0] is grpc.StatusCode.UNAVAILABLE
        for wire in wires:
            wire.close()
    for ask in (lambda: server.infer("same", number(1)), lambda: server.get("/v2/health/live")):
        later: httpx.Response = ask()
        assert later.status_code == 503
        assert later.headers["retry-after"] == "1"
