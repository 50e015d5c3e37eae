"""What is found of a model, against real servers: each finding under a load that makes it true, and one that does not.

The models sleep instead of computing, so what is true of them is true on a busy machine.
"""

import itertools
import json
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper

from kserve_v2.repository.preparing.threads import cpu_budget
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.support import error_of

pytestmark = pytest.mark.slow

SLEEPER = """
import time

class Model:
    inputs = {{"IN": ("FP32", [-1])}}
    outputs = {{"OUT": ("FP32", [-1])}}
    max_batch_size = {rows}

    def __call__(self, inputs):
        time.sleep({seconds})
        if inputs["IN"].min() < 0:
            raise ValueError("no negative numbers")
        return {{"OUT": inputs["IN"]}}
"""

# Keeps the interpreter's lock for about a third of a second: the regular expression is tried in a billion ways.
LOCKING = """
import re
import time

class Model:
    inputs = {"IN": ("FP32", [-1])}
    outputs = {"OUT": ("FP32", [-1])}

    def __call__(self, inputs):
        time.sleep(0.01)
        if inputs["IN"].max() > 0:
            re.match("(a+)+b", "a" * 22)
        return {"OUT": inputs["IN"]}
"""

SAME = """
class Model:
    inputs = {"IN": ("FP32", [-1])}
    outputs = {"OUT": ("FP32", [-1])}

    def __call__(self, inputs):
        return {"OUT": inputs["IN"]}
"""
STEPS = """
platform: "ensemble"
input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }
ensemble_scheduling {
  step { model_name: "same" input_map { key: "IN" value: "IN" } output_map { key: "OUT" value: "t" } }
  step { model_name: "unbatched" input_map { key: "IN" value: "t" } output_map { key: "OUT" value: "OUT" } }
}
"""
ALONE = """
max_batch_size: 8
input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }
"""
BATCHING = "dynamic_batching { }"
DELAY = "dynamic_batching { max_queue_delay_microseconds: 60000 }"
PREFERRED = "dynamic_batching { preferred_batch_size: [ 7 ] }"
CACHED = "response_cache { enable: true }"
SHORT_QUEUE = "dynamic_batching { default_queue_policy { max_queue_size: 1 } }"

# By name: rows of a batch, seconds of an execution, configuration.
MODELS = {
    "alone": (8, 0.01, ALONE),
    "merged": (8, 0.01, BATCHING),
    "merged_8": (8, 0.02, BATCHING + " instance_group [ { count: 8 } ]"),
    "delayed": (8, 0.001, DELAY),
    "delayed_8": (8, 0.02, DELAY + " instance_group [ { count: 8 } ]"),
    "narrow": (2, 0.01, BATCHING),
    "preferred": (8, 0.005, PREFERRED),
    "unbatched": (0, 0.005, ""),
    "short": (1, 0.02, SHORT_QUEUE),
    "cached": (0, 0.001, CACHED),
}


