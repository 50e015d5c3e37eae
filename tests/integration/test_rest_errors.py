"""Every error of an inference request over REST, by its status and text.

The identifiers I01 … are the rows of the catalogue of errors that the table follows; where Triton answers 500 to
malformed JSON, this server answers 400.
"""

import json
from typing import Any

import pytest

from tests.conftest import RunningServer
from tests.integration.rest_requests import BINARY_IN, IN, post_binary, post_text
from tests.integration.support import error_of, json_tensor

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


def test_a_blank_body(server: RunningServer) -> None:
    response = server.post("/v2/models/bat/infer", content=b"  \n")
    assert response.status_code == 400
    assert "empty" in error_of(response)


def test_an_empty_body_is_a_raw_request_of_no_bytes(server: RunningServer) -> None:
    response = server.post("/v2/models/bat/infer", content=b"")
    assert response.status_code == 400
    assert error_of(response) == (
        "[request id: <id_unknown>] input byte size mismatch for input 'raw_input' for model 'bat'. "
        "Expected 12, got 0"
    )


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
