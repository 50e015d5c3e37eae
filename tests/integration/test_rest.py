"""The REST protocol over a real socket: encodings, routes, and every error by its status and text.

The identifiers I01 … of the errors are the rows of the catalogue that the table follows; where Triton answers 500 to
malformed JSON, this server answers 400.
"""

import gzip
import json
import math
import zlib
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from tests.conftest import RunningServer
from tests.integration.conftest import MAX_INPUT_BYTES
from tests.integration.support import EDGE_VALUES, error_of, json_tensor, same

HEADER_LENGTH = "Inference-Header-Content-Length"

IN = json_tensor("IN", "FP32", [1, 3], [1, 2, 3])
BINARY_IN = {"name": "IN", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}


def output_of(response: httpx.Response) -> dict[str, Any]:
    """The only output of an answer."""
    assert response.status_code == 200, response.text
    [output] = response.json()["outputs"]
    return dict(output)


def post_text(server: RunningServer, model: str, text: str) -> httpx.Response:
    """An inference request whose body is written out."""
    return server.post(f"/v2/models/{model}/infer", content=text.encode())


def post_binary(
    server: RunningServer, model: str, header: dict[str, Any], data: bytes, length: str | None = None
) -> httpx.Response:
    """An inference request with binary data; `length`: the announced length of the JSON, the true one by default."""
    text = json.dumps(header).encode()
    headers = {HEADER_LENGTH: length or str(len(text))}
    return server.post(f"/v2/models/{model}/infer", content=text + data, headers=headers)


def one_element(datatype: str, text: str) -> str:
    """The body of a request to an identity model with one element."""
    return f'{{"inputs":[{{"name":"IN","datatype":"{datatype}","shape":[1],"data":[{text}]}}]}}'


# --- answers --------------------------------------------------------------------------------------------------


def test_the_form_of_an_answer(server: RunningServer) -> None:
    response = server.infer("two", {
        "id": "42",
        "inputs": [json_tensor("A", "INT32", [1, 2], [5, 7]), json_tensor("B", "INT32", [1, 2], [1, 2])],
    })  # fmt: skip
    assert response.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in response.headers
    assert response.text == (
        '{"id":"42","model_name":"two","model_version":"1","outputs":['
        '{"name":"X","datatype":"INT32","shape":[1,2],"data":[6,9]},'
        '{"name":"Y","datatype":"INT32","shape":[1,2],"data":[4,5]}]}'
    )


@pytest.mark.parametrize("request_id", [{}, {"id": ""}])
def test_no_id_or_an_empty_one_is_not_echoed(server: RunningServer, request_id: dict[str, str]) -> None:
    assert "id" not in server.infer("bat", {**request_id, "inputs": [IN]}).json()


@pytest.mark.parametrize(
    "data",
    [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]], [[[1], 2], [[3, 4, 5]], 6]],
    ids=["flat", "nested", "ragged"],
)
def test_data_may_be_nested_in_any_way_and_comes_back_flat(server: RunningServer, data: Any) -> None:
    output = output_of(server.infer("bat", {"inputs": [json_tensor("IN", "FP32", [2, 3], data)]}))
    assert output == {"name": "OUT", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}


def test_what_nobody_knows_is_ignored_at_every_level(server: RunningServer) -> None:
    body = {
        "model_name": "bat",
        "extra": 1,
        "parameters": {"custom": "x", "number": 1.5, "flag": True},
        "inputs": [{**IN, "extra": {}, "parameters": {"custom": 1}}],
        "outputs": [{"name": "OUT", "extra": 1, "parameters": {"custom": 1}}],
    }
    assert output_of(server.infer("bat", body))["data"] == [1, 2, 3]


def test_an_empty_list_of_outputs_asks_for_all(server: RunningServer) -> None:
    body = {"inputs": [json_tensor(name, "INT32", [1, 2], [1, 1]) for name in "AB"], "outputs": []}
    assert [output["name"] for output in server.infer("two", body).json()["outputs"]] == ["X", "Y"]


@pytest.mark.parametrize("requested", [["Y"], ["Y", "X"]])
def test_outputs_come_in_the_order_of_the_model(server: RunningServer, requested: list[str]) -> None:
    body = {
        "inputs": [json_tensor(name, "INT32", [1, 2], [1, 1]) for name in "AB"],
        "outputs": [{"name": name} for name in requested],
    }
    assert [output["name"] for output in server.infer("two", body).json()["outputs"]] == sorted(requested)


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""]
)
def test_the_content_type_of_a_request_does_not_matter(server: RunningServer, content_type: str) -> None:
    response = server.post(
        "/v2/models/bat/infer", content=json.dumps({"inputs": [IN]}), headers={"Content-Type": content_type}
    )
    assert output_of(response)["data"] == [1, 2, 3]


def test_a_byte_order_mark_is_skipped(server: RunningServer) -> None:
    response = post_text(server, "bat", "\ufeff" + json.dumps({"inputs": [IN]}))
    assert output_of(response)["data"] == [1, 2, 3]


def test_a_chunked_body(server: RunningServer) -> None:
    text = json.dumps({"inputs": [IN]}).encode()
    response = server.post(
        "/v2/models/bat/infer", content=(text[start : start + 7] for start in range(0, len(text), 7))
    )
    assert output_of(response)["data"] == [1, 2, 3]


