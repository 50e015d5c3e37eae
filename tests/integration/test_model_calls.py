"""Handlers that call other models, over real sockets."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.calling_models import ASYNC, SYNC, Step, run, script
from tests.integration.support import Gate, Wire, error_of, json_tensor, metric, statistics, wait_until

# Writes to its input, as handlers may.
HALF = """
class Model:
    inputs = {"x": ("FP32", [-1])}
    outputs = {"y": ("FP32", [-1]), "twice": ("FP32", [-1])}
    max_batch_size = 8
    def __call__(self, inputs):
        twice = inputs["x"] * 2
        inputs["x"] /= DIVISOR
        return {"y": inputs["x"], "twice": twice}
"""

UPPER = """
class Model:
    inputs = {"text": ("BYTES", [-1])}
    outputs = {"upper": ("BYTES", [-1])}
    def __call__(self, inputs):
        return {"upper": [text.upper() for text in inputs["text"]]}
"""

# Fails with the code that it is told.
FAILING = """
import numpy as np
from kserve_v2 import errors
class Model:
    inputs = {"kind": ("BYTES", [1])}
    outputs = {"y": ("FP32", [1])}
    def __call__(self, inputs):
        kind = inputs["kind"][0].decode()
        if kind == "defect":
            raise ValueError("a defect")
        raise getattr(errors, kind)("so it failed")
"""

# What it can see of its request.
ECHO = """
import json
class Model:
    outputs = {"seen": ("BYTES", [1])}
    inputs = {"x": ("FP32", [1])}
    def __call__(self, inputs, requests):
        request = requests[0]
        request.response_parameters["said"] = "yes"
        seen = {"id": request.id, "parameters": request.parameters, "control": request.control}
        return {"seen": [json.dumps(seen)]}
"""

COUNTER = """
import numpy as np
class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"i": ("INT32", [1])}
    def __call__(self, inputs):
        n = int(inputs["n"][0])
        for i in range(abs(n)):
            yield {"i": np.array([i], np.int32)}
        if n < 0:
            raise ValueError("no more")
"""

# Waits at a gate, or in a batch until all of its rows are there.
GATED = """
import socket
import numpy as np
class Model:
    inputs = {"port": ("INT32", [1])}
    outputs = {"rows": ("INT32", [1])}
    max_batch_size = 16
    def __call__(self, inputs):
        for port in inputs["port"][:, 0]:
            if port:
                with socket.create_connection(("127.0.0.1", int(port)), timeout=120) as gate:
                    gate.recv(1)
        return {"rows": np.full((len(inputs["port"]), 1), len(inputs["port"]), np.int32)}
"""

# Calls `gated` with what it gets, in batches, or streams; says that it has begun, and how it was left.
WAITING = """
import socket
import numpy as np
from kserve_v2.errors import ServingError
class Model:
    inputs = {"port": ("INT32", [1])}
    outputs = {"rows": ("INT32", [1])}
    max_batch_size = 4
    def load(self, context):
        self.context = context
    def __call__(self, inputs, requests):
        try:
            return self.context.call("gated", inputs)
        except ServingError as error:
            with (self.context.path / "errors.txt").open("a") as file:
                file.write(f"{type(error).__name__}\\n")
            raise
"""

AWAITING = WAITING.replace("def __call__", "async def __call__").replace(
    'self.context.call("gated"', 'await self.context.call_async("gated"'
)

STREAMING = """
import numpy as np
class Model:
    inputs = {"n": ("INT32", [1])}
    outputs = {"i": ("INT32", [1])}
    def load(self, context):
        self.context = context
    def __call__(self, inputs):
        for answer in self.context.stream("counter", inputs):
            answer["i"] *= 10
            yield answer
"""

ASTREAMING = (
    STREAMING.replace("def __call__", "async def __call__").replace("for answer", "async for answer")
).replace("stream(", "stream_async(")

# Calls the model that it is told to.
CIRCLE = """
class Model:
    inputs = {"path": ("BYTES", [-1])}
    outputs = {"y": ("BYTES", [1])}
    def load(self, context):
        self.context = context
    def __call__(self, inputs):
        path = inputs["path"]
        if len(path):
            return self.context.call(path[0].decode(), {"path": path[1:]})
        return {"y": ["the end"]}
"""

# Waits at a gate, and then for another model.
PAIR = """
import socket
class Model:
    inputs = {"port": ("INT32", [1]), "other": ("BYTES", [-1])}
    outputs = {"y": ("BYTES", [1])}
    def load(self, context):
        self.context = context
    def __call__(self, inputs):
        port, other = int(inputs["port"][0]), inputs["other"]
        if port:
            with socket.create_connection(("127.0.0.1", port), timeout=120) as gate:
                gate.recv(1)
        if len(other):
            return self.context.call(other[0].decode(), {"port": inputs["port"] * 0, "other": other[1:]})
        return {"y": ["answered"]}
