"""Requests that are given up while they wait: never executed, counted once, and no trouble to their neighbours."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer
from tests.integration.support import (
    Gate,
    Wire,
    blocked,
    error_of,
    executed_tags,
    gated_request,
    infer_bytes,
    metric,
    new_tag,
    pending,
    statistics,
    wait_until,
)

MODEL = "gated"

# Sends one request from a process of its own, and waits for an answer that never comes.
_CLIENT = """
import socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.sendall(sys.stdin.buffer.read())
connection.recv(1)
"""


def failures(server: RunningServer, reason: str, model: str = MODEL) -> int:
    """Counted failures of a model."""
    return int(metric(server, "nv_inference_request_failure", model=model, reason=reason))


def grpc_call(server: RunningServer, channel: grpc.Channel, tag: int, **options: Any) -> Any:
    """Start a gRPC request to the gated model."""
    request = pb.ModelInferRequest(model_name=MODEL)
    for name, datatype, field, value in (
        ("PORT", "INT32", "int_contents", 0),
        ("TAG", "INT64", "int64_contents", tag),
    ):
        request.inputs.add(name=name, datatype=datatype, shape=[1, 1], contents={field: [value]})
    method = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    return method.future(request, **{"timeout": 30, **options})


def disconnect_http(server: RunningServer, tag: int) -> Callable[[], None]:
    """Send a request; what is returned closes its connection."""
    wire = Wire(server)
    wire.send_infer(MODEL, gated_request(tag))
    return wire.close


def disconnect_http_after_a_large_request(server: RunningServer, tag: int) -> Callable[[], None]:
    """The same with a body that is larger than what a server buffers."""
    wire = Wire(server)
    wire.send_infer(MODEL, {"padding": "x" * 4_000_000, **gated_request(tag)})
    return wire.close


def kill_http_client(server: RunningServer, tag: int) -> Callable[[], None]:
    """The same from another process, which is killed."""
    body = json.dumps(gated_request(tag)).encode()
    head = (
        f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    process = subprocess.Popen(
        [sys.executable, "-c", _CLIENT, server.rest.rpartition(":")[2]], stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(head + body)
    process.stdin.close()

    def kill() -> None:
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL

    return kill


def cancel_grpc(server: RunningServer, tag: int) -> Callable[[], None]:
    """Start a call; what is returned cancels it."""
    channel = grpc.insecure_channel(server.grpc)
    call = grpc_call(server, channel, tag)

    def cancel() -> None:
        call.cancel()
        with pytest.raises(grpc.FutureCancelledError):
            call.result()
        channel.close()

    return cancel


def close_grpc_channel(server: RunningServer, tag: int) -> Callable[[], None]:
    """Start a call; what is returned closes its connection."""
    channel = grpc.insecure_channel(server.grpc)
    call = grpc_call(server, channel, tag)

    def close() -> None:
        channel.close()
        assert call.code() is grpc.StatusCode.CANCELLED

    return close


WAYS_TO_LEAVE = [
    disconnect_http,
    disconnect_http_after_a_large_request,
    kill_http_client,
    cancel_grpc,
    close_grpc_channel,
]


@pytest.mark.parametrize("leave", WAYS_TO_LEAVE)
def test_who_leaves_while_waiting_is_never_executed_and_others_are_answered(
    server: RunningServer, leave: Callable[[RunningServer, int], Callable[[], None]]
) -> None:
    before, after, gone = new_tag(), new_tag(), new_tag()
    counted = failures(server, "CANCELED")
    with blocked(server, MODEL) as release, Wire(server) as first, Wire(server) as last:
        first.send_infer(MODEL, gated_request(before))
        wait_until(lambda: pending(server, MODEL) == 1)
        go = leave(server, gone)
        wait_until(lambda: pending(server, MODEL) == 2)
        last.send_infer(MODEL, gated_request(after))
        wait_until(lambda: pending(server, MODEL) == 3)
        go()
        wait_until(lambda: pending(server, MODEL) == 2)
        answers = [release(), first.response(), last.response()]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert failures(server, "CANCELED") == counted + 1
    executed = executed_tags(server, MODEL)
    assert executed.index(before) < executed.index(after)
    assert gone not in executed


def test_who_leaves_while_being_executed_counts_as_a_success(server: RunningServer) -> None:
    tag = new_tag()
    counted, cancelled = (
        statistics(server, MODEL)["inference_stats"]["success"]["count"],
        failures(server, "CANCELED"),
    )
    with Gate() as gate:
        with Wire(server) as wire:
            wire.send_infer(MODEL, gated_request(tag, gate.port))
            gate.await_start()
        gate.open()
        wait_until(lambda: statistics(server, MODEL)["inference_stats"]["success"]["count"] == counted + 1)
    assert failures(server, "CANCELED") == cancelled
    assert tag in executed_tags(server, MODEL)


def test_a_deadline_that_passes_while_waiting(server: RunningServer) -> None:
    tag = new_tag()
    counted = failures(server, "CANCELED")
    with blocked(server, MODEL) as release, grpc.insecure_channel(server.grpc) as channel:
        call = grpc_call(server, channel, tag, timeout=3)
        with pytest.raises(grpc.RpcError) as caught:
            call.result()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: pending(server, MODEL) == 0)
        assert release().status_code == 200
    assert tag not in executed_tags(server, MODEL)
    assert failures(server, "CANCELED") == counted + 1


def test_many_leave_at_once(server: RunningServer) -> None:
    tags = [new_tag() for _ in range(40)]
    counted = failures(server, "CANCELED")
    with blocked(server, MODEL) as release:
        wires = [Wire(server) for _ in tags]
        for wire, tag in zip(wires, tags, strict=True):
            wire.send_infer(MODEL, gated_request(tag))
        wait_until(lambda: pending(server, MODEL) == len(tags))
        for wire in wires[::2]:
            wire.close()
        wait_until(lambda: pending(server, MODEL) == len(tags) // 2)
        assert release().status_code == 200
        answers = [wire.response() for wire in wires[1::2]]
        for wire in wires[1::2]:
            wire.close()
    assert {answer.status_code for answer in answers} == {200}
    assert failures(server, "CANCELED") == counted + len(tags) // 2
    assert [tag for tag in executed_tags(server, MODEL) if tag in tags] == tags[1::2]


@pytest.mark.parametrize("rest", [b"", b"POST /v2/models/gat", infer_bytes(MODEL, gated_request(0))[:-1]])
def test_who_only_ends_what_it_sends_gets_the_answers_to_pipelined_requests(
    server: RunningServer, rest: bytes
) -> None:
    """`rest`: a request that has not come whole."""
    tags = [new_tag() for _ in range(4)]
    with blocked(server, MODEL) as release, Wire(server) as wire:
        wire.send_infer(MODEL, gated_request(tags[0]))
        wait_until(lambda: pending(server, MODEL) == 1)
        wire.send(b"".join(infer_bytes(MODEL, gated_request(tag)) for tag in tags[1:]) + rest)
        wire.socket.shutdown(socket.SHUT_WR)
        # By the time that this is answered, the server has seen that.
        assert server.get("/v2/health/live").status_code == 200
        assert release().status_code == 200
        answers = [wire.response() for _ in tags]
        assert wire.at_end()
    assert [answer.status_code for answer in answers] == [200] * len(tags)
    assert [json.loads(answer.json()["outputs"][0]["data"][0])[-1] for answer in answers] == tags


def test_leaving_with_a_pipelined_request_behind(server: RunningServer) -> None:
    """Which looks the same, until the first answer is written."""
    logged = len(server.log)
    with blocked(server, MODEL) as release:
        with Wire(server) as wire:
            port = wire.socket.getsockname()[1]
            wire.send_infer(MODEL, gated_request(new_tag()))
            wait_until(lambda: pending(server, MODEL) == 1)
            wire.send(b"".join(infer_bytes(MODEL, gated_request(new_tag())) for _ in range(5)))
            # By the time that this is answered, the server has seen them.
            assert server.get("/v2/health/live").status_code == 200
        assert release().status_code == 200
    wait_until(lambda: not connections_from(port) and pending(server, MODEL) == 0)
    assert "ERROR" not in server.log[logged:]


def connections_from(port: int) -> list[str]:
    """Those that are open at the other end of a client's port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    time_wait, closed = "06", "07"
    return [
        row[1] for row in rows if int(row[2].split(":")[1], 16) == port and row[3] not in (time_wait, closed)
    ]


