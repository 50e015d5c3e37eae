"""Section 15: full queues and requests that wait too long. Needs several requests at once, so no data file."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.wire.checks import rest_differences
from tests.wire.servers import TARGET_IS_TRITON
from tests.wire.target import RestAnswer, Target, read_answer

GOOD = '{"model_name":"%s","model_version":"1","outputs":[{"name":"OUT","datatype":"INT32","shape":[1,1],"data":[%d]}]}'


def _body(port: int, **parameters: int) -> bytes:
    tensor = {"name": "PORT", "datatype": "INT32", "shape": [1, 1], "data": [port]}
    return json.dumps({"inputs": [tensor], "parameters": parameters}).encode()


class Waiting:
    """A request on a connection of its own, whose answer is read later."""

    def __init__(self, target: Target, model: str, port: int = 0, **parameters: int) -> None:
        self._socket = target.connect()
        self._reader = self._socket.makefile("rb")
        body = _body(port, **parameters)
        head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)

    def answer(self) -> RestAnswer:
        """Wait for the answer."""
        with self._socket, self._reader:
            return read_answer(self._reader)


@contextmanager
def _busy(target: Target, model: str) -> Iterator[Waiting]:
    """The model's only instance is executing while this context is open; what is yielded is answered after it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        port = listener.getsockname()[1]
        waiting = Waiting(target, model, port)
        with listener.accept()[0]:
            yield waiting


def _pending(target: Target, model: str) -> int:
    text = target.server.client.get(target.server.metrics).text
    start = f'nv_inference_pending_request_count{{model="{model}",version="1"}} '
    [line] = [line for line in text.splitlines() if line.startswith(start)]
    return int(float(line.removeprefix(start)))


def _wait_for(target: Target, model: str, pending: int) -> None:
    while _pending(target, model) != pending:
        pass


def test_a_full_queue(models: Target) -> None:
    before = _counts(models, "gated")
    with _busy(models, "gated") as executing:
        queued = Waiting(models, "gated")
        _wait_for(models, "gated", 1)
        refused = Waiting(models, "gated").answer()
        expected = {"status": 503, "error": "[request id: <id_unknown>] Exceeds maximum queue size"}
        assert rest_differences(refused, expected) == []
        assert TARGET_IS_TRITON or refused.headers["retry-after"] == "1"
        message = pb.ModelInferRequest(model_name="gated")
        message.inputs.add(name="PORT", datatype="INT32", shape=[1, 1]).contents.int_contents.append(0)
        answer = models.call("ModelInfer", message, {})
        assert (answer.code, answer.details) == (
            "UNAVAILABLE",
            "[request id: <id_unknown>] Exceeds maximum queue size",
        )
    assert executing.answer().status == 200
    assert rest_differences(queued.answer(), {"text": GOOD % ("gated", 0)}) == []
    # tritonserver counts nowhere what the queue has no place for; here overload shows.
    after = _counts(models, "gated")
    refused_count = 0 if TARGET_IS_TRITON else 2
    assert (after["success"] - before["success"], after["fail"] - before["fail"]) == (2, refused_count)


def test_a_request_that_waits_too_long(models: Target) -> None:
    """The model's time is long, so that the request before it, which has that, is executed on any machine."""
    before = _counts(models, "gated_short")
    with _busy(models, "gated_short") as executing:
        late = Waiting(models, "gated_short", timeout=1000)
        if not TARGET_IS_TRITON:
            # tritonserver looks at the queue again only when the instance is free.
            _expect_expired(late.answer())
    assert executing.answer().status == 200
    if TARGET_IS_TRITON:
        _expect_expired(late.answer())
    after = _counts(models, "gated_short")
    assert (after["success"] - before["success"], after["fail"] - before["fail"]) == (1, 1)


def _expect_expired(answer: RestAnswer) -> None:
    assert rest_differences(answer, {"status": 503, "error": "Request timeout expired"}) == []


