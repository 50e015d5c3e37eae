"""Models written for Triton's Python backend, unchanged, with the clients that they have: the shapes of its examples."""

import io
import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer, StartServer
from tests.triton.conftest import CopyModels
from tests.wire.servers import TARGET_IS_TRITON

unlike_triton = pytest.mark.skipif(
    TARGET_IS_TRITON, reason="tritonserver 2.51 does otherwise, or lacks what it needs"
)

ONES = np.ones(4, np.float32)
RAMP = np.arange(4, dtype=np.float32)


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, examples: RunningServer) -> Any:
    if request.param == "http":
        return httpclient, httpclient.InferenceServerClient(examples.rest.removeprefix("http://"))
    return grpcclient, grpcclient.InferenceServerClient(examples.grpc)


def infer(client: Any, model: str, **arrays: Any) -> dict[str, Any]:
    """All outputs of one request."""
    module, connection = client
    inputs = []
    for name, array in arrays.items():
        datatype = {"f": "FP32", "i": "INT32", "u": "UINT32", "O": "BYTES"}[array.dtype.kind]
        tensor = module.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    try:
        result = connection.infer(model, inputs)
    finally:
        connection.close()
    response = result.get_response()
    outputs = response["outputs"] if isinstance(response, dict) else response.outputs
    names = [output["name"] if isinstance(output, dict) else output.name for output in outputs]
    return {name: result.as_numpy(name) for name in names}


def stream(examples: RunningServer, model: str, arrays: dict[str, Any], **options: Any) -> list[Any]:
    """The responses of a decoupled model until the final one: results, or errors."""
    taken: queue.Queue[Any] = queue.Queue()
    inputs = []
    for name, array in arrays.items():
        tensor = grpcclient.InferInput(
            name, list(array.shape), {"i": "INT32", "u": "UINT32"}[array.dtype.kind]
        )
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    responses: list[Any] = []
    with grpcclient.InferenceServerClient(examples.grpc) as connection:
        connection.start_stream(lambda result, error: taken.put(error or result))
        connection.async_stream_infer(model, inputs, **options)
        while True:
            response = taken.get(timeout=60)
            responses.append(response)
            if isinstance(response, InferenceServerException) or is_final(response):
                return responses


def is_final(result: Any) -> bool:
    final: bool = result.get_response().parameters["triton_final_response"].bool_param
    return final


def test_add_sub(client: Any) -> None:
    outputs = infer(client, "add_sub", INPUT0=RAMP, INPUT1=ONES)
    assert outputs["OUTPUT0"].tolist() == [1, 2, 3, 4]
    assert outputs["OUTPUT1"].tolist() == [-1, 0, 1, 2]
    assert outputs["OUTPUT1"].dtype == np.float64


def test_an_async_execute(client: Any) -> None:
    two = np.array([[1, 2]], np.int32)
    assert infer(client, "async_add", INPUT0=two, INPUT1=two)["SUM"].tolist() == [[2, 4]]


def test_auto_complete_without_batches(client: Any, examples: RunningServer) -> None:
    outputs = infer(client, "nobatch_auto_complete", INPUT0=RAMP, INPUT1=ONES)
    assert outputs["OUTPUT0"].tolist() == [1, 2, 3, 4]
    config = examples.get("/v2/models/nobatch_auto_complete/config").json()
    assert config["max_batch_size"] == 0
    assert "dynamic_batching" not in config
    assert [(tensor["name"], tensor["data_type"], tensor["dims"]) for tensor in config["input"]] == [
        ("INPUT0", "TYPE_FP32", [4]),
        ("INPUT1", "TYPE_FP32", [4]),
    ]


def test_auto_complete_with_batches(client: Any, examples: RunningServer) -> None:
    batch = np.stack([RAMP, ONES])
    outputs = infer(client, "batch_auto_complete", INPUT0=batch, INPUT1=batch)
    assert outputs["OUTPUT0"].tolist() == [[0, 2, 4, 6], [2, 2, 2, 2]]
    config = examples.get("/v2/models/batch_auto_complete/config").json()
    assert config["max_batch_size"] == 4
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 0
    assert config["model_transaction_policy"] == {"decoupled": False}


@pytest.mark.parametrize("callee", ["add_sub"])
def test_bls(client: Any, callee: str) -> None:
    name = np.array([callee.encode()], np.object_)
    outputs = infer(client, "bls_sync", INPUT0=RAMP, INPUT1=ONES, MODEL_NAME=name)
    assert outputs["OUTPUT0"].tolist() == [1, 2, 3, 4]
    assert outputs["OUTPUT1"].tolist() == [-1, 0, 1, 2]


