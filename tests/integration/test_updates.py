"""Updates of models that are served: what stays loaded, seen over the wire."""

import threading
from concurrent.futures import ThreadPoolExecutor

import onnx
import pytest
from onnx import TensorProto, helper

from kserve_v2.repository.lifecycle.load_log import GOES_ON
from tests.integration.conftest import ExplicitServer
from tests.integration.handlers import slow_to_load, versioned
from tests.integration.lifecycle_requests import BROKEN, answer_of, post_load
from tests.integration.support import Gate, json_tensor, statistics, wait_until

pytestmark = pytest.mark.slow

# Answers with the number that its instance has got when it was made, and waits for a second one if it is told to.
NUMBERED = """
import itertools, threading

numbers = itertools.count()
together = threading.Barrier(2)

class Model:
    inputs = {"TOGETHER": ("BOOL", [1])}
    outputs = {"NUMBER": ("INT64", [1])}

    def load(self, context):
        self.number = next(numbers)

    def __call__(self, inputs):
        if inputs["TOGETHER"][0]:
            together.wait(60)
        return {"NUMBER": [self.number]}
"""


def test_a_handler_gets_another_instance_without_being_loaded_again(explicit: ExplicitServer) -> None:
    def ask(together: bool) -> int:
        answer = explicit.server.infer(
            "numbered", {"inputs": [json_tensor("TOGETHER", "BOOL", [1], [together])]}
        )
        assert answer.status_code == 200, answer.text
        return int(answer.json()["outputs"][0]["data"][0])

    explicit.write("numbered", NUMBERED, "instance_group { count: 1 }")
    assert explicit.load("numbered").status_code == 200
    assert ask(together=False) == 0
    (explicit.root / "numbered" / "config.pbtxt").write_text("instance_group { count: 2 }")
    assert explicit.load("numbered").status_code == 200
    with ThreadPoolExecutor(2) as pool:
        numbers = [*pool.map(lambda _: ask(together=True), range(2))]
    # Had the handler been loaded again, neither would know of a first request, but both of the same module.
    assert sorted(numbers) == [0, 1]
    assert statistics(explicit.server, "numbered")["inference_count"] == 3
    config = explicit.server.get("/v2/models/numbered/config").json()
    assert [group["count"] for group in config["instance_group"]] == [2]


def test_instances_of_an_onnx_model_change_under_load(explicit: ExplicitServer) -> None:
    directory = explicit.root / "doubling"
    (directory / "1").mkdir(parents=True)
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", info[:1], info[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        directory / "1" / "model.onnx",
    )
    assert explicit.load("doubling").status_code == 200
    done, answers = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            body = {"inputs": [json_tensor("x", "FP32", [2, 1], [1, 2])]}
            answer = explicit.server.infer("doubling", body)
            answers.append((answer.status_code, answer.json()["outputs"][0]["data"]))

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(3)]
        try:
            for count in (4, 1, 3, 2, 1, 5):
                config = f"instance_group {{ count: {count} kind: KIND_CPU }}"
                (directory / "config.pbtxt").write_text(config)
                assert explicit.load("doubling").status_code == 200
        finally:
            done.set()
        for each in asking:
            each.result()
    assert {(status, tuple(data)) for status, data in answers} == {(200, (2.0, 4.0))}
    assert statistics(explicit.server, "doubling")["inference_count"] == 2 * len(answers)
    assert "'doubling' version 1 is loaded again" not in explicit.server.log


def test_the_log_tells_what_answers_after_each_step(explicit: ExplicitServer) -> None:
    server = explicit.server

    def says(line: str) -> None:
        wait_until(lambda: line in server.log)

    explicit.write("told", versioned(1), "version_policy { specific { versions: [ 1, 9 ] } }")
    assert explicit.load("told").status_code == 200
    says(
        "WARNING kserve_v2.repository.preparing.candidate model 'told': version_policy.specific.versions: version 9 is"
    )
    explicit.write("told", versioned(2))
    assert explicit.load("told").status_code == 200
    says("unloaded: told version 1, replaced by what was loaded since\n")
    explicit.write("told", BROKEN)
    assert explicit.load("told").status_code == 400
    says(f"failed to load: told version 1{GOES_ON}: ")
    explicit.write("told", versioned(3), "max_batch_size: many")
    assert explicit.load("told").status_code == 400
    says(f"model 'told' cannot be loaded{GOES_ON}: ")
    assert answer_of(server, "told") == 2
    assert explicit.unload("told").status_code == 200
    says("unloaded: told version 1\n")
    explicit.write("told", BROKEN, "max_batch_size: 0")
    assert explicit.load("told").status_code == 400
    says("failed to load: told version 1: ")


def test_the_log_does_not_call_ready_what_was_unloaded_meanwhile(explicit: ExplicitServer) -> None:
    with Gate() as gate, ThreadPoolExecutor(1) as pool:
        explicit.write("meanwhile", slow_to_load(gate.port))
        load = pool.submit(post_load, explicit.server, "meanwhile")
        gate.await_start()
        assert explicit.unload("meanwhile").status_code == 200
        assert load.result().status_code == 503
        gate.open()
    said = "unloaded: meanwhile version 1, as was asked while it was loading\n"
    wait_until(lambda: said in explicit.server.log)
    assert "ready: meanwhile" not in explicit.server.log
