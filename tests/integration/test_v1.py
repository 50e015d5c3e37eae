"""The v1 protocol of KServe and TF Serving over real sockets: what clients of the two send, and what they are told."""

import base64
import gzip
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import RunningServer, StartServer
from tests.integration.conftest import ExplicitServer
from tests.integration.support import EDGE_VALUES, error_of, same, statistics

DECOUPLED = """
class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"OUT": ("FP32", [1])}
    decoupled = True

    def __call__(self, inputs):
        yield {"OUT": inputs["IN"]}
"""


@pytest.fixture(scope="module")
def tf_server(start_server: StartServer, repository: Path) -> RunningServer:
    """One that answers as TF Serving does."""
    names = ("bat", "two", "versions", "opt")
    flags = (f"--load-model={name}" for name in names)
    server = start_server(
        repository, "--v1-flavour=tfserving", "--model-control-mode=explicit", "--allow-grpc=false", *flags
    )
    release = server.post("/v2/repository/models/versions/release", json={"labels": {"PROD": 2}})
    assert release.status_code == 200, release.text
    return server


def predict(server: RunningServer, model: str, body: Any, place: str = "", **options: Any) -> Any:
    """What is answered to a body; one that is text is sent as it is."""
    text = body if isinstance(body, str) else json.dumps(body)
    answer = server.post(f"/v1/models/{model}{place}:predict", content=text, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        ("bat", {"instances": [[1, 2, 3], [4, 5, 6.5]]}, {"predictions": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]]}),
        ("bat", {"inputs": [[1, 2, 3]]}, {"outputs": [[1.0, 2.0, 3.0]]}),
        ("bat", {"inputs": {"IN": [[1, 2, 3]]}, "signature_name": "serving_default"}, {"outputs": [[1.0, 2.0, 3.0]]}),
        (
            "two",
            {"instances": [{"A": [1, 2], "B": [3, 4]}, {"A": [5, 6], "B": [7, 8]}]},
            {"predictions": [{"X": [4, 6], "Y": [-2, -2]}, {"X": [12, 14], "Y": [-2, -2]}]},
        ),
        ("two", {"inputs": {"A": [[1, 2]], "B": [[3, 4]]}}, {"outputs": {"X": [[4, 6]], "Y": [[-2, -2]]}}),
        ("opt", {"instances": [{"A": 1}, {"A": 2}]}, {"predictions": [[1.0], [2.0]]}),
        ("opt", {"instances": [{"A": 1, "B": 2}]}, {"predictions": [[3.0]]}),
        ("id_bytes", {"instances": ["ŝ", {"b64": "/w=="}]}, {"predictions": ["ŝ", {"b64": "/w=="}]}),
        ("id_int64", {"instances": [2**63 - 1, -(2**63)]}, {"predictions": [2**63 - 1, -(2**63)]}),
        ("id_uint64", {"instances": [2**64 - 1]}, {"predictions": [2**64 - 1]}),
        ("id_fp64", {"instances": [5e-324, 0.1]}, {"predictions": [5e-324, 0.1]}),
        ("id_fp16", {"instances": [65504, -0.5]}, {"predictions": [65504.0, -0.5]}),
        ("id_bf16", {"instances": [1.5]}, {"predictions": [1.5]}),
        ("id_bool", {"instances": [True, False]}, {"predictions": [True, False]}),
        ("a%20b", {"instances": [7]}, {"predictions": [7]}),
    ],
)  # fmt: skip
def test_predict(server: RunningServer, model: str, body: Any, expected: Any) -> None:
    assert predict(server, model, body) == expected


def test_what_is_not_finite(server: RunningServer) -> None:
    answer = predict(server, "id_fp32", '{"instances": [NaN, Infinity, -Infinity]}')["predictions"]
    assert math.isnan(answer[0])
    assert answer[1:] == [math.inf, -math.inf]


def test_a_request_is_one_of_the_model_s_like_any_other(server: RunningServer) -> None:
    """Two rows, one request, and counted once."""
    before = statistics(server, "bat")
    predict(server, "bat", {"instances": [[1, 2, 3], [4, 5, 6]]})
    after = statistics(server, "bat")
    assert after["inference_count"] - before["inference_count"] == 2
    count = [each["inference_stats"]["success"]["count"] for each in (before, after)]
    assert count[1] - count[0] == 1


