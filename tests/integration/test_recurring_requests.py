"""Requests that are like those before them: the server recognises them, and they are answered as if it did not."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import RunningServer, StartServer
from tests.integration import handlers
from tests.integration.conftest import ExplicitServer
from tests.integration.rest_requests import HEADER_LENGTH
from tests.integration.support import Wire, error_of, infer_bytes, json_tensor

ROOT = Path(__file__).parents[2]
TIMES = 5


def asking(data: list[Any], shape: tuple[int, ...] = (1, 3), **members: Any) -> dict[str, Any]:
    return {"inputs": [json_tensor("IN", "FP32", list(shape), data)], **members}


def answer_of(wire: Wire) -> Any:
    response = wire.response()
    assert response.status_code == 200, response.text
    (output,) = response.json()["outputs"]
    return output["data"]


def binary_bytes(data: list[float], *headers: str) -> bytes:
    """A request whose tensors follow the JSON, both ways."""
    raw = np.array(data, np.float32).tobytes()
    tensor = {"name": "IN", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": len(raw)}}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    lines = [
        "POST /v2/models/bat/infer HTTP/1.1", "Host: test", f"Content-Length: {len(text) + len(raw)}",
        f"{HEADER_LENGTH}: {len(text)}", *headers,
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + text + raw


def test_each_has_its_own_numbers(server: RunningServer) -> None:
    with Wire(server) as wire:
        for number in range(50):
            data = [number % 10, 9 - number % 10, number % 7]
            wire.send_infer("bat", asking(data))
            assert answer_of(wire) == data


def test_each_has_its_own_bytes(server: RunningServer) -> None:
    with Wire(server) as wire:
        for number in range(50):
            wire.send(binary_bytes([number, -number, 0.5]))
            response = wire.response()
            length = int(response.headers[HEADER_LENGTH])
            assert np.frombuffer(response.content[length:], np.float32).tolist() == [number, -number, 0.5]


def test_each_has_its_own_id(server: RunningServer) -> None:
    with Wire(server) as wire:
        for number in range(30):
            wire.send_infer("bat", asking([1, 2, 3], id=f"r{number % 10}"))
            assert wire.response().json()["id"] == f"r{number % 10}"


def test_compressed_requests_are_read_each_time(server: RunningServer) -> None:
    with Wire(server) as wire:
        for number in range(TIMES):
            body = gzip.compress(json.dumps(asking([number, 2, 3])).encode(), mtime=0)
            head = (
                "POST /v2/models/bat/infer HTTP/1.1\r\nHost: test\r\nContent-Encoding: gzip\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            wire.send(head.encode() + body)
            assert answer_of(wire) == [number, 2, 3]


WRONG = {
    "too few numbers": ([1, 2], "Shape does not match true shape of 'data' field"),
    "too many numbers": ([1, 2, 3, 4], "Shape does not match true shape of 'data' field"),
    "a string": ([1, 2, "3"], "non-number as double"),
    "nothing": ([1, 2, None], "non-number as double"),
}


def padded_request(data: list[Any]) -> bytes:
    """A request whose length does not depend on its numbers, so that the head does not either."""
    content = json.dumps(asking(data)).encode().ljust(200)
    return b"POST /v2/models/bat/infer HTTP/1.1\r\nHost: test\r\nContent-Length: 200\r\n\r\n" + content


@pytest.mark.parametrize("name", WRONG)
def test_one_that_is_wrong_fails_alone(server: RunningServer, name: str) -> None:
    data, message = WRONG[name]
    with Wire(server) as wire:
        for _ in range(TIMES):
            wire.send(padded_request([1, 2, 3]))
            assert answer_of(wire) == [1, 2, 3]
        for _ in range(TIMES):
            wire.send(padded_request(data))
            response = wire.response()
            assert response.status_code == 400
            assert message in error_of(response)
            wire.send(padded_request([4, 5, 6]))
            assert answer_of(wire) == [4, 5, 6]


GOOD = infer_bytes("bat", asking([1, 2, 3]))
OTHER = infer_bytes("bat", asking([7, 8, 9]))
HEAD = GOOD.index(b"\r\n\r\n") + 4


@pytest.mark.parametrize("cut", [1, 10, HEAD - 4, HEAD - 1, HEAD, HEAD + 1, HEAD + 40, len(GOOD) - 1])
def test_one_that_comes_in_two_parts(server: RunningServer, cut: int) -> None:
    with Wire(server) as wire, Wire(server) as other:
        for _ in range(TIMES):
            wire.send(GOOD)
            assert answer_of(wire) == [1, 2, 3]
            wire.send(OTHER[:cut])
            # When this one is answered, the part has been read.
            other.send(GOOD)
            assert answer_of(other) == [1, 2, 3]
            wire.send(OTHER[cut:])
            assert answer_of(wire) == [7, 8, 9]


@pytest.mark.parametrize("cut", [0, 1, HEAD - 1, HEAD, HEAD + 1])
def test_several_at_once_and_a_part_of_the_next(server: RunningServer, cut: int) -> None:
    with Wire(server) as wire:
        for _ in range(TIMES):
            wire.send(GOOD)
            assert answer_of(wire) == [1, 2, 3]
            wire.send(GOOD + OTHER + GOOD + OTHER[:cut])
            assert [answer_of(wire) for _ in range(3)] == [[1, 2, 3], [7, 8, 9], [1, 2, 3]]
            wire.send(OTHER[cut:])
            assert answer_of(wire) == [7, 8, 9]


def test_other_requests_in_between(server: RunningServer) -> None:
    with Wire(server) as wire:
        for _ in range(TIMES):
            wire.send(GOOD)
            assert answer_of(wire) == [1, 2, 3]
            wire.send(b"GET /v2/health/live HTTP/1.1\r\nHost: test\r\n\r\n")
            assert wire.response().status_code == 200
            wire.send(b"\r\n" + OTHER)
            assert answer_of(wire) == [7, 8, 9]
            wire.send(binary_bytes([4, 5, 6]))
            assert wire.response().status_code == 200


def test_the_last_one_of_a_connection(server: RunningServer) -> None:
    last = infer_bytes("bat", asking([1, 2, 3]), "Connection: close")
    for _ in range(TIMES):
        with Wire(server) as wire:
            wire.send(GOOD)
            assert answer_of(wire) == [1, 2, 3]
            wire.send(last)
            response = wire.response()
            assert response.headers["connection"] == "close"
            assert wire.at_end()


def test_known_heads_on_a_new_connection(server: RunningServer) -> None:
    for _ in range(TIMES):
        with Wire(server) as wire:
            wire.send(GOOD)
            assert answer_of(wire) == [1, 2, 3]


def test_a_model_that_is_loaded_anew_checks_for_itself(explicit: ExplicitServer) -> None:
    """The requests fit its first configuration, and not the next two."""
    with Wire(explicit.server) as wire:
        for datatype, dims, status in (
            ("FP32", 3, 200),
            ("FP32", 2, 400),
            ("INT32", 3, 400),
            ("FP32", 3, 200),
        ):
            explicit.write("renewed", handlers.identity(datatype, [dims], max_batch_size=4))
            assert explicit.load("renewed").status_code == 200
            for _ in range(TIMES):
                wire.send_infer("renewed", asking([1, 2, 3]))
                assert wire.response().status_code == status
        assert explicit.unload("renewed").status_code == 200
        wire.send_infer("renewed", asking([1, 2, 3]))
        assert wire.response().status_code == 404


# --- a model that is executed where its requests are received ----------------------------------------------------


@pytest.fixture(scope="module")
def adder(start_server: StartServer) -> RunningServer:
    """A server with the example `add_sub`, which is quick."""
    return start_server(ROOT / "model_repository", "--model-control-mode=explicit", "--load-model=add_sub")


def sum_request(left: list[int], right: list[int], **members: Any) -> bytes:
    tensors = [json_tensor(f"INPUT{n}", "INT32", [1, 16], data) for n, data in enumerate((left, right))]
    return infer_bytes("add_sub", {"inputs": tensors, **members})


def sums(wire: Wire) -> dict[str, list[int]]:
    response = wire.response()
    assert response.status_code == 200, response.text
    return {output["name"]: output["data"] for output in response.json()["outputs"]}


def test_a_quick_model_answers_each(adder: RunningServer) -> None:
    random = np.random.default_rng(1)
    with Wire(adder) as wire:
        for _ in range(300):
            left, right = random.integers(-9, 10, (2, 16)).tolist()
            wire.send(sum_request(left, right))
            assert sums(wire) == {
                "OUTPUT0": [a + b for a, b in zip(left, right, strict=True)],
                "OUTPUT1": [a - b for a, b in zip(left, right, strict=True)],
            }
    (statistics,) = adder.get("/v2/models/add_sub/stats").json()["model_stats"]
    assert statistics["inference_stats"]["success"]["count"] == statistics["inference_count"] >= 300


def test_a_quick_model_answers_many_clients(adder: RunningServer) -> None:
    """What they ask arrives in any order, several in one turn of the server's loop."""
    wires = [Wire(adder) for _ in range(24)]
    for turn in range(40):
        for number, wire in enumerate(wires):
            wire.send(sum_request([number] * 16, [turn % 10] * 16))
        for number, wire in enumerate(wires):
            assert sums(wire)["OUTPUT0"] == [number + turn % 10] * 16
    for wire in wires:
        wire.close()