@unlike_triton
def test_bls_of_a_model_that_is_not_there(examples: RunningServer) -> None:
    inputs = [
        {"name": "INPUT0", "datatype": "FP32", "shape": [4], "data": [0, 1, 2, 3]},
        {"name": "INPUT1", "datatype": "FP32", "shape": [4], "data": [0, 1, 2, 3]},
        {"name": "MODEL_NAME", "datatype": "BYTES", "shape": [1], "data": ["nosuch"]},
    ]
    answer = examples.infer("bls_sync", {"inputs": inputs})
    # In Triton it is 500 whatever it was.
    assert answer.status_code == 404
    assert answer.json()["error"].startswith(
        "Model nosuch - Error when running inference: Failed for execute the inference request. Model 'nosuch' is not "
        "ready."
    )


def test_bls_of_several_models_at_once(client: Any) -> None:
    outputs = infer(client, "bls_async", INPUT0=RAMP, INPUT1=ONES)
    assert outputs["OUTPUT0"].tolist() == [1, 2, 3, 4]
    assert outputs["OUTPUT1"].tolist() == [-1, 0, 1, 2]


@pytest.mark.parametrize("number", [0, 1, 5])
def test_bls_of_a_decoupled_model(client: Any, number: int) -> None:
    outputs = infer(client, "bls_decoupled_sync", IN=np.array([number], np.int32))
    assert outputs["SUM"].tolist() == [number * number]


def test_bls_of_decoupled_models_at_once(client: Any) -> None:
    outputs = infer(client, "bls_decoupled_async", IN=np.array([3], np.int32))
    assert outputs["SUM"].tolist() == [9 + 16]


@pytest.mark.parametrize("count", [0, 1, 5, 100])
def test_square(examples: RunningServer, count: int) -> None:
    responses = stream(
        examples, "square", {"IN": np.array([count], np.int32)}, enable_empty_final_response=True
    )
    *results, last = responses
    assert [result.as_numpy("OUT").tolist() for result in results] == [[count]] * count
    assert not any(map(is_final, results))
    # The final flag came alone.
    assert last.as_numpy("OUT") is None


@pytest.mark.parametrize("wants_final", [True, False])
def test_repeat(examples: RunningServer, wants_final: bool) -> None:
    values, delays = np.array([4, 2, 0, 1], np.int32), np.array([1, 2, 3, 0], np.uint32)
    responses = stream(
        examples,
        "repeat",
        {"IN": values, "DELAY": delays},
        request_id="7",
        enable_empty_final_response=wants_final,
    )
    assert [result.as_numpy("OUT").tolist() for result in responses] == [[4], [2], [0], [1]]
    assert [result.as_numpy("IDX").tolist() for result in responses] == [[0], [1], [2], [3]]
    # The final flag comes with the last response, and not again.
    assert [is_final(result) for result in responses] == [False, False, False, True]
    assert {result.get_response().id for result in responses} == {"7"}


def test_an_async_decoupled_execute(examples: RunningServer) -> None:
    values = np.arange(50, dtype=np.int32)
    responses = stream(examples, "async_repeat", {"IN": values}, enable_empty_final_response=True)
    assert [result.as_numpy("OUT").tolist() for result in responses[:-1]] == [[value] for value in range(50)]


def test_a_decoupled_model_by_events(examples: RunningServer) -> None:
    answer = examples.post("/v2/models/square/generate_stream", json={"IN": 3})
    assert answer.status_code == 200
    events = [line for line in answer.text.splitlines() if line]
    assert len(events) == 3
    assert all('"OUT":3' in event for event in events)


@unlike_triton
def test_custom_metrics(examples: RunningServer) -> None:
    for value in (2.0, 40.0):
        tensor = {"name": "INPUT0", "datatype": "FP32", "shape": [1], "data": [value]}
        assert examples.infer("custom_metrics", {"inputs": [tensor]}).status_code == 200
    text = httpx.get(examples.metrics).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counter = families["requests_process_latency_ns"]
    assert (counter.type, counter.documentation) == ("counter", "Cumulative time spent processing requests")
    [sample] = counter.samples
    assert (sample.labels, sample.value) == ({"model": "custom_metrics", "version": "1"}, 42.0)
    assert [sample.value for sample in families["requests_last_rows"].samples] == [40.0]
    buckets = {
        sample.labels["le"]: sample.value
        for sample in families["requests_rows"].samples
        if sample.name.endswith("_bucket")
    }
    assert buckets == {"1": 0, "10": 1, "100": 2, "+Inf": 2}
    assert "Cumulative requests processing latency: 42.0" in examples.log


