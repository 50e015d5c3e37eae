"""Unmodified tritonclient over gRPC: concurrent calls, time-outs, cancelled calls."""

import asyncio
import queue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer
from tests.integration.support import (
    Array,
    Gate,
    blocked,
    executed_tags,
    metric,
    new_tag,
    pending,
    same,
    wait_until,
)


def fp32_input(row: Array) -> Any:
    return tritonclient.grpc.InferInput("IN", row.shape, "FP32").set_data_from_numpy(row)


def gated_inputs(tag: int, port: int = 0) -> list[Any]:
    made = tritonclient.grpc.InferInput
    return [
        made("PORT", [1, 1], "INT32").set_data_from_numpy(np.array([[port]], np.int32)),
        made("TAG", [1, 1], "INT64").set_data_from_numpy(np.array([[tag]], np.int64)),
    ]


@pytest.fixture(scope="module")
def rows() -> list[Array]:
    return [np.full((1 + number % 4, 3), number, np.float32) for number in range(32)]


def test_async_infer_with_callbacks(server: RunningServer, rows: list[Array]) -> None:
    results: queue.Queue[tuple[str, Any, Any]] = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        for number, row in enumerate(rows):
            client.async_infer(
                "bat",
                [fp32_input(row)],
                lambda result, error, number=number: results.put((number, result, error)),
            )
        for _ in rows:
            number, result, error = results.get(timeout=60)
            assert error is None
            assert same(result.as_numpy("OUT"), rows[number])


def test_an_error_of_async_infer(server: RunningServer) -> None:
    results: queue.Queue[Any] = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.async_infer("nosuch", [], lambda result, error: results.put(error))
        error = results.get(timeout=60)
    assert isinstance(error, InferenceServerException)
    assert error.status() == "StatusCode.NOT_FOUND"
    assert error.message() == "Request for unknown model: 'nosuch' is not found"


def test_concurrent_calls_of_the_aio_client(server: RunningServer, rows: list[Array]) -> None:
    async def call_all() -> list[Array]:
        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc) as client:
            answers = await asyncio.gather(*(client.infer("bat", [fp32_input(row)]) for row in rows))
            return [answer.as_numpy("OUT") for answer in answers]

    assert all(same(got, row) for got, row in zip(asyncio.run(call_all()), rows, strict=True))


@pytest.mark.parametrize("kind", [int, float, str, bool])
def test_parameters_of_every_type(server: RunningServer, kind: type) -> None:
    row = np.ones((1, 3), np.float32)
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        answer = client.infer("bat", [fp32_input(row)], parameters={"custom": kind(1)})
    assert same(answer.as_numpy("OUT"), row)


def test_the_time_out_of_the_client(server: RunningServer) -> None:
    with Gate() as gate, tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        with pytest.raises(InferenceServerException) as caught:
            client.infer("gated", gated_inputs(new_tag(), gate.port), client_timeout=3)
        assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
        gate.await_start()


def test_a_call_that_is_cancelled_while_it_waits_is_never_executed(server: RunningServer) -> None:
    errors: queue.Queue[Any] = queue.Queue()
    tag = new_tag()
    cancelled = metric(server, "nv_inference_request_failure", model="gated", reason="CANCELED")
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client, blocked(server, "gated") as release:
        call = client.async_infer("gated", gated_inputs(tag), lambda result, error: errors.put(error))
        wait_until(lambda: pending(server, "gated") == 1)
        call.cancel()
        wait_until(lambda: pending(server, "gated") == 0)
        assert release().status_code == 200
        assert errors.get(timeout=60).status() == "StatusCode.CANCELLED"
    assert tag not in executed_tags(server, "gated")
    assert metric(server, "nv_inference_request_failure", model="gated", reason="CANCELED") == cancelled + 1