"""

TOO_EARLY = """
import numpy as np
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
    def load(self, context):
        context.call("half", {"x": np.ones((1, 1), np.float32)})
    def __call__(self, inputs):
        return {"y": inputs["x"]}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("calls")
    write_model(root, "caller", SYNC, 'name: "caller" instance_group { count: 4 }')
    write_model(root, "acaller", ASYNC)
    policy = "version_policy { all {} }"
    write_model(root, "half", HALF.replace("DIVISOR", "4"), policy)
    write_model(root, "half", HALF.replace("DIVISOR", "2"), policy, version=2)
    write_model(root, "upper", UPPER)
    write_model(root, "failing", FAILING)
    write_model(root, "echo", ECHO)
    write_model(root, "counter", COUNTER)
    write_model(root, "gated", GATED)
    write_model(root, "waiting", WAITING)
    write_model(root, "awaiting", AWAITING)
    write_model(root, "streaming", STREAMING)
    write_model(root, "astreaming", ASTREAMING)
    for name in ("a", "b", "c"):
        write_model(root, name, CIRCLE)
    for name in ("left", "right"):
        write_model(root, name, PAIR)
    write_model(root, "late", UPPER)
    write_model(root, "early", TOO_EARLY)
    return root


@pytest.fixture(scope="module")
def server(start_server: StartServer, repository: Path) -> RunningServer:
    names = ["caller", "acaller", "half", "upper", "failing", "echo", "counter", "gated", "waiting", "awaiting",
             "streaming", "astreaming", "a", "b", "c", "left", "right"]  # fmt: skip
    flags = [flag for name in names for flag in ("--load-model", name)]
    return start_server(repository, "--model-control-mode", "explicit", *flags)


def half(*values: float, **options: Any) -> Step:
    return {"model": "half", "inputs": {"x": ["float32", [values]]}, **options}


def counter(n: int, **options: Any) -> Step:
    return {"model": "counter", "inputs": {"n": ["int32", [n]]}, "stream": True, **options}


def gated(*ports: int) -> dict[str, Any]:
    return {"inputs": [json_tensor("port", "INT32", [len(ports), 1], list(ports))]}


both = pytest.mark.parametrize("model", ["caller", "acaller"])


class TestAnswers:
    @both
    def test_a_call_is_answered_by_the_highest_version_or_the_one_that_is_named(
        self, server: RunningServer, model: str
    ) -> None:
        results = run(server, half(8), half(8, version=1), half(8, version="2"), model=model)
        assert [(each["version"], each["outputs"]["y"]) for each in results] == [
            ("2", [[4]]),
            ("1", [[2]]),
            ("2", [[4]]),
        ]

    @both
    def test_only_requested_outputs_come(self, server: RunningServer, model: str) -> None:
        [some, other] = run(server, half(8, outputs=["twice"]), half(8), model=model)
        assert some["outputs"] == {"twice": [[16]]}
        assert other["outputs"] == {"y": [[4]], "twice": [[16]]}

    @both
    @pytest.mark.parametrize("dtype", ["object", "S", "U"])
    def test_texts_may_be_of_any_kind(self, server: RunningServer, model: str, dtype: str) -> None:
        [result] = run(server, {"model": "upper", "inputs": {"text": [dtype, ["one", "two"]]}}, model=model)
        assert result["outputs"] == {"upper": ["ONE", "TWO"]}

    def test_threads_of_a_handler_may_call(self, server: RunningServer) -> None:
        results = run(server, *(half(n, threads=True) for n in range(16)))
        assert [each["outputs"]["y"] for each in results] == [[[n / 2]] for n in range(16)]

    @both
    @pytest.mark.parametrize("n", [0, 1, 5])
    def test_a_stream_gives_all_answers(self, server: RunningServer, model: str, n: int) -> None:
        [answers] = run(server, counter(n), model=model)
        assert [each["outputs"]["i"] for each in answers] == [[i] for i in range(n)]

    @both
    def test_a_model_with_one_answer_may_be_streamed(self, server: RunningServer, model: str) -> None:
        [answers] = run(server, half(8, stream=True), model=model)
        assert [each["outputs"]["y"] for each in answers] == [[[4]]]

    @pytest.mark.parametrize("model", ["streaming", "astreaming"])
    def test_a_stream_may_be_made_of_a_stream(self, server: RunningServer, model: str) -> None:
        response = server.post(f"/v2/models/{model}/generate_stream", json={"n": 3})
        events = [json.loads(line.removeprefix("data: ")) for line in response.text.split("\n\n") if line]
        assert [each["i"] for each in events] == [0, 10, 20]
        response = server.post(f"/v2/models/{model}/generate_stream", json={"n": -2})
        assert "ValueError: no more" in response.text

    def test_the_other_model_sees_the_call(self, server: RunningServer) -> None:
        step = {
            "model": "echo",
            "inputs": {"x": ["float32", [1]]},
            "parameters": {"answer": 42, "priority": 2, "timeout": 9},
            "sequence": [7, True, False],
        }
        [result] = run(server, step, id="outer", parameters={"mine": 1, "priority": 5, "timeout": 8})
        assert result["parameters"] == {"said": "yes"}
        assert json.loads(result["outputs"]["seen"][0]) == {
            "id": "outer",
            "parameters": {"answer": 42},
            "control": {
                "priority": 2, "timeout": 9, "sequence_id": 7, "sequence_start": True, "sequence_end": False,
            },
        }  # fmt: skip

    def test_priority_and_time_out_go_along_and_the_sequence_does_not(self, server: RunningServer) -> None:
        step = {"model": "echo", "inputs": {"x": ["float32", [1]]}}
        parameters = {"priority": 5, "timeout": 800_000, "sequence_id": 3, "sequence_start": True}
        for options in ({}, {"threads": True}, {"requests": True}):
            [result] = run(server, step | options, parameters=parameters)
            seen = json.loads(result["outputs"]["seen"][0])
            assert seen["control"] == {"priority": 5, "timeout": 800_000}