@pytest.mark.parametrize(
    ("model", "body", "status", "text"),
    [
        ("bat", '{"instances": [[1,', 400, "failed to parse the request JSON buffer"),
        ("bat", {"instances": 1}, 400, 'Expected "instances" to be a list'),
        ("bat", {"instances": [[1, 2, 3]] * 5}, 400, "batch-size must be <= 4"),
        ("bat", {"instances": [[1, 2]]}, 400, "unexpected shape for input 'IN' for model 'bat'. Expected [-1,3], got [1,2]"),
        ("bat", {"instances": [[1e39, 2, 3]]}, 400, "1e+39 is out of range for FP32"),
        ("id_fp16", {"instances": [70000.0]}, 400, "70000.0 is out of range for FP16 [-65504, 65504] (input 'IN')"),
        ("two", {"instances": [{"A": [1, 2.5], "B": [3, 4]}]}, 400, "Type: Number is not of expected type: int32"),
        ("nosuch", {"instances": [1]}, 404, "Model with name nosuch does not exist."),
        ("failing", {"instances": ["raise"]}, 500, "Failed to process the request"),
    ],
)  # fmt: skip
def test_errors(server: RunningServer, model: str, body: Any, status: int, text: str) -> None:
    sent = body if isinstance(body, str) else json.dumps(body)
    answer = server.post(f"/v1/models/{model}:predict", content=sent)
    assert answer.status_code == status, answer.text
    assert text in error_of(answer)


def test_versions_and_labels(server: RunningServer, tf_server: RunningServer) -> None:
    for version in (1, 2, 3):
        answer = predict(server, "versions", {"inputs": [7]}, f"/versions/{version}")
        assert answer == {"outputs": [version]}
    assert predict(tf_server, "versions", {"instances": [7]}, "/labels/PROD") == {"predictions": [2]}
    assert predict(tf_server, "versions", {"instances": [7]}) == {"predictions": [3]}
    body = {"instances": [7]}
    unknown = tf_server.post("/v1/models/versions/labels/TEST:predict", json=body)
    assert unknown.status_code == 404
    assert (
        "no version 'TEST', which is neither a number nor a label of this model: its labels are PROD,"
        in error_of(unknown)
    )
    none = server.post("/v1/models/versions/labels/TEST:predict", json=body)
    assert none.status_code == 404
    assert "it has no labels, and the versions that are loaded are 1, 2, 3" in error_of(none)
    for place in ("labels/TEST", "labels/TEST/metadata"):
        shown = server.get(f"/v1/models/versions/{place}")
        assert (shown.status_code, error_of(shown)) == (404, error_of(none))


AVAILABLE = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}


def test_the_status_of_a_model_suits_both(server: RunningServer, tf_server: RunningServer) -> None:
    states = {"model_version_status": [{"version": version, **AVAILABLE} for version in ("3", "2", "1")]}
    assert tf_server.get("/v1/models/versions").json() == states
    assert server.get("/v1/models/versions").json() == {"name": "versions", "ready": True, **states}
    two = {"model_version_status": [{"version": "2", **AVAILABLE}]}
    for place in ("versions/2", "labels/PROD"):
        assert tf_server.get(f"/v1/models/versions/{place}").json() == two
    assert "bat" in server.get("/v1/models").json()["models"]
    assert server.get("/").json()["status"] == "alive"


@pytest.mark.parametrize(
    ("path", "kserve", "tensorflow"),
    [
        ("nosuch", "Model with name nosuch does not exist.", "Could not find any versions of model nosuch"),
        ("bat/versions/9", "version 9 of model bat does not exist.", "Could not find version 9 of model bat"),
        ("bat/versions/9/metadata", "version 9 of model bat does not exist.", "Servable not found for request: Specific(bat, 9)"),
    ],
)  # fmt: skip
def test_what_is_not_there(
    server: RunningServer, tf_server: RunningServer, path: str, kserve: str, tensorflow: str
) -> None:
    for each, text in ((server, kserve), (tf_server, tensorflow)):
        answer = each.get(f"/v1/models/{path}")
        assert (answer.status_code, error_of(answer)) == (404, text)


def test_what_is_not_ready(explicit_server: ExplicitServer) -> None:
    server = explicit_server.server
    explicit_server.write("v1gone", DECOUPLED)
    assert explicit_server.load("v1gone").status_code == 200
    assert explicit_server.unload("v1gone").status_code == 200
    answer = server.get("/v1/models/v1gone")
    while answer.json()["model_version_status"][0]["state"] == "UNLOADING":
        answer = server.get("/v1/models/v1gone")
    assert answer.status_code == 503
    assert answer.json()["error"] == "Model with name v1gone is not ready."
    [state] = answer.json()["model_version_status"]
    assert state == {"version": "1", "state": "END", "status": {"error_code": "OK", "error_message": ""}}
    explicit_server.write("v1broken", "raise ValueError('no weights')")
    assert explicit_server.load("v1broken").status_code == 400
    for answer in (server.get("/v1/models/v1broken"), server.post("/v1/models/v1broken:predict", json={})):
        assert "no weights" in answer.text
        assert answer.status_code in (404, 503)