@unlike_triton
def test_parameters(examples: RunningServer) -> None:
    body = {
        "id": "p",
        "parameters": {"flag": True, "number": -3, "text": "ŝ", "priority": 1, "timeout": 10_000_000},
        "inputs": [{"name": "dummy", "datatype": "INT32", "shape": [1], "data": [1]}],
    }
    answer = examples.infer("parameters", body).json()
    assert answer["parameters"] == {"count": 3, "echo": "ŝ"}
    columns = {output["name"]: output["data"] for output in answer["outputs"]}
    rows = dict(zip(columns["key"], zip(columns["value"], columns["type"], strict=True), strict=True))
    assert rows == {"flag": ("True", "bool"), "number": ("-3", "int"), "text": ("ŝ", "str")}


def test_strings(client: Any) -> None:
    texts = np.array([["abcd", "ŝ"], ["", "x\0y"]], np.object_)
    outputs = infer(client, "strings", TEXT=texts)
    assert outputs["UPPER"].tolist() == [[b"ABCD", "Ŝ".encode()], [b"", b"X\0Y"]]
    assert outputs["FIRST"].tolist() == [[b"abc", "ŝ".encode()], [b"", b"x\0y"]]
    assert outputs["LENGTH"].tolist() == [[b"4", b"2"], [b"0", b"3"]]
    assert outputs["SAME"].tolist() == [[b"abcd", "ŝ".encode()], [b"", b"x\0y"]]


def test_answers_that_come_later(examples: RunningServer) -> None:
    """The model has no answer to a request until it has the next one."""
    with grpcclient.InferenceServerClient(examples.grpc) as connection:
        answers = []
        for value in (1, 2):
            tensor = grpcclient.InferInput("IN", [1], "INT32")
            tensor.set_data_from_numpy(np.array([value], np.int32))
            answered: queue.Queue[Any] = queue.Queue()
            connection.async_infer(
                "deferred", [tensor], callback=lambda result, error, to=answered: to.put(error or result)
            )
            answers.append(answered)
        results = [answered.get(timeout=60).as_numpy("OUT").tolist() for answered in answers]
    assert results == [[2], [1]]


@pytest.mark.parametrize(("model", "who"), [("neighbours", "one"), ("neighbours_too", "two")])
def test_modules_beside_a_model_are_its_own(examples: RunningServer, model: str, who: str) -> None:
    tensor = {"name": "IN", "datatype": "INT32", "shape": [1], "data": [1]}
    answer = examples.infer(model, {"inputs": [tensor]}).json()
    assert answer["outputs"][0]["data"] == [f"{who} {who} in {who} 1"]


@unlike_triton
def test_a_network_of_torch(client: Any) -> None:
    pytest.importorskip("torch")
    outputs = infer(client, "instance_kind", INPUT=np.ones((2, 4), np.float32))
    assert outputs["OUTPUT"].tolist() == [[6, 22], [6, 22]]
    assert outputs["DEVICE"].tolist() == [[b"cpu"], [b"cpu"]]


@unlike_triton
def test_jax(client: Any) -> None:
    pytest.importorskip("jax", reason="JAX is not installed: it is no dependency, not even of the tests")
    outputs = infer(client, "jax_add_sub", INPUT0=RAMP, INPUT1=ONES)
    assert outputs["OUTPUT0"].tolist() == [1, 2, 3, 4]
    assert outputs["OUTPUT1"].tolist() == [-1, 0, 1, 2]
    assert outputs["OUTPUT0"].dtype == np.float32


@unlike_triton
def test_pictures(client: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    pictures = []
    for form, colour in (("PNG", (255, 0, 51)), ("PNG", (0, 255, 255))):
        data = io.BytesIO()
        image.new("RGB", (16, 16), colour).save(data, form)
        pictures.append([data.getvalue()])
    outputs = infer(client, "preprocessing", INPUT_0=np.array(pictures, np.object_))
    assert outputs["OUTPUT_0"].shape == (2, 3, 8, 8)
    assert outputs["OUTPUT_0"][:, :, 3, 3].tolist() == [pytest.approx([1, 0, 0.2]), [0, 1, 1]]


@pytest.mark.parametrize(("limit", "most"), [("execution_count", 1), ("off", 3)])
def test_the_rate_limiter(
    isolation: str, copy_models: CopyModels, serve: StartServer, tmp_path: Path, limit: str, most: int
) -> None:
    root = copy_models(isolation, "rate_limited")
    marks = tmp_path / "marks"
    marks.mkdir()
    config = root / "rate_limited" / "config.pbtxt"
    config.write_text(config.read_text().replace("DIRECTORY", str(marks)))
    server = serve(root, f"--rate-limit={limit}")
    tensor = {"name": "IN", "datatype": "INT32", "shape": [1], "data": [1]}
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda _: server.infer("rate_limited", {"inputs": [tensor]}).json(), range(12))
        )
    seen = [answer["outputs"][0]["data"][0] for answer in answers]
    assert max(seen) <= most
    if limit == "off":
        assert max(seen) > 1