class TestErrors:
    @both
    @pytest.mark.parametrize(
        ("step", "kind", "text"),
        [
            (
                {"model": "nosuch"},
                "NotFoundError",
                "Model nosuch - Error when running inference: Failed for execute the inference request. "
                "Model 'nosuch' is not ready. Request for unknown model: 'nosuch' is not found",
            ),
            (
                half(1, version=9),
                "NotFoundError",
                "Model half - Error when running inference: Failed for execute the inference request. "
                "Model 'half' is not ready. Request for unknown model: 'half' version 9 is not found",
            ),
            (
                half(1, outputs=["NO"]),
                "InvalidArgumentError",
                "Model half - Error when running inference: unexpected inference output 'NO' for model 'half'",
            ),
            (
                {"model": "half"},
                "InvalidArgumentError",
                "Model half - Error when running inference: [request id: <id_unknown>] expected 1 inputs but got 0",
            ),
            (
                {"model": "half", "inputs": {"x": ["int32", [[1]]]}},
                "InvalidArgumentError",
                "inference input 'x' data-type is 'INT32', but model 'half' expects 'FP32'",
            ),
            (
                {"model": "half", "inputs": {"x": ["complex64", [[1]]]}},
                "InternalError",
                "call of model 'half': input 'x': there is no datatype for complex64",
            ),
            (
                counter(1, stream=False),
                "UnsupportedError",
                "Model counter - Error when running inference: Model counter is using the decoupled",
            ),
            (half(1, sequence=[7, 1]), "InternalError", "sequence: expected (id, start, end)"),
            (
                half(1, parameters={"sequence_id": 1}),
                "InternalError",
                "write sequence=(id, start, end) instead",
            ),
            (half(1, parameters={"timeout": -1}), "InternalError", "expected an integer >= 0, got -1"),
            (half(1, parameters={"triton_x": 1}), "InternalError", "'triton_' are reserved"),
            (
                half(1, parameters={"list": [1]}),
                "InternalError",
                "expected bool, int, float or str, got list",
            ),
        ],
    )
    def test_what_cannot_be_called_is_refused(
        self, server: RunningServer, model: str, step: Step, kind: str, text: str
    ) -> None:
        [result] = run(server, step, model=model)
        assert result["kind"] == kind
        assert text in result["error"]

    @both
    @pytest.mark.parametrize(
        "kind",
        ["InvalidArgumentError", "NotFoundError", "UnavailableError", "UnsupportedError", "InternalError"],
    )
    def test_an_error_of_the_other_model_keeps_its_code_and_text(
        self, server: RunningServer, model: str, kind: str
    ) -> None:
        step = {"model": "failing", "inputs": {"kind": ["object", [kind]]}}
        assert run(server, step, model=model) == [{"kind": kind, "error": "so it failed"}]

    @pytest.mark.parametrize(
        ("kind", "status"),
        [("InvalidArgumentError", 400), ("AlreadyExistsError", 409), ("UnavailableError", 503)],
    )
    def test_one_that_nobody_handles_is_the_answer(
        self, server: RunningServer, kind: str, status: int
    ) -> None:
        step = {"model": "failing", "inputs": {"kind": ["object", [kind]]}, "raise": True}
        response = server.infer("caller", script(step))
        assert (response.status_code, error_of(response)) == (status, "so it failed")

    def test_a_defect_of_the_other_model_is_named(self, server: RunningServer) -> None:
        [result] = run(server, {"model": "failing", "inputs": {"kind": ["object", ["defect"]]}})
        assert result["kind"] == "InternalError"
        assert "for model 'failing_0', message: ValueError: a defect" in result["error"]

    @both
    def test_a_stream_that_fails_gives_first_what_came_before(
        self, server: RunningServer, model: str
    ) -> None:
        [result] = run(server, counter(-3), model=model)
        assert result["kind"] == "InternalError"
        assert "ValueError: no more" in result["error"]

    def test_a_call_that_would_block_an_event_loop_is_refused(self, server: RunningServer) -> None:
        [result] = run(server, half(1, blocking=True), model="acaller")
        assert result["kind"] == "InternalError"
        assert "would block the event loop" in result["error"]
        assert "call_async" in result["error"]

    def test_a_call_while_a_handler_is_loaded_is_refused(self, server: RunningServer) -> None:
        response = server.post("/v2/repository/models/early/load")
        assert response.status_code == 400
        assert "BLS is only supported during the 'execute' function" in error_of(response)

    def test_a_model_need_not_be_loaded_before_those_that_call_it(self, server: RunningServer) -> None:
        step = {"model": "late", "inputs": {"text": ["object", ["x"]]}}
        assert run(server, step)[0]["kind"] == "NotFoundError"
        server.post("/v2/repository/models/late/load")
        assert run(server, step)[0]["outputs"] == {"upper": ["X"]}


