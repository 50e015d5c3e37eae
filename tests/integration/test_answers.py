"""Handlers that answer each request of a batch by itself: an exception in the place of an answer is that request's.

The delay is so long, and the batch so small, that clients who send one row at a time always share their executions.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from kserve_v2_backends.eager import backend as eager
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.support import json_tensor, statistics

_BATCHES = (
    "max_batch_size: 4 instance_group { kind: KIND_CPU count: 1 } "
    "dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 60000000 } "
)

_CACHED = """
max_batch_size: 4
response_cache { enable: true }
parameters { key: "split_large_requests" value { string_value: "true" } }
"""

# As the contract's documentation shows it.
_METHOD = """
    def __call__(self, inputs, requests):
        answers, start = [], 0
        for request in requests:
            texts = inputs["text"][start : start + request.rows]
            start += request.rows
            if all(texts.ravel()):
                answers.append({"length": [[len(text)] for text in texts.ravel()]})
            else:
                answers.append(InvalidArgumentError("'text' is empty"))
        return answers
"""

_MERGED = f"""
from kserve_v2 import InvalidArgumentError

class Model:
    inputs = {{"text": ("BYTES", [1])}}
    outputs = {{"length": ("INT64", [1])}}
{_METHOD}"""

_SEPARATE = """
from kserve_v2 import InvalidArgumentError

class Model:
    inputs = {"text": ("BYTES", [1])}
    outputs = {"length": ("INT64", [1])}
    ragged = True

    def __call__(self, inputs, requests):
        def answer(texts):
            if not all(texts.ravel()):
                return InvalidArgumentError("'text' is empty")
            return {"length": [[len(text)] for text in texts.ravel()]}

        return [answer(each["text"]) for each in inputs]
"""

_ODD = """
class Model:
    inputs = {"text": ("BYTES", [1])}
    outputs = {"length": ("INT64", [1])}

    def __call__(self, inputs, requests):
        kinds = {
            b"raise": ValueError("poison"), b"none": None, b"type": {"length": [["x"]]}, b"rows": {"length": [[1], [2]]},
            b"undeclared": {"length": [[1]], "other": [[2]]}, b"parameter": {"length": [[1]]},
        }
        texts = inputs["text"].ravel().tolist()
        for text, request in zip(texts, requests):
            if text == b"parameter":
                request.response_parameters["p"] = object()
            request.response_parameters["text"] = text.decode()
        return [kinds.get(text, {"length": [[len(text)]]}) for text in texts]
"""

_ROUNDS = """
class Model:
    def __call__(self, inputs, requests):
        answers = []
        for n, request in zip(inputs["n"].ravel().tolist(), requests):
            if n > 1:
                request.reschedule({"n": [[n - 1]]})
                answers.append(None)
            elif n < 1:
                answers.append(ValueError("no rounds"))
            else:
                answers.append({"done": [[1]]})
        return answers
