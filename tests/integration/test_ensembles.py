"""Requests to ensembles, over REST, gRPC and streams, with real models as their steps."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.clients import KINDS, TritonClient
from tests.integration.ensemble_models import write_models
from tests.integration.grpc_requests import Channel, request_of
from tests.integration.support import (
    Gate,
    Wire,
    error_of,
    json_tensor,
    metric,
    pending,
    statistics,
    wait_until,
)


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    root: Path = tmp_path_factory.mktemp("ensembles")
    write_models(root, write_model)
    return start_server(root)


def ask(server: RunningServer, model: str, value: Any, *outputs: str, **fields: Any) -> httpx.Response:
    values = value if isinstance(value, list) else [value]
    batched = server.get(f"/v2/models/{model}").json()["inputs"][0]["shape"][0] == -1
    shape = [len(values), 1] if batched else [1]
    body: dict[str, Any] = {"inputs": [json_tensor("X", "INT32", shape, values)], **fields}
    if outputs:
        body["outputs"] = [{"name": output} for output in outputs]
    return server.infer(model, body)


def outputs_of(answer: httpx.Response) -> dict[str, list[Any]]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def both(x: int) -> int:
    return (x + 10) * (x + 20)


# --- answers ----------------------------------------------------------------------------------------------------


def test_an_ensemble_answers_what_its_steps_compute(server: RunningServer) -> None:
    answer = ask(server, "both", 3, id="z")
    assert outputs_of(answer) == {"Y": [both(3)], "S": [0, 0, 1]}
    document = answer.json()
    assert (document["model_name"], document["model_version"], document["id"]) == ("both", "1", "z")
    # No noise of a sequence that there is none of.
    assert "parameters" not in document


@pytest.mark.parametrize("kind", KINDS)
def test_every_client_gets_the_same(kind: str, server: RunningServer) -> None:
    client = TritonClient(kind, server)
    given = np.array([[1], [2], [3]], np.int32)
    answer = client.infer("both", [client.input("X", "INT32", given)])
    assert answer.as_numpy("Y").tolist() == [[both(1)], [both(2)], [both(3)]]
    client.close()


def test_outputs_stand_in_the_order_of_the_configuration(server: RunningServer) -> None:
    assert list(outputs_of(ask(server, "inner_tensors", 0))) == ["C", "A", "B"]
    assert list(outputs_of(ask(server, "inner_tensors", 0, "B", "C"))) == ["C", "B"]


@pytest.mark.parametrize(
    ("wanted", "executed"),
    [(["A"], 1), (["B"], 2), (["A", "B"], 2), (["C"], 3), (["A", "C"], 3), ([], 3)],
)
def test_any_choice_of_outputs_is_answered_and_only_what_it_needs_is_executed(
    server: RunningServer, wanted: list[str], executed: int
) -> None:
    before = statistics(server, "plus/versions/2")["inference_count"]
    got = outputs_of(ask(server, "inner_tensors", 1, *wanted))
    every = {"C": [61], "A": [21], "B": [41]}
    assert got == {name: value for name, value in every.items() if name in wanted or not wanted}
    assert statistics(server, "plus/versions/2")["inference_count"] - before == executed


def test_ensembles_may_be_steps(server: RunningServer) -> None:
    assert outputs_of(ask(server, "outer", [1, 2])) == {"Z": [both(1) + 20, both(2) + 20]}


def test_an_optional_input_may_be_left_out(server: RunningServer) -> None:
    assert outputs_of(ask(server, "maybe", 7)) == {"Y": [7]}
    body = {"inputs": [json_tensor("X", "INT32", [1, 1], [7]), json_tensor("B", "INT32", [1, 1], [6])]}
    assert outputs_of(server.infer("maybe", body)) == {"Y": [42]}


def test_what_a_step_needs_is_missed_by_its_model(server: RunningServer) -> None:
    answer = server.infer("lack", {"inputs": [], "id": "z"})
    assert answer.status_code == 400
    assert error_of(answer).startswith(
        "in ensemble 'lack', [request id: z] expected 1 inputs but got 0 inputs for model 'alone'"
    )


def test_a_batch_of_one_passes_a_model_without_a_batch_dimension(server: RunningServer) -> None:
    answer = ask(server, "mixed", 5)
    assert outputs_of(answer) == {"Y": [26]}
    assert answer.json()["outputs"][0]["shape"] == [1, 1]


def test_an_ensemble_without_a_batch_dimension_has_steps_with_one(server: RunningServer) -> None:
    answer = ask(server, "unbatched", 5)
    assert outputs_of(answer) == {"Y": [25]}
    assert answer.json()["outputs"][0]["shape"] == [1]
    # What the one calls a dimension may be the batch of the other.
    body = {"inputs": [json_tensor("X", "INT32", [3, 1], [1, 2, 3])]}
    assert outputs_of(server.infer("rows", body)) == {"Y": [21, 22, 23]}


def test_a_larger_batch_does_not(server: RunningServer) -> None:
    answer = ask(server, "mixed", [5, 6], id="z")
    assert (answer.status_code, error_of(answer)) == (
        400,
        "in ensemble 'mixed', [request id: z] unexpected shape for input 'x' for model 'alone'. Expected [1], got [2,1]. ",
    )


def test_id_and_parameters_reach_every_step_and_none_can_write_to_what_others_read(
    server: RunningServer,
) -> None:
    answer = ask(server, "asked", 1, id="me", parameters={"colour": "red", "priority": 1, "timeout": 0})
    assert outputs_of(answer) == {"A": ["me [('colour', 'red')]"], "B": ["me [('colour', 'red')]"]}


def test_labels_are_those_of_the_model_that_makes_the_output(server: RunningServer) -> None:
    body = {
        "inputs": [json_tensor("X", "INT32", [1, 1], [3])],
        "outputs": [{"name": "S", "parameters": {"classification": 1}}],
    }
    assert outputs_of(server.infer("both", body)) == {"S": ["1.000000:2:plus"]}


# --- errors -----------------------------------------------------------------------------------------------------


def test_an_error_of_a_step_keeps_its_code_and_tells_the_way(server: RunningServer) -> None:
    answer = ask(server, "outer", -1, id="z")
    assert answer.status_code == 500
    text = error_of(answer)
    assert text.startswith(
        "in ensemble 'outer', in ensemble 'both', Failed to process the request(s) for model 'plus_0'"
    )
    assert "negative" in text


def test_what_is_wrong_with_the_request_itself_has_no_prefix(server: RunningServer) -> None:
    answer = ask(server, "both", [1] * 5)
    assert (
        error_of(answer) == "[request id: <id_unknown>] inference request batch-size must be <= 4 for 'both'"
    )
    assert "unexpected inference output 'V' for model 'both'" in error_of(ask(server, "both", 1, "V"))


def test_a_failed_request_counts_once(server: RunningServer) -> None:
    before, failed = (
        statistics(server, "both"),
        metric(server, "nv_inference_request_failure", model="both", reason="OTHER"),
    )
    assert ask(server, "both", -1).status_code == 500
    after = statistics(server, "both")
    assert after["inference_stats"]["fail"]["count"] - before["inference_stats"]["fail"]["count"] == 1
    assert metric(server, "nv_inference_request_failure", model="both", reason="OTHER") - failed == 1


def test_statistics_count_the_request_and_its_steps(server: RunningServer) -> None:
    before, steps = statistics(server, "both"), statistics(server, "times")
    ask(server, "both", [1, 2, 3])
    after = statistics(server, "both")
    for name, difference in (("inference_count", 3), ("execution_count", 1)):
        assert after[name] - before[name] == difference
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 1
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    assert statistics(server, "times")["inference_count"] - steps["inference_count"] == 3


# --- whoever leaves, and whoever comes at the same time -----------------------------------------------------------


def test_a_client_that_leaves_takes_the_steps_along(server: RunningServer) -> None:
    name = "nv_inference_request_failure"
    before = [metric(server, name, model=model, reason="CANCELED") for model in ("held", "gated")]
    with Gate() as gate, Wire(server) as wire:
        wire.send_infer("held", {"inputs": [json_tensor("X", "INT32", [1], [gate.port])]})
        gate.await_start()
        wire.close()
        wait_until(lambda: metric(server, name, model="held", reason="CANCELED") == before[0] + 1)
    wait_until(lambda: pending(server, "gated") == 0)
    # What stands behind was not executed.
    assert statistics(server, "alone")["inference_stats"]["fail"]["count"] == 0
    assert outputs_of(ask(server, "held", 0)) == {"Y": [1]}


def test_a_deadline_ends_the_request(server: RunningServer) -> None:
    with Gate() as gate, Channel(server) as channel:
        tensor = pb.ModelInferRequest.InferInputTensor(name="X", datatype="INT32", shape=[1])
        tensor.contents.int_contents.append(gate.port)
        with pytest.raises(grpc.RpcError) as caught:
            channel.infer(request_of("held", tensor), timeout=1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_many_at_a_time_get_their_own_answers_of_quick_models(server: RunningServer) -> None:
    def asked(number: int) -> bool:
        rows = number % 3 + 1
        array = (np.arange(rows * 16, dtype=np.int32) * number).reshape(rows, 16)
        body = {
            "inputs": [
                json_tensor("INPUT0", "INT32", [rows, 16], array.tolist()),
                json_tensor("INPUT1", "INT32", [rows, 16], [[number] * 16] * rows),
            ]
        }
        got = outputs_of(server.infer("quick", body))
        # (a + b, a - b) three times.
        return bool(
            got["OUTPUT0"] == (2 * array + 2 * number).ravel().tolist()
            and got["OUTPUT1"] == (2 * array - 2 * number).ravel().tolist()
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(asked, range(200)))


# --- what is told of them ---------------------------------------------------------------------------------------


def test_configuration_and_metadata(server: RunningServer) -> None:
    config = server.get("/v2/models/outer/config").json()
    assert (config["platform"], config["backend"], config["instance_group"]) == ("ensemble", "", [])
    assert "optimization" not in config
    assert config["default_model_filename"] == ""
    assert config["ensemble_scheduling"]["step"][0] == {
        "model_name": "both",
        "model_version": -1,
        "input_map": {"X": "X"},
        "output_map": {"Y": "t"},
        "model_namespace": "",
    }
    metadata = server.get("/v2/models/outer").json()
    assert metadata["platform"] == "ensemble"
    assert metadata["inputs"] == [{"name": "X", "datatype": "INT32", "shape": [-1, 1]}]
    assert server.get("/v2/models/counted/config").json()["model_transaction_policy"] == {"decoupled": True}


# --- streams ----------------------------------------------------------------------------------------------------


def stream(server: RunningServer, model: str, *values: int, **options: Any) -> list[Any]:
    """What comes through one stream for a request with each of the values: results, and errors."""
    with closing(triton.InferenceServerClient(server.grpc)) as client:
        came: list[Any] = []
        client.start_stream(lambda result, error: came.append(error or result))
        for value in values:
            array = np.full([1, 1] if model == "both" else [1], value, np.int32)
            tensor = triton.InferInput("X", list(array.shape), "INT32").set_data_from_numpy(array)
            client.async_stream_infer(model, [tensor], **options)
        # Returns when the server has answered all.
        client.stop_stream()
        return came


def told(answers: list[Any], output: str) -> list[Any]:
    return [
        str(each) if isinstance(each, Exception) else each.as_numpy(output).ravel().tolist()
        for each in answers
    ]


def test_an_ensemble_answers_over_a_stream(server: RunningServer) -> None:
    assert told(stream(server, "both", 1, 2), "Y") == [[both(1)], [both(2)]]


def test_each_response_of_a_decoupled_step_goes_through_those_behind_it(server: RunningServer) -> None:
    assert told(stream(server, "counted", 4), "Y") == [[1], [2], [3], [4]]


def test_no_responses_are_a_final_flag(server: RunningServer) -> None:
    [result] = stream(server, "counted", 0, enable_empty_final_response=True)
    assert result.get_response().parameters["triton_final_response"].bool_param
    assert not result.get_response().outputs


def test_an_error_in_the_middle_comes_behind_what_was_before(server: RunningServer) -> None:
    answers = told(stream(server, "counted", 9), "Y")
    assert answers[:-1] == [[1], [2], [3], [4], [5]]
    assert "in ensemble 'counted', " in answers[-1]
    assert "too many" in answers[-1]


def test_only_a_stream_may_ask_an_ensemble_with_a_decoupled_step(server: RunningServer) -> None:
    assert ask(server, "counted", 1).status_code == 501
