"""REST over a real socket: chunked bodies, names in paths, numbers in JSON. What is sent and got byte for byte is in
tests/wire.
"""

import json
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from tests.conftest import RunningServer
from tests.integration.rest_requests import IN, one_element, output_of, post_text
from tests.integration.support import EDGE_VALUES, error_of, json_tensor, same


def test_a_chunked_body(server: RunningServer) -> None:
    text = json.dumps({"inputs": [IN]}).encode()
    response = server.post(
        "/v2/models/bat/infer", content=(text[start : start + 7] for start in range(0, len(text), 7))
    )
    assert output_of(response)["data"] == [1, 2, 3]


@pytest.mark.parametrize("name", ["a b", "modèle", "50%", "a%2Fb"])
@pytest.mark.parametrize("path", ["", "/ready", "/config", "/stats", "/versions/1", "/versions/1/config"])
def test_names_in_paths_are_decoded(server: RunningServer, name: str, path: str) -> None:
    response = server.get(f"/v2/models/{quote(name)}{path}")
    assert response.status_code == 200
    assert name in response.text


@pytest.mark.parametrize("name", ["a b", "modèle", "50%", "a%2Fb"])
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
        ("FP32", "3.4028235e38", "3.4028235e38"),
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
    ("document", "hint"),
    [
        ({}, ""),
        ({"text": "hello"}, ""),
        ({"IN": [1]}, " ('IN' is an input: /v2/models/MODEL/generate takes inputs by their names)"),
        ({"instances": [[1]]}, " (/v1/models/MODEL:predict takes instances)"),
        ([], ""),
    ],
    ids=["nothing", "something else", "by name", "of v1", "no object"],
)
def test_what_is_for_another_operation(server: RunningServer, document: Any, hint: str) -> None:
    response = server.post("/v2/models/bat/infer", json=document)
    assert response.status_code == 400
    said = "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"
    assert error_of(response) == f"{said}{hint}"
