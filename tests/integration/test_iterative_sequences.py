"""Iterative sequences: handlers that ask for another round of a request, over real sockets."""

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer, StartServer, WriteModel, launch
from tests.integration.support import error_of, json_tensor, metric, statistics, wait_until

# n + (n - 1) + … + 1, a summand in each round. A negative n never ends.
SUMMING = """
class Model:
    def __call__(self, inputs, requests):
        total, starts = inputs["S"] + inputs["N"], inputs["T"] + inputs["START"]
        for request, [n] in zip(requests, inputs["N"].tolist()):
            if n != 1:
                request.reschedule({"N": [[n - 1 if n > 0 else n]]})
        return {"SUM": total, "SO": total, "STARTS": starts, "TO": starts, "ID": inputs["CORRID"]}
"""

SUMMING_CONFIG = """
max_batch_size: 4
input { name: "N" data_type: TYPE_INT32 dims: 1 }
output { name: "SUM" data_type: TYPE_INT32 dims: 1 }
output { name: "STARTS" data_type: TYPE_INT32 dims: 1 }
output { name: "ID" data_type: TYPE_UINT64 dims: 1 }
sequence_batching {
  iterative_sequence: true
  STRATEGY
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }
  control_input { name: "CORRID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }
  state { input_name: "S" output_name: "SO" data_type: TYPE_INT32 dims: 1 }
  state { input_name: "T" output_name: "TO" data_type: TYPE_INT32 dims: 1 }
}
"""

# A batch waits for three requests: nothing is executed before they are there.
OLDEST_OF_THREE = (
    "oldest { max_candidate_sequences: 3 preferred_batch_size: [ 3 ] max_queue_delay_microseconds: 60000000 }"
)

MISTAKES = """
import numpy as np
class Model:
    inputs = {"WHAT": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [1])}
    max_batch_size = 4
    def __call__(self, inputs, requests):
        (request,) = requests
        what = int(inputs["WHAT"][0, 0])
        if what == 0:
            return {"OUT": inputs["WHAT"]}
        if what == 1:
            request.reschedule()
            request.reschedule()
        wrong = {
            2: {"WHAT": np.zeros((1, 1), np.int64)},
            3: {"OTHER": [[1]]},
            4: {"WHAT": np.zeros((1, 2), np.int32)},
            5: {"WHAT": np.zeros((2, 1), np.int32)},
        }
        if what in wrong:
            request.reschedule(wrong[what])
        if what == 7:
            self.late = request
            return {"OUT": inputs["WHAT"]}
        if what == 8:
            self.late.reschedule()
        if what == 9:
            request.reschedule({"WHAT": [[0]]})
        return None
"""

GENERATOR = """
class Model:
    inputs = {"N": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [1])}
    def __call__(self, inputs):
        yield {"OUT": inputs["N"]}
"""

DECOUPLED = "model_transaction_policy { decoupled: true }"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("iterative")
    for name, strategy, more in (
        ("direct", "direct { }", ""),
        ("oldest", "oldest { max_candidate_sequences: 8 }", ""),
        ("three", OLDEST_OF_THREE, ""),
        ("one", "oldest { max_candidate_sequences: 1 }", ""),
        ("streams", "oldest { max_candidate_sequences: 8 }", DECOUPLED),
        ("streams_three", OLDEST_OF_THREE, DECOUPLED),
    ):
        write_model(root, name, SUMMING, SUMMING_CONFIG.replace("STRATEGY", strategy) + more)
    code = SUMMING.replace("    def __call__", "    async def __call__")
    write_model(root, "async", code, SUMMING_CONFIG.replace("STRATEGY", "oldest { }"))
    write_model(root, "mistakes", MISTAKES, "sequence_batching { iterative_sequence: true oldest { } }")
    write_model(root, "plain", MISTAKES)
    write_model(root, "generator", GENERATOR, "sequence_batching { iterative_sequence: true oldest { } }")
    return root


@pytest.fixture(scope="module")
def server(start_server: StartServer, repository: Path) -> RunningServer:
    return start_server(repository)


def body(n: int, **parameters: Any) -> dict[str, Any]:
    return {"inputs": [json_tensor("N", "INT32", [1, 1], [n])], "parameters": parameters}


def outputs(response: httpx.Response) -> dict[str, int]:
    assert response.status_code == 200, response.text
    return {output["name"]: output["data"][0] for output in response.json()["outputs"]}


@pytest.mark.parametrize("model", ["direct", "oldest", "async"])
def test_a_request_is_executed_until_it_is_answered(server: RunningServer, model: str) -> None:
    """Several at a time, of different lengths, in all batches that come about."""
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda n: outputs(server.infer(model, body(n))), range(1, 25)))
    assert [answer["SUM"] for answer in answers] == [n * (n + 1) // 2 for n in range(1, 25)]
    assert {answer["STARTS"] for answer in answers} == {1}
    # The server has given each an id of its own.
    assert len({answer["ID"] for answer in answers}) == len(answers)
    assert 0 not in {answer["ID"] for answer in answers}


def test_rounds_of_several_requests_share_executions(server: RunningServer) -> None:
    with ThreadPoolExecutor(3) as clients:
        answers = list(clients.map(lambda _: outputs(server.infer("three", body(4))), range(3)))
    assert [answer["SUM"] for answer in answers] == [10, 10, 10]
    counted = statistics(server, "three")
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in counted["batch_stats"]] == [
        (3, 4)
    ]
    # A success is a request; executions and inferences are rounds.
    assert counted["inference_stats"]["success"]["count"] == 3
    assert (counted["inference_count"], counted["execution_count"]) == (12, 4)
    assert counted["inference_stats"].get("fail", {}).get("count", 0) == 0