def _write_mixing(root: Path) -> None:
    """A model of which each answer depends on all rows."""
    info, shape = helper.make_tensor_value_info, ["N", 4]
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["IN"], ["OUT"], axis=0)], "g",
        [info("IN", TensorProto.FLOAT, shape)], [info("OUT", TensorProto.FLOAT, shape)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (root / "mixing" / "1").mkdir(parents=True)
    (root / "mixing" / "1" / "model.onnx").write_bytes(model.SerializeToString())


def _write_busy(root: Path) -> None:
    """Products of matrices, with more threads than there are CPUs, and with one."""
    info, shape = helper.make_tensor_value_info, [SIDE, SIDE]
    names = ["IN", *(f"t{number}" for number in range(500)), "OUT"]
    products = [
        helper.make_node("MatMul", [left, "IN"], [right]) for left, right in itertools.pairwise(names)
    ]
    graph = helper.make_graph(
        products, "g", [info("IN", TensorProto.FLOAT, shape)], [info("OUT", TensorProto.FLOAT, shape)]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for name, threads in (("crowded", 4 * cpu_budget()), ("roomy", 1)):
        (root / name / "1").mkdir(parents=True)
        (root / name / "1" / "model.onnx").write_bytes(model.SerializeToString())
        (root / name / "config.pbtxt").write_text(
            f'parameters {{ key: "intra_op_thread_count" value {{ string_value: "{threads}" }} }}'
        )


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel
) -> RunningServer:
    root = tmp_path_factory.mktemp("explained")
    for name, (rows, seconds, config) in MODELS.items():
        if name == "alone":
            # Said in the handler, requests would be merged.
            code = SLEEPER.format(rows=rows, seconds=seconds)
            declared = re.compile(r"^    (inputs|outputs|max_batch_size) = .*\n", re.MULTILINE)
            write_model(root, name, declared.sub("", code), config)
            continue
        write_model(root, name, SLEEPER.format(rows=rows, seconds=seconds), config)
    write_model(root, "locking", LOCKING)
    write_model(root, "same", SAME)
    write_model(root, "steps", "", STEPS)
    (root / "steps" / "1" / "model.py").unlink()
    _write_mixing(root)
    _write_busy(root)
    return start_server(root, "--allow-grpc=false", "--cache-config", "local,size=1000000")


def body(name: str, values: Sequence[float], rows: int = 1) -> dict[str, Any]:
    batched = MODELS.get(name, (0,))[0] > 0
    shape = [rows, len(values) // rows] if batched else [len(values)]
    if name == "mixing":
        shape = [1, 4]
    return {"inputs": [{"name": "IN", "datatype": "FP32", "shape": shape, "data": list(values)}]}


Make = Callable[[int, int], Sequence[float]]
"""The values that a client sends, by its number and that of its request."""


@contextmanager
def sending(
    server: RunningServer, name: str, clients: int, options: Callable[[int, int], dict[str, Any]]
) -> Iterator[None]:
    """So many clients, each of which sends a request as soon as it has the answer to the last one."""
    stop, begun = threading.Event(), threading.Semaphore(0)

    def send(number: int) -> None:
        with httpx.Client(timeout=60) as client:
            count = 0
            while not stop.is_set():
                client.post(f"{server.rest}/v2/models/{name}/infer", **options(number, count))
                count += 1
                begun.release()

    with ThreadPoolExecutor(clients) as pool:
        senders = [pool.submit(send, number) for number in range(clients)]
        try:
            for _ in range(2 * clients):
                assert begun.acquire(timeout=60)
            yield
        finally:
            stop.set()
            for each in senders:
                each.result()


def load(
    server: RunningServer, name: str, clients: int, values: Make = lambda _, __: [0.0]
) -> AbstractContextManager[None]:
    """As `sending`, in JSON."""
    return sending(server, name, clients, lambda number, count: {"json": body(name, values(number, count))})


def explained(server: RunningServer, name: str, seconds: float = 0.8) -> dict[str, Any]:
    answer = server.get(f"/ui/models/{name}/explain?seconds={seconds}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    return document


def names_of(document: dict[str, Any]) -> set[str]:
    return {finding["name"] for finding in document["findings"]}


def two_shapes(number: int, count: int) -> Sequence[float]:
    """In no order: clients that take turns would fall into step, and each batch have all requests of one shape."""
    return [0.0] * (1 + zlib.crc32(b"%d %d" % (number, count)) % 2)


def all_different(number: int, count: int) -> Sequence[float]:
    return [1000.0 * number + count + 1]


SIDE = 160
CASES: list[tuple[str, str, int, Make | None, set[str], set[str]]] = [
    # model, clients, what they send, what is found, what is not
    ("one at a time", "alone", 1, None, {"model"}, {"no_dynamic_batching", "busy_instances", "one_at_a_time"}),
    ("not merged", "alone", 6, None, {"no_dynamic_batching", "busy_instances"}, {"model", "few_in_flight"}),
    ("merged, alone", "merged", 1, None, {"one_at_a_time", "model"}, {"no_delay", "few_in_flight", "no_dynamic_batching"}),
    ("merged, in company", "merged", 3, None, set(), {"one_at_a_time", "no_dynamic_batching", "full"}),
    ("enough instances", "merged_8", 6, None, {"no_delay"}, {"few_in_flight", "busy_instances", "full"}),
    ("with a delay", "delayed_8", 6, None, set(), {"no_delay", "busy_instances"}),
    ("waiting in vain", "delayed", 2, None, {"too_rare", "waiting_for_company"}, {"busy_instances", "no_delay", "full"}),
    ("a full house", "delayed", 16, None, set(), {"too_rare", "waiting_for_company"}),
    ("full", "narrow", 8, None, {"full"}, {"no_delay", "few_in_flight", "too_rare"}),
    ("not full", "narrow", 1, None, set(), {"full"}),
    ("two shapes", "merged", 8, two_shapes, {"shape_mismatch"}, {"full"}),
    ("one shape", "merged", 8, None, set(), {"shape_mismatch"}),
    ("never preferred", "preferred", 2, None, {"preferred_not_met"}, set()),
    ("not batched", "unbatched", 4, None, {"no_batch_dimension"}, {"no_dynamic_batching"}),
    ("not batched, alone", "unbatched", 1, None, set(), {"no_batch_dimension"}),
    ("refused", "mixing", 1, lambda *_: [0.0] * 4, {"merging_refused"}, {"no_dynamic_batching"}),
    ("no room", "short", 6, None, {"rejected"}, {"failing"}),
    ("room", "short", 1, None, set(), {"rejected"}),
    ("failures", "alone", 2, lambda number, _: [-1.0 * number], {"failing"}, {"rejected"}),
    ("never the same", "cached", 4, all_different, {"useless_cache"}, {"no_cache"}),
    ("the same", "cached", 4, None, set(), {"useless_cache", "no_cache"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "clients", "values", "found", "absent"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_findings_are_true(
    server: RunningServer, model: str, clients: int, values: Make | None, found: set[str], absent: set[str]
) -> None:
    """Where other programs take the CPUs, that may be all that can be told, or the clients are too slow for what they
    are to show: then it is looked at again.
    """

    def is_true() -> bool:
        names = names_of(document)
        return names >= found and not names & absent

    with load(server, model, clients, values or (lambda _, __: [0.0])):
        document = explained(server, model)
        for _ in range(10):
            if is_true():
                break
            document = explained(server, model, 3)
    assert is_true() or "no_cpu" in names_of(document), document
    for finding in document["findings"]:
        assert finding["title"], finding
        assert any(character.isdigit() for character in finding["evidence"]), finding


def test_a_model_that_keeps_the_lock_keeps_the_loop(server: RunningServer) -> None:
    """Where other programs take the CPUs, that may be all that can be told."""
    with load(server, "locking", 2, lambda number, _: [number]):
        document = explained(server, "locking")
    lag_ms, waited = document["server"]["loop_lag_ms"]["max"], document["server"]["loop_waited"]
    assert lag_ms >= 50
    held_up = waited < 0.25 and waited * document["seconds"] * 1000 < lag_ms
    assert names_of(document) & {"late_loop", "no_cpu"} <= ({"late_loop"} if held_up else {"no_cpu"}), (
        document
    )
    assert not held_up or "late_loop" in names_of(document), document


def test_of_nothing_there_is_nothing_to_say(server: RunningServer) -> None:
    document = explained(server, "alone", 0.5)
    # Of the machine there may be something to say.
    assert names_of(document) - {"no_cpu", "late_loop"} == {"too_few_requests"}
    assert document["requests"] == 0
    [few] = [each for each in document["findings"] if each["name"] == "too_few_requests"]
    assert few["change"].endswith(f": kserve-v2 bench alone --url {server.rest}")


def test_of_an_ensemble_the_slowest_step_is_named(server: RunningServer) -> None:
    with load(server, "steps", 2):
        document = explained(server, "steps")
    [step] = [finding for finding in document["findings"] if finding["name"] == "step"]
    assert "'unbatched' takes the longest" in step["title"]
    assert "'same'" in step["evidence"]
    assert document["busy"] is None


@contextmanager
def numbers(server: RunningServer, name: str, shape: Sequence[int], clients: int = 1) -> Iterator[None]:
    """Requests with so many numbers that JSON would be all that is seen."""
    data = np.zeros(shape, np.float32).tobytes()
    head = {
        "inputs": [{"name": "IN", "datatype": "FP32", "shape": list(shape), "parameters": {"binary_data_size": len(data)}}],
        "parameters": {"binary_data_output": True},
    }  # fmt: skip
    text = json.dumps(head).encode()
    headers = {"inference-header-content-length": str(len(text))}
    with sending(server, name, clients, lambda *_: {"content": text + data, "headers": headers}):
        yield


@pytest.mark.parametrize(("model", "found"), [("crowded", True), ("roomy", False)])
def test_more_threads_than_cpus(server: RunningServer, model: str, found: bool) -> None:
    with numbers(server, model, [SIDE, SIDE], clients=2):
        document = explained(server, model)
        # Where other programs take the CPUs, enough requests take longer.
        while "too_few_requests" in names_of(document):
            document = explained(server, model, 2 * document["seconds"])
    assert document["busy"] >= 0.3, document
    assert ("threads" in names_of(document)) is found, document


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("nobody/explain", 404, "Request for unknown model: 'nobody' is not found"),
        ("alone/versions/7/explain", 404, "Request for unknown model: 'alone' version 7 is not found"),
        (
            "alone/explain?seconds=0.1",
            400,
            "invalid seconds '0.1': expected a number of seconds from 0.5 to 30",
        ),
        (
            "alone/explain?seconds=long",
            400,
            "invalid seconds 'long': expected a number of seconds from 0.5 to 30",
        ),
        ("alone/explain?second=1", 400, "unknown parameter 'second' in the query, expected seconds"),
    ],
)
def test_what_cannot_be_explained(server: RunningServer, path: str, status: int, message: str) -> None:
    answer = server.get(f"/ui/models/{path}")
    assert (answer.status_code, error_of(answer)) == (status, message)


def test_who_leaves_is_not_waited_for(server: RunningServer) -> None:
    with httpx.Client(timeout=0.2) as client, pytest.raises(httpx.ReadTimeout):
        client.get(f"{server.rest}/ui/models/alone/explain?seconds=30")
    assert "too_few_requests" in names_of(explained(server, "alone", 0.5))