@pytest.mark.parametrize("name", ["a b", "modèle", "50%"])
@pytest.mark.parametrize("path", ["", "/ready", "/config", "/stats", "/versions/1", "/versions/1/config"])
def test_names_in_paths_are_decoded(server: RunningServer, name: str, path: str) -> None:
    response = server.get(f"/v2/models/{quote(name)}{path}")
    assert response.status_code == 200
    assert name in response.text


@pytest.mark.parametrize("name", ["a b", "modèle", "50%"])
@pytest.mark.parametrize("version", ["", "/versions/1", "/versions/01"])
def test_infer_with_an_escaped_name(server: RunningServer, name: str, version: str) -> None:
    body = {"inputs": [json_tensor("IN", "INT32", [2], [1, 2])]}
    response = server.post(f"/v2/models/{quote(name)}{version}/infer", json=body)
    assert output_of(response)["data"] == [1, 2]
    assert response.json()["model_name"] == name


# --- numbers in JSON ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("datatype", "sent", "got"),
    [
        ("FP32", "0.1", "0.1"),
        ("FP32", "1", "1.0"),
        ("FP32", "16777217", "16777216.0"),
        ("FP32", "-0.0", "-0.0"),
        ("FP32", "1e39", "Infinity"),
        ("FP32", "1e-60", "0.0"),
        ("FP64", "1e308", "1e308"),
        ("FP64", "5e-324", "5e-324"),
        ("FP32", "NaN", "NaN"),
        ("FP32", "Infinity", "Infinity"),
        ("FP64", "-Infinity", "-Infinity"),
        ("INT64", "-9223372036854775808", "-9223372036854775808"),
        ("UINT64", "18446744073709551615", "18446744073709551615"),
        ("BOOL", "true", "true"),
        ("BYTES", r'"\u0000\u00e9\ud83d\ude00"', '"\\u0000é\U0001f600"'),
        ("BYTES", '""', '""'),
    ],
)
def test_how_values_are_read_and_written(server: RunningServer, datatype: str, sent: str, got: str) -> None:
    response = post_text(server, f"id_{datatype.lower()}", one_element(datatype, sent))
    assert response.status_code == 200, response.text
    written = response.text.partition('"data":[')[2].removesuffix("]}]}")
    if datatype in ("FP32", "FP64") and got not in ("NaN", "Infinity", "-Infinity"):
        # JSON has several ways to write one number: what counts is what is read back.
        as_read = np.float32 if datatype == "FP32" else np.float64
        assert same(np.array(float(written), as_read), np.array(float(got), as_read))
    else:
        assert written == got


def test_one_nan_among_many_values(server: RunningServer) -> None:
    response = post_text(server, "id_fp32", one_element("FP32", "1.5, NaN, -Infinity").replace("[1]", "[3]"))
    first, second, third = output_of(response)["data"]
    assert (first, math.isnan(second), third) == (1.5, True, -math.inf)


@pytest.mark.parametrize(
    ("datatype", "text", "problem"),
    [
        ("FP32", "true", "non-number as double"),
        ("FP64", '"1"', "non-number as double"),
        ("FP32", "null", "non-number as double"),
        ("FP32", '{"a":1}', "non-number as double"),
        ("INT32", "1.0", "non-signed-integer as signed-integer"),
        ("INT8", "true", "non-signed-integer as signed-integer"),
        ("INT64", '"1"', "non-signed-integer as signed-integer"),
        ("UINT8", "1.5", "non-unsigned-integer as unsigned-integer"),
        ("UINT64", "18446744073709551616", "unsigned-integer"),
        ("BOOL", "1", "non-boolean as boolean"),
        ("BOOL", '"true"', "non-boolean as boolean"),
        ("BYTES", "1", "non-string as string"),
        ("BYTES", "null", "non-string as string"),
    ],
)
def test_elements_of_the_wrong_type(server: RunningServer, datatype: str, text: str, problem: str) -> None:
    response = post_text(server, f"id_{datatype.lower()}", one_element(datatype, text))
    assert response.status_code == 400
    assert problem in error_of(response)


@pytest.mark.parametrize(
    ("datatype", "text"),
    [
        (name, str(number))
        for name, limits in (
            (name, np.iinfo(name.lower())) for name in EDGE_VALUES if name.strip("U0123456789") == "INT"
        )
        for number in (limits.min - 1, limits.max + 1)
    ],
)
def test_integers_out_of_range(server: RunningServer, datatype: str, text: str) -> None:
    response = post_text(server, f"id_{datatype.lower()}", one_element(datatype, text))
    assert response.status_code == 400
    assert error_of(response).startswith("Unable to parse 'data': ")


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_that_is_too_big_for_a_double(server: RunningServer, datatype: str, digits: int) -> None:
    response = post_text(server, f"id_{datatype.lower()}", one_element(datatype, "9" * digits))
    assert response.status_code == 400
    assert "too big" in error_of(response)


