"""The REST protocol over a real socket: the form of requests and answers, numbers in JSON, compression."""

import gzip
import json
import math
import zlib
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from tests.conftest import RunningServer
from tests.integration.conftest import MAX_INPUT_BYTES
from tests.integration.rest_requests import (
    BINARY_IN,
    HEADER_LENGTH,
    IN,
    one_element,
    output_of,
    padded,
    post_binary,
    post_text,
    read_binary,
)
from tests.integration.support import EDGE_VALUES, error_of, json_tensor, same


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