def test_a_quick_model_refuses_what_is_wrong(adder: RunningServer) -> None:
    with Wire(adder) as wire:
        for _ in range(50):
            wire.send(sum_request([1] * 16, [2] * 16))
            assert sums(wire)["OUTPUT0"] == [3] * 16
            wire.send(sum_request([1] * 16, [2] * 15))
            assert wire.response().status_code == 400
            wire.send(sum_request([1] * 16, [2] * 16, outputs=[{"name": "OUTPUT1"}]))
            assert sums(wire) == {"OUTPUT1": [-1] * 16}
            wire.send(sum_request([1] * 16, [2] * 16, outputs=[{"name": "OUTPUT7"}]))
            assert wire.response().status_code == 400


def test_a_large_request_right_behind_another_one(adder: RunningServer) -> None:
    """It begins in the read that ends the other one: neither head is taken for the other's."""
    small, other = sum_request([1] * 16, [2] * 16), sum_request([5] * 16, [5] * 16)
    _, _, body = sum_request([3] * 16, [4] * 16).partition(b"\r\n\r\n")
    head = b"POST /v2/models/add_sub/infer HTTP/1.1\r\nHost: test\r\nContent-Length: 300000\r\n\r\n"
    large = head + body.ljust(300_000)
    with Wire(adder) as wire:
        for _ in range(50):
            wire.send(small)
            assert sums(wire)["OUTPUT0"] == [3] * 16
        for _ in range(TIMES):
            wire.send(small + large)
            assert [sums(wire)["OUTPUT0"] for _ in range(2)] == [[3] * 16, [7] * 16]
            wire.send(other)
            assert sums(wire)["OUTPUT0"] == [10] * 16
            wire.send(large)
            assert sums(wire)["OUTPUT0"] == [7] * 16
            wire.send(large + small)
            assert [sums(wire)["OUTPUT0"] for _ in range(2)] == [[7] * 16, [3] * 16]