@pytest.mark.parametrize(
    "text",
    [
        one_element("BYTES", r'"\ud800"'),
        one_element("BYTES", '"x"').replace('{"inputs"', r'{"id":"\udfff","inputs"'),
        one_element("BYTES", '"x"').replace('"IN"', r'"\ud800"'),
    ],
    ids=["data", "id", "name"],
)
def test_half_a_surrogate_pair(server: RunningServer, text: str) -> None:
    response = post_text(server, "id_bytes", text)
    assert response.status_code == 400
    assert "surrogate" in error_of(response)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_is_not_taken_in_json(server: RunningServer, datatype: str) -> None:
    response = post_text(server, f"id_{datatype.lower()}", one_element(datatype, "1"))
    assert response.status_code == 400
    assert error_of(response) == (
        f"receiving {datatype} data via JSON is not supported. Please use the binary data format for input IN"
    )


def test_an_output_that_is_not_utf8_must_be_asked_for_as_bytes(server: RunningServer) -> None:
    header = {
        "inputs": [{"name": "IN", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}]
    }
    response = post_binary(server, "id_bytes", header, b"\x01\0\0\0\xff")
    assert response.status_code == 400
    assert "not UTF-8" in error_of(response)
    assert "binary data" in error_of(response)


# --- binary data ----------------------------------------------------------------------------------------------