class TestCircles:
    @pytest.mark.parametrize(
        ("path", "shown"),
        [
            (["a"], "'a' version 1 -> 'a' version 1"),
            (["b", "a"], "'a' version 1 -> 'b' version 1 -> 'a' version 1"),
            (["b", "c", "b"], "'a' version 1 -> 'b' version 1 -> 'c' version 1 -> 'b' version 1"),
        ],
    )
    def test_a_model_that_would_wait_for_itself_is_refused(
        self, server: RunningServer, path: list[str], shown: str
    ) -> None:
        response = server.infer("a", {"inputs": [json_tensor("path", "BYTES", [len(path)], path)]})
        assert response.status_code == 500
        assert f"Model {path[-1]} - Error when running inference: it would wait for itself" in error_of(
            response
        )
        assert f"({shown})" in error_of(response)

    def test_what_ends_is_no_circle(self, server: RunningServer) -> None:
        response = server.infer("a", {"inputs": [json_tensor("path", "BYTES", [2], ["b", "c"])]})
        assert response.json()["outputs"][0]["data"] == ["the end"]

    def test_different_requests_do_not_make_two_models_wait_for_each_other(
        self, server: RunningServer
    ) -> None:
        names = ("left", "right")
        with Gate() as gate, ThreadPoolExecutor(2) as pool:
            answers = []
            for name, other in zip(names, reversed(names), strict=True):
                inputs = [
                    json_tensor("port", "INT32", [1], [gate.port]),
                    json_tensor("other", "BYTES", [1], [other]),
                ]
                answers.append(pool.submit(server.infer, name, {"inputs": inputs}))
                gate.await_start()
            gate.open()
            [served, refused] = sorted([each.result() for each in answers], key=lambda each: each.status_code)
        assert served.json()["outputs"][0]["data"] == ["answered"]
        assert refused.status_code == 503
        assert "version 1, which itself waits for" in error_of(refused)


