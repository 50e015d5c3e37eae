"""The binary tensor data extension of the REST protocol, over a real socket."""

from typing import Any

import numpy as np
import pytest

from tests.conftest import RunningServer
from tests.integration.rest_requests import HEADER_LENGTH, IN, output_of, post_binary, read_binary
from tests.integration.support import EDGE_VALUES, json_tensor, same


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
