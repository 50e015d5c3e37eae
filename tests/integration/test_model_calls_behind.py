"""Handlers that call models with something in front of their queue: ensembles, sequences, caches; and with torch."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.calling_models import ASYNC, SYNC, Step, run
from tests.integration.ensemble_models import COUNT, INT, ONE_INT, add, ensemble, write_ensemble
from tests.integration.support import Gate, Wire, error_of, json_tensor, pending, statistics, wait_until

# Calls the model that it is told to, if it is told one.
STEP = """
class Model:
    inputs = {"x": ("INT32", [1]), "to": ("BYTES", [-1])}
    outputs = {"y": ("INT32", [1])}
    def load(self, context):
        self.context = context
    def __call__(self, inputs):
        to = inputs["to"]
        if len(to):
            answer = self.context.call(to[0].decode(), {"X": inputs["x"], "TO": to[1:]})
            return {"y": answer["Y"]}
        return {"y": inputs["x"] + 1}
"""

# The sum of a sequence so far; of another model, each time that it is executed.
SUM = """
class Model:
    inputs = {"x": ("INT32", [1])}
    outputs = {"sum": ("INT32", [1])}
    sums = {}
    def __call__(self, inputs, requests):
        [request] = requests
        step = request.sequence
        if step.start:
            self.sums[step.id] = 0
        self.sums[step.id] += inputs["x"]
        return {"sum": self.sums[step.id]}
"""

TORCH = """
import torch

class Model:
    inputs = {"x": ("INT32", [1])}
    outputs = {"y": ("INT32", [1])}
    tensors = "torch"
    def load(self, context):
        self.context = context
    def __call__(self, inputs):
        x = inputs["x"]
        [stated] = [each for each in self.context.stream("alone", {"x": x})]
        words = self.context.call("words", {"text": ["no", "array"]} if int(x) == 0 else {})
        answer = self.context.call("alone", {"x": stated["y"].expand(1)})
        assert isinstance(answer["y"], torch.Tensor)
        answer["y"] *= 10
        assert words["upper"].tolist() == [b"ONE"]
        # What was given away is as it was.
        assert int(x) + 1 == int(stated["y"])
        return answer
"""

WORDS = """
class Model:
    inputs = {}
    outputs = {"upper": ("BYTES", [1])}
    def __call__(self, inputs):
        return {"upper": ["ONE"]}
"""


# Waits at a gate.
GATED = """
import socket
class Model:
    inputs = {"x": ("INT32", [1])}
    outputs = {"y": ("INT32", [1])}
    def __call__(self, inputs):
        if inputs["x"][0]:
            with socket.create_connection(("127.0.0.1", int(inputs["x"][0])), timeout=120) as gate:
                gate.recv(1)
        return {"y": inputs["x"]}
"""

WAITING = """
class Model:
    inputs = {"x": ("INT32", [1])}
    outputs = {"y": ("INT32", [1])}
    def load(self, context):
        self.context = context
    def __call__(self, inputs):
        return self.context.call("gated", inputs)
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("behind")


@pytest.fixture(scope="module")
def server(start_server: StartServer, repository: Path, write_model: WriteModel) -> RunningServer:
    root = repository
    write_model(root, "caller", SYNC, 'name: "caller" instance_group { count: 4 }')
    write_model(root, "acaller", ASYNC)
    write_model(root, "alone", add(1, 0))
    write_model(root, "count", COUNT)
    write_model(root, "step", STEP)
    write_model(root, "sum", SUM, "sequence_batching { oldest { max_candidate_sequences: 4 } }")
    write_model(root, "cached", add(7, 0), "response_cache { enable: true }")
    write_model(root, "torching", TORCH)
    write_model(root, "gated", GATED)
    write_model(root, "waiting", WAITING)
    write_ensemble(root, ensemble("patient", [("waiting", {"x": "X"}, {"y": "Y"})], ONE_INT, {"Y": INT}))
    write_model(root, "words", WORDS)
    inputs = {**ONE_INT, "TO": "TYPE_STRING [ -1 ]"}
    write_ensemble(
        root,
        ensemble(
            "steps",
            [("alone", {"x": "X"}, {"y": "mid"}), ("step", {"x": "mid", "to": "TO"}, {"y": "Y"})],
            inputs,
            {"Y": INT},
        ),
    )
    write_ensemble(
        root, ensemble("counting", [("count", {"n": "X"}, {"i": "Y"})], ONE_INT, {"Y": INT}, _DECOUPLED)
    )
    flags = ("--model-control-mode=explicit", "--load-model=*", "--cache-config=local,size=1000000")
    return start_server(root, *flags)


_DECOUPLED = "model_transaction_policy { decoupled: true }"

both = pytest.mark.parametrize("model", ["caller", "acaller"])


def steps(x: int, *to: str) -> Step:
    return {"model": "steps", "inputs": {"X": ["int32", [x]], "TO": ["object", list(to)]}}