def read_binary(response: httpx.Response) -> tuple[dict[str, Any], bytes]:
    """The JSON of a binary answer, and what follows it."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers[HEADER_LENGTH])
    return json.loads(response.content[:length]), response.content[length:]


@pytest.mark.parametrize("datatype", [name for name in EDGE_VALUES if name != "BYTES"])
def test_raw_bytes_both_ways(server: RunningServer, datatype: str) -> None:
    sent = EDGE_VALUES[datatype]
    header = {
        "parameters": {"binary_data_output": True},
        "inputs": [{
            "name": "IN", "datatype": datatype, "shape": list(sent.shape),
            "parameters": {"binary_data_size": sent.nbytes},
        }],
    }  # fmt: skip
    answer, data = read_binary(post_binary(server, f"id_{datatype.lower()}", header, sent.tobytes()))
    assert answer["outputs"] == [{
        "name": "OUT", "datatype": datatype, "shape": list(sent.shape),
        "parameters": {"binary_data_size": sent.nbytes},
    }]  # fmt: skip
    assert data == sent.tobytes()


@pytest.mark.parametrize(
    ("request_parameters", "outputs", "is_binary"),
    [
        ({}, None, False),
        ({"binary_data_output": True}, None, True),
        ({"binary_data_output": True}, [{"name": "OUT"}], False),
        ({"binary_data_output": False}, [{"name": "OUT", "parameters": {"binary_data": True}}], True),
        ({"binary_data_output": True}, [{"name": "OUT", "parameters": {"binary_data": False}}], False),
    ],
)
def test_who_gets_binary_outputs(
    server: RunningServer, request_parameters: dict[str, bool], outputs: Any, is_binary: bool
) -> None:
    body: dict[str, Any] = {"parameters": request_parameters, "inputs": [IN]}
    if outputs is not None:
        body["outputs"] = outputs
    response = server.infer("bat", body)
    if is_binary:
        assert read_binary(response)[1] == np.array([1, 2, 3], np.float32).tobytes()
    else:
        assert output_of(response)["data"] == [1, 2, 3]


def test_both_encodings_in_one_request_and_one_answer(server: RunningServer) -> None:
    header = {
        "inputs": [
            json_tensor("A", "INT32", [1, 2], [5, 7]),
            {"name": "B", "datatype": "INT32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
        ],
        "outputs": [{"name": "X"}, {"name": "Y", "parameters": {"binary_data": True}}],
    }
    answer, data = read_binary(post_binary(server, "two", header, np.array([1, 2], np.int32).tobytes()))
    assert answer["outputs"][0]["data"] == [6, 9]
    assert np.frombuffer(data, np.int32).tolist() == [4, 5]


def test_a_header_length_without_binary_data(server: RunningServer) -> None:
    assert output_of(post_binary(server, "bat", {"inputs": [IN]}, b""))["data"] == [1, 2, 3]


@pytest.mark.parametrize("binary", [True, False])
def test_tensors_without_elements(server: RunningServer, binary: bool) -> None:
    tensor = {"name": "IN", "datatype": "FP32", "shape": [0]}
    tensor |= {"parameters": {"binary_data_size": 0}} if binary else {"data": []}
    body = {"parameters": {"binary_data_output": binary}, "inputs": [tensor]}
    response = server.infer("id_fp32", body)
    # Even where it was asked for as binary: there are no bytes to follow the JSON.
    assert response.headers["content-type"] == "application/json"
    assert HEADER_LENGTH not in response.headers
    expected = {"parameters": {"binary_data_size": 0}} if binary else {"data": []}
    assert output_of(response) == {"name": "OUT", "datatype": "FP32", "shape": [0], **expected}


def test_a_large_tensor_both_ways(server: RunningServer) -> None:
    sent = np.random.default_rng(3).random(2_500_000, dtype=np.float32)
    header = {
        "parameters": {"binary_data_output": True},
        "inputs": [{
            "name": "IN", "datatype": "FP32", "shape": [sent.size], "parameters": {"binary_data_size": sent.nbytes},
        }],
    }  # fmt: skip
    _, data = read_binary(post_binary(server, "id_fp32", header, sent.tobytes()))
    assert same(np.frombuffer(data, np.float32), sent)


# --- errors ---------------------------------------------------------------------------------------------------

NO_ID = "[request id: <id_unknown>] "
SOURCES = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
    "'shared_memory_region' in 'parameters'. "
)
BATCH_NOTE = (
    " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each "
    "input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting "
    "max_batch_size to zero. See the model configuration docs for more info on max_batch_size."
)


def inputs(*tensors: Any, **members: Any) -> dict[str, Any]:
    """A request."""
    return {"inputs": list(tensors), **members}


def without(member: str) -> dict[str, Any]:
    """The good input with one member less."""
    return {name: value for name, value in IN.items() if name != member}


A, B = (json_tensor(name, "INT32", [1, 2], [1, 2]) for name in "AB")

# Identifier, model, body, and the whole text of the error.
EXACT: list[tuple[str, str, Any, str]] = [
    ("I01-model", "nosuch", inputs(IN), "Request for unknown model: 'nosuch' is not found"),
    ("I01-version", "bat/versions/9", inputs(IN), "Request for unknown model: 'bat' version 9 is not found"),
    ("I01-version-0", "bat/versions/0", inputs(IN), "Request for unknown model: 'bat' version 0 is not found"),
    ("I01-no-model-with-version", "nosuch/versions/1", inputs(IN), "Request for unknown model: 'nosuch' is not found"),
    ("I05-object", "bat", {}, "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"),
    ("I05-array", "bat", [], "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"),
    ("I05-string", "bat", "x", "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"),
    ("I06", "bat", {"inputs": {}}, "Unable to parse 'inputs': attempt to access JSON non-array as array"),
    ("I06-null", "bat", {"inputs": None}, "Unable to parse 'inputs': attempt to access JSON non-array as array"),
    ("I08", "two", inputs(A), f"{NO_ID}expected 2 inputs but got 1 inputs for model 'two'. Got input(s) ['A'], but "
     "missing required input(s) ['B']. Please provide all required input(s)."),
    ("I08-id", "two", inputs(A, id="7"), "[request id: 7] expected 2 inputs but got 1 inputs for model 'two'. Got "
     "input(s) ['A'], but missing required input(s) ['B']. Please provide all required input(s)."),
    ("I08-none", "bat", inputs(), f"{NO_ID}expected 1 inputs but got 0 inputs for model 'bat'. Got input(s) [], but "
     "missing required input(s) ['IN']. Please provide all required input(s)."),
    ("I09", "opt", inputs(), f"{NO_ID}expected number of inputs between 1 and 2 but got 0 inputs for model 'opt'. Got "
     "input(s) [], but missing required input(s) ['A']. Please provide all required input(s)."),
    ("I11", "bat", inputs({**IN, "name": "ZZ"}), "unexpected inference input 'ZZ' for model 'bat'"),
    ("I12", "opt", inputs(json_tensor("B", "FP32", [1, 1], [1])), f"{NO_ID}expected number of inputs between 1 and 2 "
     "but got 1 inputs for model 'opt'. Got input(s) ['B'], but missing required input(s) ['A']. Please provide all "
     "required input(s)."),
    ("I13", "bat", inputs(without("data")), f"{SOURCES}But no field is set"),
    ("I13-not-an-object", "bat", inputs(7), f"{SOURCES}But no field is set"),
    ("I14", "bat", inputs({**IN, "parameters": {"binary_data_size": 12}}), f"{SOURCES}But set 'data' 'binary_data_size'"),
    ("I15-name", "bat", inputs(without("name")),
     "Unable to parse 'name': attempt to access non-existing object member 'name'"),
    ("I15-datatype", "bat", inputs(without("datatype")),
     "Unable to parse 'datatype': attempt to access non-existing object member 'datatype'"),
    ("I15-shape", "bat", inputs(without("shape")),
     "Unable to parse 'shape': attempt to access non-existing object member 'shape'"),
    ("I16-name", "bat", inputs({**IN, "name": 1}), "Unable to parse 'name': attempt to access JSON non-string as string"),
    ("I16-datatype", "bat", inputs({**IN, "datatype": None}),
     "Unable to parse 'datatype': attempt to access JSON non-string as string"),
    ("I17", "bat", inputs(IN, id=1), "Unable to parse 'id': attempt to access JSON non-string as string"),
    ("I17-null", "bat", inputs(IN, id=None), "Unable to parse 'id': attempt to access JSON non-string as string"),
    ("I19", "bat", inputs({**IN, "datatype": "INT32"}),
     f"{NO_ID}inference input 'IN' data-type is 'INT32', but model 'bat' expects 'FP32'"),
    ("I20", "bat", inputs({**IN, "shape": 3}), "Unable to parse 'shape': attempt to access JSON non-array as array"),
    *((f"I21-{size}", "bat", inputs({**IN, "shape": [size, 3]}),
       "Unable to parse 'shape': attempt to access JSON non-unsigned-integer as unsigned-integer")
      for size in (1.0, -1, "1", True, None)),
    ("I22-dim", "bat", inputs(json_tensor("IN", "FP32", [1, 4], [1, 2, 3, 4])), f"{NO_ID}unexpected shape for input "
     f"'IN' for model 'bat'. Expected [-1,3], got [1,4].{BATCH_NOTE}"),
    ("I22-rank", "bat", inputs(json_tensor("IN", "FP32", [3], [1, 2, 3])), f"{NO_ID}unexpected shape for input 'IN' "
     f"for model 'bat'. Expected [-1,3], got [3].{BATCH_NOTE}"),
    ("I23", "id_fp32", inputs(json_tensor("IN", "FP32", [2, 1], [1, 2])), f"{NO_ID}unexpected shape for input 'IN' for "
     "model 'id_fp32'. Expected [-1], got [2,1]. "),
    ("I24", "bat", inputs(json_tensor("IN", "FP32", [5, 3], [0] * 15)),
     f"{NO_ID}inference request batch-size must be <= 4 for 'bat'"),
    ("I25", "bat", inputs(json_tensor("IN", "FP32", [], [1])),
     f"{NO_ID}input 'IN' has no shape but model requires batch dimension for 'bat'"),
    ("I26", "two", inputs(A, json_tensor("B", "INT32", [2, 2], [1, 2, 3, 4])),
     f"{NO_ID}input 'B' batch size does not match other inputs for 'two'"),
    ("I34", "bat", inputs(IN, IN), f"{NO_ID}input 'IN' already exists in request"),
    ("I35", "two", inputs(A, B, outputs=[{"name": "Q"}]), "unexpected inference output 'Q' for model 'two'"),
    ("I36", "two", inputs(A, B, outputs=[{"name": "Y"}] * 2), f"{NO_ID}output 'Y' already exists in request"),
    ("I37-null", "bat", inputs(IN, outputs=None),
     "Unable to parse 'outputs': attempt to access JSON non-array as array"),
    ("I37-object", "bat", inputs(IN, outputs={}),
     "Unable to parse 'outputs': attempt to access JSON non-array as array"),
    ("I37-no-name", "bat", inputs(IN, outputs=[{}]),
     "Unable to parse 'name': attempt to access non-existing object member 'name'"),
    *((f"I41-{size}", "bat", inputs({**without("data"), "parameters": {"binary_data_size": size}}),
       "Unable to parse 'binary_data_size': attempt to access JSON non-unsigned-integer as unsigned-integer")
      for size in ("12", -1, 12.0)),
    ("I42-output", "bat", inputs(IN, outputs=[{"name": "OUT", "parameters": {"binary_data": 1}}]),
     "Unable to parse 'binary_data': attempt to access JSON non-boolean as boolean"),
    ("I42-request", "bat", inputs(IN, parameters={"binary_data_output": 1}),
     "Unable to parse 'binary_data_output': attempt to access JSON non-boolean as boolean"),
    ("I43", "id_bytes", inputs(json_tensor("IN", "BYTES", [3], ["a", "b"])),
     f"{NO_ID}expected 3 string elements for inference input 'IN' for model 'id_bytes', got 2"),
    ("I44", "id_bytes", inputs(json_tensor("IN", "BYTES", [2], ["a", "b", "c"])),
     f"{NO_ID}unexpected number of string elements 3 for inference input 'IN' for model 'id_bytes', expecting 2"),
    ("parameters-null", "bat", inputs(IN, parameters=None),
     "failed to get request params.: attempt to get members for non-object"),
    ("parameters-array", "bat", inputs(IN, parameters=[]),
     "failed to get request params.: attempt to get members for non-object"),
    ("parameter-list", "bat", inputs(IN, parameters={"a": []}),
     "parameter 'a' has invalid type. It should be either 'int', 'bool', or 'string'."),
    ("parameter-reserved", "bat", inputs(IN, parameters={"triton_x": 1}),
     "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified."),
    ("class-of-bool", "classes", inputs(IN, outputs=[{"name": "FLAGS", "parameters": {"classification": 1}}]),
     "class result not available for output due to unsupported type 'BOOL'"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "body", "text"), [row[1:] for row in EXACT], ids=[row[0] for row in EXACT])
def test_an_error_by_its_text(server: RunningServer, model: str, body: Any, text: str) -> None:
    response = server.infer(model, body)
    assert (response.status_code, error_of(response)) == (
        404 if text.startswith("Request for") else 400,
        text,
    )


# Texts that say more than Triton's: what they begin with.
BEGINNING: list[tuple[str, str, Any, str]] = [
    *((f"I18-{name}", "bat", inputs({**IN, "datatype": name}), "invalid datatype for input IN")
      for name in ("FLOAT", "fp32", "STRING", "")),
    ("I28-few", "bat", inputs({**IN, "data": [1, 2]}), "Unable to parse 'data': Shape does not match true shape"),
    ("I28-many", "bat", inputs({**IN, "data": [1, 2, 3, 4]}), "Unable to parse 'data': Shape does not match true shape"),
    ("I28-empty", "bat", inputs({**IN, "shape": [0, 3]}), "Unable to parse 'data': Shape does not match true shape"),
    ("I27", "bat", inputs(json_tensor("IN", "FP32", [0, 3], [])), f"{NO_ID}inference request batch-size must be >= 1"),
    ("I29", "id_fp32", inputs(json_tensor("IN", "FP32", [2**62, 2**62], [1])), "invalid shape for input 'IN': shape"),
    # Beyond 64 bits, a JSON parser takes an integer for a float.
    ("I29-huge", "id_fp32", inputs(json_tensor("IN", "FP32", [10**30], [1])), "Unable to parse 'shape': "),
    ("I29-zero", "id_fp32", inputs(json_tensor("IN", "FP32", [2**62, 2**62, 0], [])), ""),
    ("I31", "id_bytes", inputs(json_tensor("IN", "BYTES", [1], [None])),
     "Unable to parse JSON bytes array: attempt to access JSON non-string as string"),
    ("I32", "bat", inputs({**IN, "data": "123"}), "Unable to parse 'data': attempt to access JSON non-array as array"),
    ("I32-null", "bat", inputs({**IN, "data": None}), "Unable to parse 'data': attempt to access JSON non-array as array"),
    ("I32-object", "bat", inputs({**IN, "data": {}}), "Unable to parse 'data': attempt to access JSON non-array as array"),
    ("shared-memory", "bat", inputs({**without("data"), "parameters": {"shared_memory_region": "r"}}),
     "shared memory regions are not supported"),
    ("classification", "classes", inputs(IN, outputs=[{"name": "SCORES", "parameters": {"classification": -1}}]), "Unable to"),
    ("I10", "bat", inputs(IN, {**IN, "name": "ZZ"}), f"{NO_ID}expected 1 inputs but got 2 inputs for model 'bat'."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "body", "text"), [row[1:] for row in BEGINNING], ids=[row[0] for row in BEGINNING]
)
def test_an_error_by_the_beginning_of_its_text(
    server: RunningServer, model: str, body: Any, text: str
) -> None:
    response = server.infer(model, body)
    assert response.status_code == 400
    assert error_of(response).startswith(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"inputs":',
        '{"inputs":[]} x',
        '{"inputs":[]}{}',
        "{'inputs':[]}",
        '{"inputs":[],}',
        '{"inputs":[/* none */]}',
        "nonsense",
        '{"inputs":["\\x"]}',
        '{"inputs":["a]}',
        "\x00",
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
    ids=lambda text: text[:20],
)
def test_malformed_json(server: RunningServer, text: str) -> None:
    response = post_text(server, "bat", text)
    assert response.status_code == 400
    assert error_of(response).startswith("failed to parse the request JSON buffer: ")


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_an_empty_body(server: RunningServer, body: bytes) -> None:
    response = server.post("/v2/models/bat/infer", content=body)
    assert response.status_code == 400
    assert "empty" in error_of(response)


def test_a_body_that_is_not_utf8(server: RunningServer) -> None:
    body = (
        json.dumps({"inputs": [json_tensor("IN", "BYTES", [1], ["x"])]}).encode().replace(b'"x"', b'"\xff"')
    )
    response = server.post("/v2/models/id_bytes/infer", content=body)
    assert response.status_code == 400
    assert "UTF-8" in error_of(response)


def bytes_in(size: int, elements: int = 1) -> dict[str, Any]:
    """A binary BYTES input."""
    return {"name": "IN", "datatype": "BYTES", "shape": [elements], "parameters": {"binary_data_size": size}}


BINARY: list[tuple[str, str, dict[str, Any], bytes, str]] = [
    ("I38", "bat", {**BINARY_IN, "parameters": {"binary_data_size": 8}}, b"\0" * 8,
     f"{NO_ID}input byte size mismatch for input 'IN' for model 'bat'. Expected 12, got 8"),
    ("I39", "bat", BINARY_IN, b"\0" * 8, "unexpected size for input 'IN', expecting 4 additional bytes for model 'bat'"),
    ("I39-none", "bat", BINARY_IN, b"", "unexpected size for input 'IN', expecting 12 additional bytes for model 'bat'"),
    ("I40", "bat", BINARY_IN, b"\0" * 13, "unexpected additional input data for model 'bat'"),
    ("I43", "id_bytes", bytes_in(5, 3), b"\1\0\0\0a",
     f"{NO_ID}expected 3 string elements for inference input 'IN' for model 'id_bytes', got 1"),
    ("I44", "id_bytes", bytes_in(10), b"\1\0\0\0a" * 2,
     f"{NO_ID}unexpected number of string elements 2 for inference input 'IN' for model 'id_bytes', expecting 1"),
    ("I45", "id_bytes", bytes_in(7, 2), b"\1\0\0\0a\1\0",
     f"{NO_ID}incomplete string length indicator for inference input 'IN' for model 'id_bytes', expecting 4 bytes but only "
     "2 bytes available. Please make sure the string length indicator is in one buffer."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "tensor", "data", "text"), [row[1:] for row in BINARY], ids=[row[0] for row in BINARY]
)
def test_binary_data_of_the_wrong_size(
    server: RunningServer, model: str, tensor: dict[str, Any], data: bytes, text: str
) -> None:
    response = post_binary(server, model, {"inputs": [tensor]}, data)
    assert (response.status_code, error_of(response)) == (400, text)


def test_the_last_string_is_cut_off(server: RunningServer) -> None:
    response = post_binary(server, "id_bytes", {"inputs": [bytes_in(4)]}, b"\1\0\0\0")
    assert response.status_code == 400
    assert error_of(response).endswith(
        "incomplete string data for inference input 'IN', expecting string of length 1 but only 0 bytes available"
    )


@pytest.mark.parametrize(
    ("length", "text"),
    [
        ("9999", "inference header size should be in range (0, {size}), got: 9999"),
        ("-1", "inference header size should be in range (0, {size}), got: -1"),
        ("abc", "Unable to parse Inference-Header-Content-Length, got: abc"),
        ("20", "failed to parse the request JSON buffer: "),
    ],
)
def test_a_wrong_header_length(server: RunningServer, length: str, text: str) -> None:
    header = {"inputs": [BINARY_IN]}
    response = post_binary(server, "bat", header, b"\0" * 12, length)
    assert response.status_code == 400
    assert error_of(response).startswith(text.format(size=len(json.dumps(header)) + 12))


def test_binary_data_without_a_header_length(server: RunningServer) -> None:
    response = server.infer("bat", {"inputs": [BINARY_IN]})
    assert response.status_code == 400
    assert (
        error_of(response) == "unexpected size for input 'IN', expecting 12 additional bytes for model 'bat'"
    )


# --- compression ----------------------------------------------------------------------------------------------

COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_compressed_request(server: RunningServer, encoding: str) -> None:
    text = json.dumps({"inputs": [BINARY_IN], "parameters": {"binary_data_output": True}}).encode()
    data = np.array([1, 2, 3], np.float32).tobytes()
    # The length of the header counts bytes of the plain body.
    headers = {"Content-Encoding": encoding, HEADER_LENGTH: str(len(text))}
    response = server.post("/v2/models/bat/infer", content=COMPRESS[encoding](text + data), headers=headers)
    assert read_binary(response)[1] == data


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip", "deflate"),
        ("gzip;q=0.5, deflate", "deflate"),
        ("identity, gzip", None),
        ("gzip;q=0", None),
        ("br, *", None),
        ("GZIP", None),
        ("", None),
    ],
)
def test_the_encoding_of_an_answer(server: RunningServer, accepted: str, encoding: str | None) -> None:
    response = server.post(
        "/v2/models/bat/infer", json={"inputs": [IN]}, headers={"Accept-Encoding": accepted}
    )
    assert response.headers.get("content-encoding") == encoding
    assert output_of(response)["data"] == [1, 2, 3]


def test_only_answers_of_models_are_compressed(server: RunningServer) -> None:
    headers = {"Accept-Encoding": "gzip"}
    assert (
        "content-encoding" not in server.client.get(f"{server.rest}/v2/models/bat", headers=headers).headers
    )
    error = server.post("/v2/models/bat/infer", json={}, headers=headers)
    assert error.status_code == 400
    assert "content-encoding" not in error.headers


@pytest.mark.parametrize("encoding", ["br", "GZIP", "gzip, deflate"])
def test_an_unknown_compression(server: RunningServer, encoding: str) -> None:
    response = server.post("/v2/models/bat/infer", content=b"x", headers={"Content-Encoding": encoding})
    assert (response.status_code, error_of(response)) == (501, "Unsupported compression type")


@pytest.mark.parametrize(
    "content",
    [b"", b"x", gzip.compress(b"{}")[:-5], gzip.compress(b"{}") + b"x"],
    ids=["empty", "garbage", "cut-off", "surplus"],
)
def test_damaged_compressed_data(server: RunningServer, content: bytes) -> None:
    response = server.post("/v2/models/bat/infer", content=content, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 400
    assert error_of(response)


def test_a_small_body_that_decompresses_beyond_the_limit(server: RunningServer) -> None:
    bomb = gzip.compress(padded(MAX_INPUT_BYTES + 1))
    response = server.post("/v2/models/bat/infer", content=bomb, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 413
    assert f"the maximum allowed value of {MAX_INPUT_BYTES} bytes" in error_of(response)


# --- the limit of a body --------------------------------------------------------------------------------------


def padded(size: int) -> bytes:
    """A good request of exactly `size` bytes."""
    return json.dumps({"inputs": [IN]}).encode().ljust(size)


def test_a_body_of_exactly_the_limit(server: RunningServer) -> None:
    response = server.post("/v2/models/bat/infer", content=padded(MAX_INPUT_BYTES))
    assert output_of(response)["data"] == [1, 2, 3]


@pytest.mark.parametrize("path", ["models/bat/infer", "repository/index", "repository/models/bat/load"])
@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_over_the_limit(server: RunningServer, path: str, chunked: bool) -> None:
    body = padded(MAX_INPUT_BYTES + 1)
    pieces = (body[start : start + 2**20] for start in range(0, len(body), 2**20))
    response = server.post(f"/v2/{path}", content=pieces if chunked else body)
    assert response.status_code == 413
    assert f"exceeds the maximum allowed input size of {MAX_INPUT_BYTES} bytes" in error_of(response)
    assert "--http-max-input-size" in error_of(response)
    assert server.infer("bat", {"inputs": [IN]}).status_code == 200


# --- routes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"live": True, "ready": True}),
        ("/v2/models/bat/ready", {"name": "bat", "ready": True}),
        ("/v2/models/bat/versions/1/ready", {"name": "bat", "ready": True}),
        ("/v2/models/bat?x=1", {
            "name": "bat", "versions": ["1"], "platform": "python",
            "inputs": [{"name": "IN", "datatype": "FP32", "shape": [-1, 3]}],
            "outputs": [{"name": "OUT", "datatype": "FP32", "shape": [-1, 3]}],
        }),
        ("/v2/models/id_bytes/versions/1", {
            "name": "id_bytes", "versions": ["1"], "platform": "python",
            "inputs": [{"name": "IN", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": "OUT", "datatype": "BYTES", "shape": [-1]}],
        }),
    ],
)  # fmt: skip
def test_health_and_metadata(server: RunningServer, path: str, body: Any) -> None:
    response = server.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert json.dumps(response.json()) == json.dumps(body), "members and their order"


@pytest.mark.parametrize("path", ["nosuch/ready", "bat/versions/9/ready", "nosuch/versions/1/ready"])
def test_a_model_that_is_not_ready(server: RunningServer, path: str) -> None:
    response = server.get(f"/v2/models/{path}")
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    assert response.json()["error"] == "Model version not ready"
    assert response.json()["ready"] is False


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v2/"),
        ("GET", "/v1"),
        ("GET", "/V2"),
        ("GET", "//v2"),
        ("GET", "/v2/health"),
        ("GET", "/v2/health/live/"),
        ("GET", "/v2/models/"),
        ("GET", "/v2/models/bat/"),
        ("GET", "/v2/models/bat/nosuch"),
        ("GET", "/v2/models//ready"),
        ("GET", "/v2/models/bat/versions"),
        ("GET", "/v2/models/bat/versions/abc"),
        ("GET", "/v2/models/bat/versions/-1/ready"),
        ("GET", "/v2/models/bat/versions/1.0/config"),
        ("GET", "/v2/models/bat/versions/²/stats"),
        ("POST", "/v2/models/bat/versions/abc/infer"),
        ("POST", "/v2/models/bat/versions/²/infer"),
        ("POST", "/v2/models/bat/versions//infer"),
        ("POST", "/v2/models//infer"),
        ("POST", "/v2/models/a/b/infer"),
        ("POST", "/v2/models/a%2Fb/infer"),
        ("POST", "/v2/repository"),
        ("POST", "/v2/repository/models//load"),
        ("GET", "/metrics"),
    ],
)
def test_there_is_no_such_route(server: RunningServer, method: str, path: str) -> None:
    response = server.client.request(method, server.rest + path)
    assert (response.status_code, error_of(response)) == (404, "Not Found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2"),
        ("OPTIONS", "/v2"),
        ("POST", "/v2/health/live"),
        ("DELETE", "/v2/models/bat"),
        ("PUT", "/v2/models/bat/config"),
        ("PATCH", "/v2/models/bat/stats"),
        ("POST", "/v2/models/bat/ready"),
        ("POST", "/v2/models/nosuch/ready"),
        ("GET", "/v2/models/bat/infer"),
        ("PUT", "/v2/models/bat/infer"),
        ("GET", "/v2/models/bat/versions/1/infer"),
        ("GET", "/v2/repository/index"),
        ("GET", "/v2/repository/models/bat/load"),
        ("DELETE", "/v2/repository/models/bat/unload"),
    ],
)
def test_the_method_does_not_fit_the_route(server: RunningServer, method: str, path: str) -> None:
    response = server.client.request(method, server.rest + path)
    assert (response.status_code, error_of(response)) == (405, "Method Not Allowed")


@pytest.mark.parametrize("path", ["/v2", "/v2/models/bat/infer"])
def test_head_is_not_answered_as_get(server: RunningServer, path: str) -> None:
    assert server.client.head(server.rest + path).status_code == 405


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("nosuch", 404, "Request for unknown model: 'nosuch' is not found"),
        ("nosuch/config", 404, "Request for unknown model: 'nosuch' is not found"),
        ("nosuch/versions/1", 404, "Request for unknown model: 'nosuch' is not found"),
        ("bat/versions/9/config", 404, "Request for unknown model: 'bat' version 9 is not found"),
        ("nosuch/stats", 400, "requested model 'nosuch' is not available"),
        ("bat/versions/9/stats", 400, "requested model version is not available for model 'bat'"),
    ],
)
def test_a_route_about_a_model_that_is_not_there(
    server: RunningServer, path: str, status: int, text: str
) -> None:
    response = server.get(f"/v2/models/{path}")
    assert (response.status_code, error_of(response)) == (status, text)


@pytest.mark.parametrize("path", ["", "/config", "/stats"])
def test_a_version_that_is_too_large_for_64_bits(server: RunningServer, path: str) -> None:
    response = server.get(f"/v2/models/bat/versions/99999999999999999999{path}")
    assert response.status_code == 400
    assert path == "/stats" or "version should be an integral value > 0" in error_of(response)


@pytest.mark.parametrize("body", [b"[", b"{]", b"nonsense"])
def test_the_index_with_a_malformed_body(server: RunningServer, body: bytes) -> None:
    response = server.post("/v2/repository/index", content=body)
    assert response.status_code == 400
    assert "JSON" in error_of(response)


def test_the_index_with_a_filter_that_is_no_boolean(server: RunningServer) -> None:
    response = server.post("/v2/repository/index", json={"ready": 1})
    assert (response.status_code, error_of(response)) == (
        400,
        "Invalid value for 'ready': expected a boolean",
    )


@pytest.mark.parametrize("options", [{}, {"json": {}}, {"json": {"ready": True}}])
def test_the_index(server: RunningServer, options: dict[str, Any]) -> None:
    index = server.post("/v2/repository/index", **options).json()
    assert index == sorted(index, key=lambda entry: (entry["name"], entry["version"]))
    assert {"name": "versions", "version": "2", "state": "READY"} in index


def test_the_documentation_names_the_routes(server: RunningServer) -> None:
    assert "swagger" in server.get("/docs").text.lower()
    paths = server.get("/openapi.json").json()["paths"]
    assert {"/v2/models/{model_name}/infer", "/v2/health/ready", "/v2/repository/index"} <= set(paths)