def test_metadata(server: RunningServer) -> None:
    document = server.get("/v1/models/two/metadata").json()
    assert document["model_spec"] == {"name": "two", "signature_name": "", "version": "1"}
    [(name, signature)] = document["metadata"]["signature_def"]["signature_def"].items()
    assert (name, signature["method_name"]) == ("serving_default", "tensorflow/serving/predict")
    assert signature["inputs"]["A"] == {
        "dtype": "DT_INT32",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
            "unknown_rank": False,
        },
        "name": "A:0",
    }
    assert signature["outputs"].keys() == {"X", "Y"}


def test_what_only_one_of_them_does(server: RunningServer, tf_server: RunningServer) -> None:
    more = {"inputs": {"A": [[1, 2]], "B": [[3, 4]], "C": [1]}, "id": 7}
    assert predict(tf_server, "two", more)["outputs"]["X"] == [[4, 6]]
    refused = server.post("/v1/models/two:predict", json=more)
    assert (refused.status_code, "unknown member 'id'" in error_of(refused)) == (400, True)
    malformed = tf_server.post("/v1/models", json={})
    assert (malformed.status_code, error_of(malformed)) == (400, "Malformed request: POST /v1/models")
    assert server.post("/v1/models/bat", json={}).status_code == 405
    assert server.get("/v1/nosuch").status_code == 404
    for place in ("bat", "bat/versions/1", "bat/labels/stable"):
        unknown = server.post(f"/v1/models/{place}:guess", json={})
        assert (unknown.status_code, "':guess': expected one of :predict" in error_of(unknown)) == (404, True)
    wrong = tf_server.post("/v1/models/nosuch:predict", json={"instances": [1]})
    assert (wrong.status_code, error_of(wrong)) == (404, "Servable not found for request: Latest(nosuch)")


def test_who_cannot_be_asked_so(explicit_server: ExplicitServer) -> None:
    explicit_server.write("v1stream", DECOUPLED)
    assert explicit_server.load("v1stream").status_code == 200
    answer = explicit_server.server.post("/v1/models/v1stream:predict", json={"instances": [[1]]})
    assert (answer.status_code, "generate_stream" in error_of(answer)) == (501, True)
    for verb, text in (("explain", "has no explainer"), ("classify", "is decoupled")):
        answer = explicit_server.server.post(f"/v1/models/v1stream:{verb}", json={})
        assert (answer.status_code, text in error_of(answer)) == (501, True)
    answer = explicit_server.server.get("/v1/models/v1stream:predict")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_classify_and_regress(server: RunningServer) -> None:
    """What has labels, and what is one number for each row."""
    body = {"examples": [{"IN": [0.5, 0.25, 2]}, {"IN": [0, 0, 1]}]}
    assert server.post("/v1/models/classes:classify", json=body).json() == {
        "results": [
            [["cat", 0.5], ["dog", 0.25], ["bird", 2.0]],
            [["cat", 0.0], ["dog", 0.0], ["bird", 1.0]],
        ]
    }
    body = {"context": {"B": 1}, "examples": [{"A": 1}, {"A": [2]}]}
    assert server.post("/v1/models/opt:regress", json=body).json() == {"results": [2.0, 3.0]}
    refused = server.post("/v1/models/bat:classify", json={"examples": [{"IN": [1, 2, 3]}]})
    assert (refused.status_code, "no output of it has labels" in error_of(refused)) == (400, True)


def test_compressed_both_ways(server: RunningServer) -> None:
    body = gzip.compress(json.dumps({"instances": [[1, 2, 3]]}).encode())
    headers = {"content-encoding": "gzip", "accept-encoding": "gzip"}
    answer = server.post("/v1/models/bat:predict", content=body, headers=headers)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json() == {"predictions": [[1.0, 2.0, 3.0]]}


@pytest.mark.parametrize("datatype", sorted(EDGE_VALUES.keys() - {"BYTES"}))
def test_numbers_come_back_to_the_bit(server: RunningServer, datatype: str) -> None:
    values = EDGE_VALUES[datatype]
    sent = [each.item() if datatype != "BF16" else float(each) for each in values]
    got = predict(server, f"id_{datatype.lower()}", {"instances": sent})["predictions"]
    assert same(np.array(got, values.dtype), values)


@pytest.mark.skipif(shutil.which("curl") is None, reason="apt-get install curl")
def test_with_curl(server: RunningServer) -> None:
    """As TF Serving's documentation has it: the form's content type, which nobody looks at."""
    data = json.dumps({"instances": [{"b64": base64.b64encode(b"\0\1").decode()}]})
    command = ["curl", "-s", "-d", data, "-X", "POST", f"{server.rest}/v1/models/id_bytes:predict"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == {"predictions": ["\0\1"]}