def test_an_id_of_the_clients(server: RunningServer) -> None:
    """It can be used again at once; but a request without START belongs to nothing."""
    for _ in range(2):
        answer = outputs(server.infer("oldest", body(3, sequence_id=7, sequence_start=True)))
        assert answer == {"SUM": 6, "STARTS": 1, "ID": 7}
    response = server.infer("oldest", body(3, sequence_id=7))
    assert (response.status_code, "must specify the START flag" in error_of(response)) == (400, True)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (1, "a request of model 'mistakes' was rescheduled twice in one round"),
        (2, "input 'WHAT' of the next round: expected INT32, got INT64"),
        (3, "a request was rescheduled with inputs ['OTHER'], expected some of ['WHAT']"),
        (
            4,
            "a request was rescheduled with wrong inputs: [request id: <id_unknown>] unexpected shape for input 'WHAT'",
        ),
        (5, "a request of model 'mistakes' was rescheduled with 2 rows, expected 1"),
        (6, "the handler returned NoneType, expected a dict of 'OUT'"),
        (8, "a request of model 'mistakes' cannot be rescheduled"),
    ],
)
def test_mistakes_of_the_model(server: RunningServer, what: int, text: str) -> None:
    def ask(number: int) -> httpx.Response:
        return server.infer("mistakes", {"inputs": [json_tensor("WHAT", "INT32", [1, 1], [number])]})

    assert outputs(ask(7)) == {"OUT": 7}
    response = ask(what)
    assert response.status_code == 500
    assert text in error_of(response)
    assert outputs(ask(0)) == outputs(ask(9)) == {"OUT": 0}


def test_a_model_that_is_not_iterative_loses_no_request(server: RunningServer) -> None:
    response = server.infer("plain", {"inputs": [json_tensor("WHAT", "INT32", [1, 1], [9])]})
    assert response.status_code == 500
    assert "cannot be rescheduled: that takes sequence_batching { iterative_sequence: true }" in error_of(
        response
    )


def test_a_generator_is_refused(server: RunningServer) -> None:
    index = server.post("/v2/repository/index", json={}).json()
    (reason,) = [entry["reason"] for entry in index if entry["name"] == "generator"]
    assert "in an iterative model it returns the response of each round" in reason


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def grpc(server: RunningServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


def number(n: int) -> list[triton.InferInput]:
    tensor = triton.InferInput("N", [1, 1], "INT32")
    tensor.set_data_from_numpy(np.array([[n]], np.int32))
    return [tensor]


def streamed(server: RunningServer, model: str, n: int) -> list[int]:
    """What a stream answers to one request, up to the final flag."""
    answers: queue.Queue[tuple[triton.InferResult | None, InferenceServerException | None]] = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer(model, number(n), enable_empty_final_response=True)
        sums: list[int] = []
        while True:
            result, error = answers.get(timeout=60)
            assert error is None and result is not None, error
            tensor = result.as_numpy("SUM")
            if tensor is not None:
                sums.append(int(tensor[0, 0]))
            if result.get_response().parameters["triton_final_response"].bool_param:
                return sums


def test_a_decoupled_model_answers_each_round(server: RunningServer) -> None:
    assert streamed(server, "streams", 4) == [4, 7, 9, 10]
    assert streamed(server, "streams", 1) == [1]
    responses = statistics(server, "streams")["response_stats"]
    assert {position: each["success"]["count"] for position, each in responses.items()} == {
        "0": 2,
        "1": 1,
        "2": 1,
        "3": 1,
    }


def test_streams_share_executions(server: RunningServer) -> None:
    """Continuous batching: each has its own answers, one with each execution."""
    with ThreadPoolExecutor(3) as clients:
        answers = list(clients.map(lambda _: streamed(server, "streams_three", 4), range(3)))
    assert answers == [[4, 7, 9, 10]] * 3
    batches = statistics(server, "streams_three")["batch_stats"]
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in batches] == [(3, 4)]


@pytest.mark.parametrize("model", ["one", "streams"])
def test_a_client_that_leaves_ends_the_rounds(server: RunningServer, model: str) -> None:
    """The endless request holds the only slot of `one`; a stream waits for its reader with each round."""
    executed = statistics(server, model)["execution_count"]
    with triton.InferenceServerClient(server.grpc) as client:
        if model == "one":
            call = client.async_infer(model, number(-1), lambda result, error: None)
        else:
            client.start_stream(lambda result, error: None)
            client.async_stream_infer(model, number(-1))
        wait_until(lambda: statistics(server, model)["execution_count"] > executed + 2)
        if model == "one":
            call.cancel()
        else:
            client.stop_stream(cancel_requests=True)
    if model == "one":
        assert outputs(server.infer(model, body(2)))["SUM"] == 3
    wait_until(lambda: metric(server, "nv_inference_request_failure", model=model, reason="CANCELED") == 1)
    # Nothing of it is executed any more.
    ended = statistics(server, model)["execution_count"]
    assert streamed(server, "streams", 2) == [2, 3]
    assert statistics(server, model)["execution_count"] - ended == (2 if model == "streams" else 0)


@pytest.mark.slow
def test_a_request_without_end_does_not_keep_the_server_from_leaving(
    tmp_path: Path, repository: Path
) -> None:
    server = launch(tmp_path, repository, "--exit-timeout-secs=1")
    answers: queue.Queue[InferenceServerException | None] = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as client:
        client.async_infer("one", number(-1), lambda result, error: answers.put(error))
        wait_until(lambda: statistics(server, "one")["execution_count"] > 2)
        server.stop()
        error = answers.get(timeout=60)
    assert error is not None
    assert error.status() == "StatusCode.UNAVAILABLE"