# --- the limits of a queue ------------------------------------------------------------------------------------


def check_unavailable(response: httpx.Response, text: str) -> None:
    """503, worth another try."""
    assert (response.status_code, error_of(response)) == (503, text)
    assert response.headers["retry-after"]


def test_a_full_queue_refuses_at_once(server: RunningServer) -> None:
    model, waiting = "gated_short_queue", new_tag()
    with blocked(server, model) as release, Wire(server) as wire:
        wire.send_infer(model, gated_request(waiting))
        wait_until(lambda: pending(server, model) == 1)
        refused = server.infer(model, {"id": "r1", **gated_request(new_tag())})
        check_unavailable(refused, "[request id: r1] Exceeds maximum queue size")
        assert release().status_code == 200
        assert wire.response().status_code == 200
    assert waiting in executed_tags(server, model)


def test_a_full_queue_has_room_again_when_somebody_leaves(server: RunningServer) -> None:
    model, gone, stays = "gated_short_queue", new_tag(), new_tag()
    with blocked(server, model) as release, Wire(server) as wire:
        with Wire(server) as leaving:
            leaving.send_infer(model, gated_request(gone))
            wait_until(lambda: pending(server, model) == 1)
        wait_until(lambda: pending(server, model) == 0)
        wire.send_infer(model, gated_request(stays))
        wait_until(lambda: pending(server, model) == 1)
        assert release().status_code == 200
        assert wire.response().status_code == 200
    executed = executed_tags(server, model)
    assert stays in executed
    assert gone not in executed


def test_a_request_that_waits_too_long(server: RunningServer) -> None:
    model, tag = "gated_own_wait", new_tag()
    counted = failures(server, "REJECTED", model)
    with blocked(server, model) as release:
        # Answered while the instance is still busy.
        body = {"parameters": {"timeout": 1000}, **gated_request(tag)}
        check_unavailable(server.infer(model, body), "Request timeout expired")
        assert release().status_code == 200
    assert tag not in executed_tags(server, model)
    assert failures(server, "REJECTED", model) == counted + 1
