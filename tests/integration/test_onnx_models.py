"""ONNX models as exporters make them, from a repository without configurations to clients of both protocols."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from tests.conftest import RunningServer, StartServer
from tests.integration.clients import KINDS, TritonClient
from tests.integration.support import error_of, json_tensor

pytestmark = pytest.mark.slow

CASES = Path(__file__).parents[1] / "cases"
CLASSIFIERS = {
    "rf_default": ("float_input", "output_label", "output_probability"),
    "rf_strings_default": ("float_input", "output_label", "output_probability"),
    "lgbm_default": ("x", "label", "probabilities"),
}
"""The input and the outputs of each."""
DEFAULT_SCALE = 2.0
"""What `default_input` multiplies with where nothing is sent."""
FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(12)


@pytest.fixture(scope="module")
def exported(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    root = tmp_path_factory.mktemp("exported")
    for case in (*CLASSIFIERS, "default_input"):
        shutil.copytree(CASES / case, root / case)
    shutil.copytree(CASES / "rf_strings_default", root / "labelled")
    (root / "labelled" / "config.pbtxt").write_text(
        'output [{ name: "output_probability" label_filename: "labels.txt" }]'
    )
    (root / "labelled" / "labels.txt").write_text("A\nB\nC\n")
    (root / "by_type" / "1").mkdir(parents=True)
    onnx.save(optional_by_type(), root / "by_type" / "1" / "model.onnx")
    (root / "by_type" / "config.pbtxt").write_text(
        "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 20000 }"
    )
    return start_server(root)


def optional_by_type() -> onnx.ModelProto:
    """y = x, or x + o where o is sent."""
    info = helper.make_tensor_value_info

    def branch(name: str, *nodes: Any) -> Any:
        return helper.make_graph(list(nodes), name, [], [info(name, FLOAT, None)])

    choice = helper.make_node(
        "If",
        ["has"],
        ["y"],
        then_branch=branch(
            "t",
            helper.make_node("OptionalGetElement", ["o"], ["v"]),
            helper.make_node("Add", ["x", "v"], ["t"]),
        ),
        else_branch=branch("e", helper.make_node("Identity", ["x"], ["e"])),
    )
    element = helper.make_tensor_type_proto(FLOAT, ["N", 2])
    graph = helper.make_graph(
        [helper.make_node("OptionalHasElement", ["o"], ["has"]), choice],
        "g",
        [info("x", FLOAT, ["N", 2]), helper.make_value_info("o", helper.make_optional_type_proto(element))],
        [info("y", FLOAT, ["N", 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture(scope="module", params=KINDS)
def client(request: pytest.FixtureRequest, exported: RunningServer) -> Iterator[TritonClient]:
    client = TritonClient(request.param, exported)
    yield client
    client.close()


def expected(model: str, rows: np.ndarray[Any, Any]) -> tuple[list[Any], list[list[float]], list[Any]]:
    """Labels, probabilities and classes as ONNX Runtime gives them by itself."""
    session = ort.InferenceSession(CASES / model / "1" / "model.onnx")
    labels, maps = session.run(None, {session.get_inputs()[0].name: rows})
    return labels.tolist(), [list(each.values()) for each in maps], list(maps[0])


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_probabilities_are_a_tensor(exported: RunningServer, model: str) -> None:
    given, label, probability = CLASSIFIERS[model]
    outputs = {output["name"]: output for output in exported.get(f"/v2/models/{model}").json()["outputs"]}
    assert (outputs[probability]["datatype"], outputs[probability]["shape"]) == ("FP32", [-1, 3])
    rows = RNG.uniform(0, 8, (4, 4)).astype(np.float32)
    labels, probabilities, _ = expected(model, rows)
    answer = exported.infer(model, {"inputs": [json_tensor(given, "FP32", [4, 4], rows.ravel().tolist())]})
    assert answer.status_code == 200, answer.text
    by_name = {output["name"]: output for output in answer.json()["outputs"]}
    assert (by_name[label]["data"], by_name[label]["shape"]) == (labels, [4, 1])
    assert by_name[probability]["shape"] == [4, 3]
    np.testing.assert_array_equal(
        np.array(by_name[probability]["data"], np.float32), np.array(probabilities, np.float32).ravel()
    )


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("rf_default", None),
        ("rf_strings_default", None),
        ("lgbm_default", None),
        ("labelled", ["A", "B", "C"]),
    ],
)
def test_classification_names_the_classes(client: TritonClient, model: str, names: list[str] | None) -> None:
    rows = RNG.uniform(0, 8, (2, 4)).astype(np.float32)
    _, probabilities, classes = expected(model if names is None else "rf_strings_default", rows)
    given, _, probability = CLASSIFIERS.get(model, CLASSIFIERS["rf_default"])
    asked = client.output(probability, class_count=3)
    answer = client.infer(model, [client.input(given, "FP32", rows)], outputs=[asked])
    for texts, row in zip(answer.as_numpy(probability).tolist(), probabilities, strict=True):
        best = sorted(range(3), key=lambda index: (-row[index], index))
        assert texts == [f"{row[i]:.6f}:{i}:{(names or classes)[i]}".encode() for i in best]


def test_each_of_many_clients_gets_its_own_rows(exported: RunningServer) -> None:
    requests = [RNG.uniform(0, 8, (1 + number % 3, 4)).astype(np.float32) for number in range(200)]

    def ask(rows: np.ndarray[Any, Any]) -> tuple[list[Any], list[float]]:
        body = {"inputs": [json_tensor("float_input", "FP32", list(rows.shape), rows.ravel().tolist())]}
        answer = exported.infer("rf_strings_default", body)
        assert answer.status_code == 200, answer.text
        labels, probabilities = answer.json()["outputs"]
        return labels["data"], probabilities["data"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, requests))
    for rows, (labels, probabilities) in zip(requests, answers, strict=True):
        own_labels, own_probabilities, _ = expected("rf_strings_default", rows)
        assert labels == own_labels
        np.testing.assert_array_equal(
            np.array(probabilities, np.float32), np.array(own_probabilities, np.float32).ravel()
        )


def test_an_input_with_a_value_of_its_own(client: TritonClient) -> None:
    """Sent and not sent, again and again: neither request leaves anything for the other."""
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    x = client.input("x", "FP32", rows)
    default = rows * DEFAULT_SCALE
    for factor in (5, 7, 5):
        scale = client.input("scale", "FP32", np.array([factor], np.float32))
        np.testing.assert_array_equal(client.infer("default_input", [x, scale]).as_numpy("y"), rows * factor)
        np.testing.assert_array_equal(client.infer("default_input", [x]).as_numpy("y"), default)


def test_an_input_with_a_value_of_its_own_over_json(exported: RunningServer) -> None:
    x = json_tensor("x", "FP32", [1, 4], [1, 2, 3, 4])
    for scale in (None, 5, 7) * 3:
        more = [] if scale is None else [json_tensor("scale", "FP32", [1], [scale])]
        answer = exported.infer("default_input", {"inputs": [x, *more]})
        factor = scale or DEFAULT_SCALE
        assert answer.json()["outputs"][0]["data"] == [factor, 2 * factor, 3 * factor, 4 * factor]
    wrong = exported.infer("default_input", {"inputs": [x, json_tensor("scale", "FP32", [2], [1, 2])]})
    assert wrong.status_code == 400
    assert "scale" in error_of(wrong)


def test_requests_with_and_without_an_optional_input_do_not_mix(exported: RunningServer) -> None:
    def ask(number: int) -> list[float]:
        x = json_tensor("x", "FP32", [1, 2], [number, 0])
        more = [json_tensor("o", "FP32", [1, 2], [1000, 1])] if number % 2 else []
        answer = exported.infer("by_type", {"inputs": [x, *more]})
        assert answer.status_code == 200, answer.text
        data: list[float] = answer.json()["outputs"][0]["data"]
        return data

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(200)))
    assert answers == [[n + 1000, 1] if n % 2 else [n, 0] for n in range(200)]
    counted = exported.get("/v2/models/by_type/stats").json()["model_stats"][0]
    assert counted["execution_count"] < counted["inference_count"]  # requests were merged
