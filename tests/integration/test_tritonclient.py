"""Unmodified tritonclient, all four clients: what they have in common."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer
from tests.integration.clients import KINDS, TritonClient
from tests.integration.conftest import ExplicitServer
from tests.integration.handlers import identity, versioned
from tests.integration.support import EDGE_VALUES, same

# The http.aio client never reads the answers to health checks.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")


@pytest.fixture(scope="module", params=KINDS)
def client(request: pytest.FixtureRequest, server: RunningServer) -> Iterator[TritonClient]:
    made = TritonClient(request.param, server)
    yield made
    made.close()


@pytest.fixture(scope="module", params=KINDS)
def explicit_client(
    request: pytest.FixtureRequest, explicit_server: ExplicitServer
) -> Iterator[TritonClient]:
    made = TritonClient(request.param, explicit_server.server)
    yield made
    made.close()


BAT_ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


# --- health and metadata ------------------------------------------------------------------------------------


def test_the_server_is_live_and_ready(client: TritonClient) -> None:
    assert client.is_server_live() is True
    assert client.is_server_ready() is True


@pytest.mark.parametrize(
    ("model", "version", "ready"),
    [
        ("bat", "", True),
        ("bat", "1", True),
        ("bat", "2", False),
        ("versions", "2", True),
        ("nosuch", "", False),
        ("nosuch", "1", False),
    ],
)
def test_model_readiness(client: TritonClient, model: str, version: str, ready: bool) -> None:
    assert client.is_model_ready(model, version) is ready


def test_server_metadata(client: TritonClient) -> None:
    metadata = client.as_dict(client.get_server_metadata())
    assert metadata["name"] == "kserve-v2"
    assert metadata["version"]
    assert {"binary_tensor_data", "classification", "statistics", "model_repository"} <= set(
        metadata["extensions"]
    )


def test_model_metadata(client: TritonClient) -> None:
    metadata = client.as_dict(client.get_model_metadata("two"))
    for tensor in (*metadata["inputs"], *metadata["outputs"]):
        tensor["shape"] = [int(size) for size in tensor["shape"]]
    assert metadata == {
        "name": "two",
        "versions": ["1"],
        "platform": "python",
        "inputs": [{"name": name, "datatype": "INT32", "shape": [-1, 2]} for name in "AB"],
        "outputs": [{"name": name, "datatype": "INT32", "shape": [-1, 2]} for name in "XY"],
    }


@pytest.mark.parametrize(("version", "versions"), [("", ["1", "2", "3"]), ("2", ["2"])])
def test_metadata_names_the_versions(client: TritonClient, version: str, versions: list[str]) -> None:
    assert client.as_dict(client.get_model_metadata("versions", version))["versions"] == versions


def test_model_config(client: TritonClient) -> None:
    answer = client.as_dict(client.get_model_config("bat"))
    config = answer if client.is_http else answer["config"]
    assert (config["name"], config["backend"], config["max_batch_size"]) == ("bat", "python", 4)
    [tensor] = config["input"]
    assert (tensor["name"], tensor["data_type"], [int(dim) for dim in tensor["dims"]]) == (
        "IN",
        "TYPE_FP32",
        [3],
    )
    assert config["dynamic_batching"]["preferred_batch_size"] == [4]
    assert config["instance_group"][0]["kind"] == "KIND_CPU"


def test_http_configuration_prints_defaults(server: RunningServer) -> None:
    config = server.get("/v2/models/bat/config").json()
    assert config["input"][0]["optional"] is False
    assert config["input"][0]["dims"] == [3]
    assert config["version_policy"] == {"latest": {"num_versions": 1}}
    assert config["default_model_filename"] == "model.py"
    assert "sequence_batching" not in config


def test_statistics_count_what_was_asked(client: TritonClient) -> None:
    def counts() -> dict[str, int]:
        [entry] = client.as_dict(client.get_inference_statistics("two"))["model_stats"]
        return {
            "rows": int(entry.get("inference_count", 0)),
            "success": int(entry["inference_stats"]["success"].get("count", 0)),
        }

    before = counts()
    rows = np.ones((3, 2), np.int32)
    client.infer("two", [client.input("A", "INT32", rows), client.input("B", "INT32", rows)])
    after = counts()
    assert {name: after[name] - before[name] for name in after} == {"rows": 3, "success": 1}


def test_statistics_of_all_models(client: TritonClient) -> None:
    entries = client.as_dict(client.get_inference_statistics())["model_stats"]
    names = [(entry["name"], entry["version"]) for entry in entries]
    assert names == sorted(names)
    assert {("two", "1"), ("versions", "1"), ("versions", "3")} <= set(names)


# --- inference ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", EDGE_VALUES)
def test_every_datatype_comes_back_bit_for_bit(client: TritonClient, datatype: str) -> None:
    sent = EDGE_VALUES[datatype]
    answer = client.infer(f"id_{datatype.lower()}", [client.input("IN", datatype, sent)])
    assert same(answer.as_numpy("OUT"), sent)


def test_elements_that_are_not_utf8_travel_as_bytes(client: TritonClient) -> None:
    sent = np.array([b"\xff\xfe\x80", b"\x00"], dtype=np.object_)
    got = client.infer("id_bytes", [client.input("IN", "BYTES", sent)]).as_numpy("OUT")
    assert same(got, sent)


@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_a_tensor_without_elements(client: TritonClient, datatype: str) -> None:
    sent = EDGE_VALUES[datatype][:0]
    answer = client.infer(f"id_{datatype.lower()}", [client.input("IN", datatype, sent)])
    result = answer.get_output("OUT")
    shape = result["shape"] if client.is_http else list(result.shape)
    assert shape == [0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # a remark of aiohttp
def test_a_large_tensor(client: TritonClient) -> None:
    sent = np.random.default_rng(7).random(3_000_000, dtype=np.float32)
    got = client.infer("id_fp32", [client.input("IN", "FP32", sent)]).as_numpy("OUT")
    assert same(got, sent)


def two_inputs(client: TritonClient) -> list[Any]:
    a, b = np.array([[5, 7]], np.int32), np.array([[1, 2]], np.int32)
    return [client.input("A", "INT32", a), client.input("B", "INT32", b)]


@pytest.mark.parametrize("requested", [["X"], ["Y"], ["Y", "X"], []])
def test_several_inputs_and_the_outputs_that_are_asked_for(
    client: TritonClient, requested: list[str]
) -> None:
    outputs = [client.output(name) for name in requested]
    answer = client.infer("two", two_inputs(client), outputs=outputs or None)
    expected = {"X": [[6, 9]], "Y": [[4, 5]]}
    for name, values in expected.items():
        got = answer.as_numpy(name)
        assert (got is None) if requested and name not in requested else got.tolist() == values


def test_inputs_in_another_order(client: TritonClient) -> None:
    answer = client.infer("two", two_inputs(client)[::-1])
    assert answer.as_numpy("Y").tolist() == [[4, 5]]


def test_an_optional_input(client: TritonClient) -> None:
    a, b = (np.array([[value]], np.float32) for value in (1.5, 2.0))
    alone = client.infer("opt", [client.input("A", "FP32", a)])
    both = client.infer("opt", [client.input("A", "FP32", a), client.input("B", "FP32", b)])
    assert (alone.as_numpy("OUT").item(), both.as_numpy("OUT").item()) == (1.5, 3.5)


def test_the_request_id_is_echoed(client: TritonClient) -> None:
    answer = client.infer("bat", [client.input("IN", "FP32", BAT_ROWS)], request_id="r-1 ŝ")
    response = answer.get_response()
    assert (response["id"] if client.is_http else response.id) == "r-1 ŝ"


def test_there_is_no_id_without_one(client: TritonClient) -> None:
    response = client.infer("bat", [client.input("IN", "FP32", BAT_ROWS)]).get_response()
    assert ("id" not in response) if client.is_http else response.id == ""


@pytest.mark.parametrize(("version", "answered"), [("", "3"), ("1", "1"), ("2", "2")])
def test_the_version_that_answers(client: TritonClient, version: str, answered: str) -> None:
    answer = client.infer(
        "versions", [client.input("IN", "INT32", np.zeros(1, np.int32))], model_version=version
    )
    response = answer.get_response()
    assert (response["model_version"] if client.is_http else response.model_version) == answered
    assert answer.as_numpy("VERSION").tolist() == [int(answered)]


def test_parameters_are_accepted(client: TritonClient) -> None:
    parameters = {"text": "x", "flag": True, "number": 7}
    answer = client.infer("bat", [client.input("IN", "FP32", BAT_ROWS)], parameters=parameters)
    assert same(answer.as_numpy("OUT"), BAT_ROWS)


@pytest.mark.parametrize(
    ("output", "count", "classes"),
    [
        # An equal value keeps the order of its index; labels where there are some; integers without decimals.
        ("SCORES", 2, [[b"10.000000:2:bird", b"1.500000:0:cat"], [b"5.000000:0:cat", b"5.000000:1:dog"]]),
        ("SCORES", 9, [[b"10.000000:2:bird", b"1.500000:0:cat", b"-2.000000:1:dog"],
                       [b"5.000000:0:cat", b"5.000000:1:dog", b"5.000000:2:bird"]]),
        ("COUNTS", 1, [[b"10:2"], [b"5:0"]]),
    ],
)  # fmt: skip
def test_classification(client: TritonClient, output: str, count: int, classes: list[list[bytes]]) -> None:
    values = np.array([[1.5, -2, 10], [5, 5, 5]], np.float32)
    answer = client.infer(
        "classes", [client.input("IN", "FP32", values)], outputs=[client.output(output, class_count=count)]
    )
    assert answer.as_numpy(output).tolist() == classes


# --- errors -------------------------------------------------------------------------------------------------


def status_of(client: TritonClient, error: InferenceServerException) -> str:
    text: str = error.status()
    return text.removeprefix("StatusCode.")


def fp32(*shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, np.float32)


ERRORS: list[tuple[str, str, str, list[tuple[str, str, Any]], list[str], tuple[str, str], str]] = [
    ("unknown-model", "nosuch", "", [], [], ("404", "NOT_FOUND"),
     "Request for unknown model: 'nosuch' is not found"),
    ("unknown-version", "bat", "9", [("IN", "FP32", fp32(1, 3))], [], ("404", "NOT_FOUND"),
     "Request for unknown model: 'bat' version 9 is not found"),
    ("too-few-inputs", "two", "", [("A", "INT32", np.zeros((1, 2), np.int32))], [],
     ("400", "INVALID_ARGUMENT"),
     "[request id: r1] expected 2 inputs but got 1 inputs for model 'two'. Got input(s) ['A'], but missing "
     "required input(s) ['B']. Please provide all required input(s)."),
    ("unknown-input", "bat", "", [("ZZ", "FP32", fp32(1, 3))], [], ("400", "INVALID_ARGUMENT"),
     "unexpected inference input 'ZZ' for model 'bat'. The model has input(s) ['IN']"),
    ("wrong-datatype", "bat", "", [("IN", "INT32", np.zeros((1, 3), np.int32))], [],
     ("400", "INVALID_ARGUMENT"),
     "[request id: r1] inference input 'IN' data-type is 'INT32', but model 'bat' expects 'FP32'"),
    ("wrong-shape", "id_fp32", "", [("IN", "FP32", fp32(2, 1))], [], ("400", "INVALID_ARGUMENT"),
     "[request id: r1] unexpected shape for input 'IN' for model 'id_fp32'. Expected [-1], got [2,1]. "),
    ("batch-too-large", "bat", "", [("IN", "FP32", fp32(5, 3))], [], ("400", "INVALID_ARGUMENT"),
     "[request id: r1] inference request batch-size must be <= 4 for 'bat'"),
    ("unknown-output", "bat", "", [("IN", "FP32", fp32(1, 3))], ["Q"], ("400", "INVALID_ARGUMENT"),
     "unexpected inference output 'Q' for model 'bat'. The model has output(s) ['OUT']"),
    ("model-refuses", "failing", "", [("COMMAND", "BYTES", np.array([[b"refuse"]], np.object_))], [],
     ("400", "INVALID_ARGUMENT"), "COMMAND must not be 'refuse'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "version", "inputs", "outputs", "statuses", "message"),
    [row[1:] for row in ERRORS],
    ids=[row[0] for row in ERRORS],
)
def test_an_error_has_its_status_and_message(
    client: TritonClient,
    model: str,
    version: str,
    inputs: list[tuple[str, str, Any]],
    outputs: list[str],
    statuses: tuple[str, str],
    message: str,
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(
            model,
            [client.input(*each) for each in inputs],
            model_version=version,
            outputs=[client.output(name) for name in outputs] or None,
            request_id="r1",
        )
    assert status_of(client, caught.value) == (statuses[0] if client.is_http else statuses[1])
    assert caught.value.message() == message


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("get_model_metadata", ("nosuch",)),
        ("get_model_config", ("nosuch",)),
        ("get_model_metadata", ("nosuch", "1")),
    ],
)
def test_a_control_call_about_an_unknown_model(
    client: TritonClient, call: str, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(
        InferenceServerException, match="Request for unknown model: 'nosuch' is not found"
    ) as caught:
        getattr(client, call)(*arguments)
    assert status_of(client, caught.value) == ("404" if client.is_http else "NOT_FOUND")


def test_statistics_of_an_unknown_model(client: TritonClient) -> None:
    with pytest.raises(InferenceServerException, match="requested model 'nosuch' is not available") as caught:
        client.get_inference_statistics("nosuch")
    assert status_of(client, caught.value) == ("400" if client.is_http else "INVALID_ARGUMENT")


@pytest.mark.parametrize("call", ["load_model", "unload_model"])
def test_models_are_not_loaded_unless_the_server_allows_it(client: TritonClient, call: str) -> None:
    with pytest.raises(
        InferenceServerException, match="explicit model load / unload is not allowed"
    ) as caught:
        getattr(client, call)("bat")
    assert status_of(client, caught.value) == ("503" if client.is_http else "UNAVAILABLE")
    assert client.is_model_ready("bat")


# --- the repository -----------------------------------------------------------------------------------------


def index_of(client: TritonClient, model: str) -> list[dict[str, str]]:
    answer = client.get_model_repository_index()
    models = answer if client.is_http else client.as_dict(answer).get("models", [])
    return [entry for entry in models if entry["name"] == model]


def test_load_use_and_unload(
    explicit_client: TritonClient, explicit: ExplicitServer, request: pytest.FixtureRequest
) -> None:
    name = f"triton_{request.node.callspec.id.replace('.', '_')}"
    explicit.write(name, identity("FP32", [3], max_batch_size=4))
    assert index_of(explicit_client, name) == [{"name": name}]
    explicit_client.load_model(name)
    assert index_of(explicit_client, name) == [{"name": name, "version": "1", "state": "READY"}]
    answer = explicit_client.infer(name, [explicit_client.input("IN", "FP32", BAT_ROWS)])
    assert same(answer.as_numpy("OUT"), BAT_ROWS)
    explicit_client.unload_model(name)
    with pytest.raises(InferenceServerException, match=f"'{name}' has no available versions"):
        explicit_client.infer(name, [explicit_client.input("IN", "FP32", BAT_ROWS)])
    assert not explicit_client.is_model_ready(name)


def test_load_with_a_configuration_of_the_client(
    explicit_client: TritonClient, explicit: ExplicitServer, request: pytest.FixtureRequest
) -> None:
    name = f"triton_config_{request.node.callspec.id.replace('.', '_')}"
    explicit.write(name, versioned(1))
    explicit.write(name, versioned(2), version=2)
    explicit_client.load_model(name, config='{"version_policy": {"specific": {"versions": [1]}}}')
    answer = explicit_client.infer(name, [explicit_client.input("IN", "INT32", np.zeros(1, np.int32))])
    assert answer.as_numpy("VERSION").tolist() == [1]
    explicit_client.unload_model(name)


def test_loading_an_unknown_model(explicit_client: TritonClient) -> None:
    with pytest.raises(
        InferenceServerException, match="failed to load 'nosuch', failed to poll from model repository"
    ):
        explicit_client.load_model("nosuch")


def test_unloading_an_unknown_model_is_no_error(explicit_client: TritonClient) -> None:
    explicit_client.unload_model("nosuch")