class TestScheduling:
    def test_calls_of_many_requests_share_batches(self, server: RunningServer) -> None:
        with Gate() as gate, ThreadPoolExecutor(5) as pool:
            first = pool.submit(server.infer, "gated", gated(gate.port))
            gate.await_start()
            step = {"model": "gated", "inputs": {"port": ["int32", [[0]]]}}
            answers = [pool.submit(run, server, step) for _ in range(4)]
            wait_until(lambda: waiting_for("gated", server) == 4)
            gate.open()
            assert [each.result()[0]["outputs"]["rows"] for each in answers] == [[[4]]] * 4
            assert first.result().status_code == 200

    @pytest.mark.parametrize("model", ["waiting", "awaiting"])
    def test_when_a_client_leaves_its_calls_are_given_up(
        self, server: RunningServer, repository: Path, model: str
    ) -> None:
        errors = repository / model / "1" / "errors.txt"
        executed = statistics(server, "gated")["execution_count"]

        def failed(reason: str) -> float:
            return metric(server, "nv_inference_request_failure", model=model, reason=reason)

        cancelled = failed("CANCELED")
        with Gate() as gate, Wire(server) as busy:
            busy.send_infer("gated", gated(gate.port))
            gate.await_start()
            client = Wire(server)
            client.send_infer(model, gated(0))
            wait_until(lambda: waiting_for("gated", server) == 1)
            client.close()
            wait_until(lambda: waiting_for("gated", server) == 0)
            wait_until(lambda: errors.exists() and errors.read_text() == "RequestCancelledError\n")
            gate.open()
            assert busy.response().status_code == 200
        wait_until(lambda: failed("CANCELED") == cancelled + 1)
        assert failed("BACKEND") == 0
        # What was given up was never executed.
        assert statistics(server, "gated")["execution_count"] == executed + 1

    def test_a_call_for_several_requests_goes_on_as_long_as_one_of_their_clients_waits(
        self, server: RunningServer
    ) -> None:
        with Gate() as gate, Gate() as other, Wire(server) as busy, Wire(server) as patient:
            # Both models are busy, so that the next two requests share a batch of `waiting`.
            busy.send_infer("waiting", gated(other.port))
            other.await_start()
            impatient = Wire(server)
            impatient.send_infer("waiting", gated(0))
            patient.send_infer("waiting", gated(gate.port))
            wait_until(lambda: waiting_for("waiting", server) == 2)
            other.open()
            gate.await_start()
            impatient.close()
            gate.open()
            answer = patient.response()
            assert answer.json()["outputs"][0]["data"] == [2]
            assert busy.response().status_code == 200

    def test_a_call_is_answered_by_the_version_that_it_began_with(
        self, server: RunningServer, repository: Path, write_model: WriteModel
    ) -> None:
        with Gate() as gate, Wire(server) as client:
            client.send_infer("waiting", gated(gate.port))
            gate.await_start()
            write_model(repository, "gated", GATED.replace('len(inputs["port"]), np', "100, np"))
            assert server.post("/v2/repository/models/gated/load").status_code == 200
            step = {"model": "gated", "inputs": {"port": ["int32", [[0]]]}}
            assert run(server, step)[0]["outputs"]["rows"] == [[100]]
            gate.open()
            assert client.response().json()["outputs"][0]["data"] == [1]
        write_model(repository, "gated", GATED)
        assert server.post("/v2/repository/models/gated/load").status_code == 200

    @pytest.mark.slow
    def test_every_request_has_its_own_outcome_whoever_leaves_and_whatever_is_reloaded(
        self, server: RunningServer, repository: Path, write_model: WriteModel
    ) -> None:
        def one(number: int) -> None:
            chance = random.Random(number)  # noqa: S311
            model = chance.choice(["caller", "acaller"])
            x, n = chance.randrange(100), chance.randrange(4)
            if chance.random() < 0.2:
                with Wire(server) as wire:
                    wire.send_infer(model, script(half(x), counter(50), half(x)))
                return
            threads = {"threads": True} if model == "caller" and chance.random() < 0.5 else {}
            results = run(
                server, half(x, version=2) | threads, counter(n), half(x + 1, version=2), model=model
            )
            assert [results[0]["outputs"]["y"], results[2]["outputs"]["y"]] == [[[x / 2]], [[(x + 1) / 2]]]
            assert [each["outputs"]["i"] for each in results[1]] == [[i] for i in range(n)]

        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(one, number) for number in range(160)]
            for generation in range(3):
                code = HALF.replace("DIVISOR", "2") + f"# {generation}\n"
                write_model(repository, "half", code, "version_policy { all {} }", version=2)
                assert server.post("/v2/repository/models/half/load").status_code == 200
            for answer in answers:
                answer.result()
        wait_until(
            lambda: not any(waiting_for(name, server) for name in ("caller", "acaller", "half", "counter"))
        )
        assert run(server, half(8), counter(1), model="acaller")[0]["outputs"]["y"] == [[4]]


def waiting_for(model: str, server: RunningServer) -> int:
    """How many requests wait for a model, whatever its version."""
    lines = server.client.get(server.metrics).text.splitlines()
    counts = [
        line
        for line in lines
        if line.startswith("nv_inference_pending_request_count{") and f'"{model}"' in line
    ]
    assert counts
    return sum(int(float(line.rpartition(" ")[2])) for line in counts)