class TestEnsembles:
    @both
    def test_an_ensemble_is_called_like_a_model(self, server: RunningServer, model: str) -> None:
        results = run(server, steps(1), steps(5), model=model)
        assert [each["outputs"] for each in results] == [{"Y": [3]}, {"Y": [7]}]

    @both
    def test_an_ensemble_that_streams(self, server: RunningServer, model: str) -> None:
        step = {"model": "counting", "inputs": {"X": ["int32", [3]]}, "stream": True}
        [answers] = run(server, step, model=model)
        assert [each["outputs"]["Y"] for each in answers] == [[0], [1], [2]]

    def test_a_circle_through_an_ensemble_is_refused(self, server: RunningServer) -> None:
        inputs = [json_tensor("X", "INT32", [1], [1]), json_tensor("TO", "BYTES", [1], ["steps"])]
        response = server.infer("steps", {"inputs": inputs})
        assert response.status_code == 500
        assert "Model step - Error when running inference: it would wait for itself" in error_of(response)
        assert "('step' version 1 -> 'step' version 1)" in error_of(response)

    def test_an_error_of_a_step_keeps_its_text(self, server: RunningServer) -> None:
        [result] = run(server, steps(-5))
        assert result["kind"] == "InternalError"
        assert "ValueError: negative" in result["error"]
        assert result["error"].count("in ensemble 'steps'") == 1

    def test_the_client_of_an_ensemble_leaves_with_all_that_its_steps_call(
        self, server: RunningServer
    ) -> None:
        executed = statistics(server, "gated")["execution_count"]
        with Gate() as gate, Wire(server) as busy:
            busy.send_infer("gated", {"inputs": [json_tensor("x", "INT32", [1], [gate.port])]})
            gate.await_start()
            client = Wire(server)
            client.send_infer("patient", {"inputs": [json_tensor("X", "INT32", [1], [0])]})
            wait_until(lambda: pending(server, "gated") == 1)
            client.close()
            wait_until(lambda: pending(server, "gated") == 0)
            gate.open()
            assert busy.response().status_code == 200
        wait_until(lambda: statistics(server, "gated")["execution_count"] == executed + 1)
        # Its only instance is free again.
        step = {"model": "patient", "inputs": {"X": ["int32", [0]]}}
        assert run(server, step)[0]["outputs"] == {"Y": [0]}


def in_sequence(x: int, number: int | str, *, start: bool = False, end: bool = False) -> Step:
    return {"model": "sum", "inputs": {"x": ["int32", [x]]}, "sequence": [number, start, end]}


class TestSequences:
    @pytest.mark.parametrize("number", [7, "seven"])
    def test_steps_of_a_sequence_may_come_from_calls(self, server: RunningServer, number: int | str) -> None:
        results = run(
            server,
            in_sequence(1, number, start=True),
            in_sequence(2, number),
            in_sequence(3, number, end=True),
        )
        assert [each["outputs"]["sum"] for each in results] == [[1], [3], [6]]

    def test_a_sequence_of_calls_stays_with_the_version_that_it_has_begun_with(
        self, server: RunningServer, repository: Path, write_model: WriteModel
    ) -> None:
        def ask(x: int, number: int, *, start: bool = False, end: bool = False, version: str = "") -> Any:
            step = in_sequence(x, number, start=start, end=end) | {"model": "replaced", "version": version}
            [result] = run(server, step)
            return result["outputs"]["sum"][0] if "outputs" in result else result["error"]

        path = "/v2/repository/models/replaced"
        config = "sequence_batching { oldest { max_candidate_sequences: 4 } max_sequence_idle_microseconds: 60000000 }"
        write_model(repository, "replaced", SUM, config)
        assert server.post(f"{path}/load").status_code == 200
        assert ask(1, 31, start=True) == 1
        write_model(repository, "replaced", SUM.replace("+= ", "+= 100 * "), config)
        assert server.post(f"{path}/load").status_code == 200
        assert ask(2, 32, start=True) == 200
        assert ask(2, 31) == 3
        assert ask(2, 31, version="1") == 5
        # What is about to go finishes its sequences.
        assert server.post(f"{path}/unload").status_code == 200
        # It begins none, once what was under way when it was unloaded is over.
        wait_until(lambda: "only finishes the sequences" in str(ask(1, 33, start=True, end=True)))
        assert ask(2, 31, end=True) == 7
        assert ask(2, 32, end=True) == 400

    def test_what_a_sequence_does_not_allow_is_the_caller_s_mistake(self, server: RunningServer) -> None:
        without = {"model": "sum", "inputs": {"x": ["int32", [1]]}}
        for result in run(server, in_sequence(1, 99), in_sequence(1, -5, start=True), without):
            assert result["kind"] == "InvalidArgumentError"
            assert result["error"].startswith("Model sum - Error when running inference: ")


class TestCaches:
    def test_an_answer_from_the_cache_is_the_caller_s_own(self, server: RunningServer) -> None:
        step = {"model": "cached", "inputs": {"x": ["int32", [30]]}}
        # The caller makes sure that it can write to what it gets.
        results = run(server, step, step, step)
        assert [each["outputs"]["y"] for each in results] == [[37]] * 3
        assert statistics(server, "cached")["inference_stats"]["cache_hit"]["count"] == 2

    def test_equal_calls_at_the_same_time(self, server: RunningServer) -> None:
        step = {"model": "cached", "inputs": {"x": ["int32", [31]]}, "threads": True}
        assert [each["outputs"]["y"] for each in run(server, *[step] * 8)] == [[38]] * 8


def test_torch_handlers_give_and_get_tensors(server: RunningServer) -> None:
    response = server.infer("torching", {"inputs": [json_tensor("x", "INT32", [1], [3])]})
    assert response.status_code == 200, response.text
    assert response.json()["outputs"][0]["data"] == [50]
    response = server.infer("torching", {"inputs": [json_tensor("x", "INT32", [1], [0])]})
    assert "expected a numpy array or a torch tensor, got list" in error_of(response)