"""
_ROUNDS_CONFIG = """
max_batch_size: 4
input { name: "n" data_type: TYPE_INT64 dims: 1 }
output { name: "done" data_type: TYPE_INT64 dims: 1 }
sequence_batching { iterative_sequence: true oldest { } }
"""


@pytest.fixture(scope="module")
def answering(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    root = tmp_path_factory.mktemp("answering")
    write_model(root, "merged", _MERGED, _BATCHES)
    write_model(root, "merged_async", _MERGED.replace("def __call__", "async def __call__"), _BATCHES)
    write_model(root, "separate", _SEPARATE, _BATCHES)
    write_model(root, "separate_async", _SEPARATE.replace("def __call__", "async def __call__"), _BATCHES)
    write_model(root, "odd", _ODD, _BATCHES)
    write_model(root, "cached", _MERGED, _CACHED)
    write_model(root, "rounds", _ROUNDS, _ROUNDS_CONFIG)
    return start_server(root, "--cache-config=local,size=1048576")


def _body(*texts: str) -> dict[str, Any]:
    return {"inputs": [json_tensor("text", "BYTES", [len(texts), 1], list(texts))]}


def _ask(server: RunningServer, model: str, later: Callable[..., Future[Any]], *texts: str) -> list[Any]:
    asked = [later(server.infer, model, _body(text)) for text in texts]
    return [each.result() for each in asked]


def test_the_example_is_the_documentation_s() -> None:
    assert eager.__doc__ is not None
    assert _METHOD in eager.__doc__


@pytest.mark.parametrize("model", ["merged", "merged_async", "separate", "separate_async"])
def test_an_error_is_one_request_s(
    answering: RunningServer, later: Callable[..., Future[Any]], model: str
) -> None:
    first, bad, *others = _ask(answering, model, later, "a", "", "ccc", "dd")
    assert [each.json()["outputs"][0]["data"] for each in (first, *others)] == [[1], [3], [2]]
    assert (bad.status_code, bad.json()) == (400, {"error": "'text' is empty"})
    counted = statistics(answering, model)
    assert (counted["inference_count"], counted["execution_count"]) == (3, 1)
    stats = counted["inference_stats"]
    assert [stats[name]["count"] for name in ("success", "fail", "queue", "compute_infer")] == [3, 1, 3, 3]
    assert [batch["batch_size"] for batch in counted["batch_stats"]] == [4]
    # Several rows of one request are its own.
    assert answering.infer(model, _body("a", "bb", "", "dd")).status_code == 400
    good = answering.infer(model, _body("a", "bb", "c", "dd")).json()
    assert good["outputs"][0]["data"] == [1, 2, 1, 2]


def test_so_it_is_over_grpc(answering: RunningServer) -> None:
    with triton_grpc.InferenceServerClient(answering.grpc) as client:
        found: list[Any] = []
        for text in (b"a", b"", b"ccc", b"dd"):
            given = triton_grpc.InferInput("text", [1, 1], "BYTES")
            given.set_data_from_numpy(np.array([[text]], object))
            client.async_infer(
                "merged", [given], lambda result, error, text=text: found.append((text, result, error))
            )
        while len(found) < 4:
            client.is_server_live()
    outcomes = {text: error or result.as_numpy("length").item() for text, result, error in found}
    error = outcomes.pop(b"")
    assert isinstance(error, InferenceServerException)
    assert (error.status(), error.message()) == ("StatusCode.INVALID_ARGUMENT", "'text' is empty")
    assert outcomes == {b"a": 1, b"ccc": 3, b"dd": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise", "message: ValueError: poison (request_id="),
        ("none", "the handler returned NoneType, expected a dict of 'length'"),
        ("type", "output 'length': expected INT64"),
        ("rows", "output 'length' of model 'odd' has shape [2, 1], expected a batch of 1"),
        ("undeclared", "the handler returned 'other', expected only 'length'"),
        ("parameter", "'p'"),
    ],
)
def test_what_does_not_fit_is_one_request_s(
    answering: RunningServer, later: Callable[..., Future[Any]], text: str, message: str
) -> None:
    first, bad, *others = _ask(answering, "odd", later, "a", text, "ccc", "dd")
    assert [each.json()["outputs"][0]["data"] for each in (first, *others)] == [[1], [3], [2]]
    assert [each.json()["parameters"]["text"] for each in (first, *others)] == ["a", "ccc", "dd"]
    assert bad.status_code == 500
    assert message in bad.json()["error"]
    assert {each.status_code for each in _ask(answering, "odd", later, "a", "bb", "ccc", "dd")} == {200}


def test_a_list_for_one_request_is_one_answer(answering: RunningServer) -> None:
    answer = answering.infer("merged", _body("a", "bb", "ccc", "dddd"))
    assert answer.json()["outputs"][0]["data"] == [1, 2, 3, 4]
    bad = answering.infer("odd", _body("a", "b", "c", "d"))
    assert bad.json()["error"] == (
        "the handler returned 4 answers to 1 requests, expected a list with one dict, or exception, for each"
    )


def test_a_large_request_has_one_outcome(answering: RunningServer) -> None:
    good = answering.infer("cached", _body(*"abcdefghij"))
    assert good.json()["outputs"][0]["data"] == [1] * 10
    bad = answering.infer("cached", _body(*"abcdefg", "", *"ij"))
    assert (bad.status_code, bad.json()["error"]) == (400, "'text' is empty")
    counted = statistics(answering, "cached")["inference_stats"]
    assert (counted["success"]["count"], counted["fail"]["count"]) == (1, 1)


def test_an_error_is_not_cached(answering: RunningServer) -> None:
    before = statistics(answering, "cached")["inference_stats"]
    bad, again = (answering.infer("cached", _body("")) for _ in range(2))
    good, hit = (answering.infer("cached", _body("abc")) for _ in range(2))
    assert [bad.status_code, again.status_code, good.status_code] == [400, 400, 200]
    assert hit.json()["outputs"] == good.json()["outputs"]
    after = statistics(answering, "cached")["inference_stats"]
    assert after["cache_hit"]["count"] - before["cache_hit"]["count"] == 1
    assert after["fail"]["count"] - before["fail"]["count"] == 2


def test_rounds_end_one_by_one(answering: RunningServer, later: Callable[..., Future[Any]]) -> None:
    asked = [
        later(answering.infer, "rounds", {"inputs": [json_tensor("n", "INT64", [1, 1], [n])]})
        for n in (3, 0, 1, 5)
    ]
    first, bad, *others = [each.result() for each in asked]
    assert [each.json()["outputs"][0]["data"] for each in (first, *others)] == [[1]] * 3
    assert bad.status_code == 500
    assert "ValueError: no rounds" in bad.json()["error"]