def _counts(target: Target, model: str) -> dict[str, int]:
    """How many requests the statistics have as successes, and as failures."""
    answer = target.rest("GET", f"/v2/models/{model}/stats", {}, None)
    [entry] = json.loads(answer.body)["model_stats"]
    return {name: entry["inference_stats"][name]["count"] for name in ("success", "fail")}


@pytest.mark.parametrize("timeout", [1, 10**9])
def test_a_requests_own_timeout_needs_the_models_leave(models: Target, timeout: int) -> None:
    """`allow_timeout_override` is false."""
    answer = models.rest("POST", "/v2/models/gated/infer", {}, _body(0, timeout=timeout))
    assert answer.status == 200


def test_priorities(models: Target) -> None:
    """scheduling.md 2.1: levels 3, 2, 1, none, 0, 9, 1 with default 2 run as 1, 1, 2, none, 0, 9, 3."""
    with _busy(models, "levels") as executing:
        queued = []
        for number, priority in enumerate([3, 2, 1, None, 0, 9, 1], 1):
            parameters = {} if priority is None else {"priority": priority}
            queued.append(Waiting(models, "levels", **parameters))
            _wait_for(models, "levels", number)
    assert executing.answer().status == 200
    order = [json.loads(waiting.answer().body)["outputs"][0]["data"][0] for waiting in queued]
    assert order == [7, 3, 1, 4, 5, 6, 2]


def test_limits_of_levels(models: Target) -> None:
    """scheduling.md 2.6: level 2 has no policy of its own, and its own copy of the default one."""
    with _busy(models, "levels_short") as executing:
        queued, places = [], [2, 1, 3]
        for level, size in enumerate(places, 1):
            for _ in range(size):
                queued.append(Waiting(models, "levels_short", priority=level))
                _wait_for(models, "levels_short", len(queued))
            refused = Waiting(models, "levels_short", priority=level).answer()
            expected = {"status": 503, "error": "[request id: <id_unknown>] Exceeds maximum queue size"}
            assert rest_differences(refused, expected) == []
            assert TARGET_IS_TRITON or refused.headers["retry-after"] == "1"
    for waiting in (executing, *queued):
        assert waiting.answer().status == 200


@pytest.mark.skipif(
    TARGET_IS_TRITON, reason="without a time-out of the model's, it ignores that of a request"
)
def test_a_requests_own_timeout_where_the_model_has_none(models: Target) -> None:
    """scheduling.md 2.10, as recommended: no time-out stands for ever, and may be shortened."""
    with _busy(models, "patient") as executing:
        _expect_expired(Waiting(models, "patient", timeout=1000).answer())
    assert executing.answer().status == 200


def test_delayed_requests(models: Target) -> None:
    """scheduling.md 2.9: what has waited too long goes on behind the others, in the order of expiry."""
    with _busy(models, "delayed") as executing:
        queued = []
        for number, timeout in enumerate([1, 10**9, 2, 0], 1):
            queued.append(Waiting(models, "delayed", timeout=timeout))
            _wait_for(models, "delayed", number)
    assert executing.answer().status == 200
    order = [json.loads(waiting.answer().body)["outputs"][0]["data"][0] for waiting in queued]
    assert order == [3, 1, 4, 2]


def test_a_full_queue_of_a_step(models: Target) -> None:
    """scheduling.md 8.6 and 8.15: the requests of an ensemble's steps wait where all others do."""
    with _busy(models, "ens_gated") as executing:
        queued = Waiting(models, "gated")
        _wait_for(models, "gated", 1)
        refused = Waiting(models, "ens_gated").answer()
        expected = {
            "status": 503,
            "error": "in ensemble 'ens_gated', [request id: <id_unknown>] Exceeds maximum queue size",
        }
        assert rest_differences(refused, expected) == []
    assert (executing.answer().status, queued.answer().status) == (200, 200)
