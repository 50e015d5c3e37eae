"""The request bodies that lie beside the example models."""

import json

import numpy as np

from examples.sample_request import classified_output, input_tensor, sample_request


def test_a_body_is_a_v2_request() -> None:
    image = input_tensor("image", "FP32", [1, 1, 2, 2], np.array([[0, 0.5], [0.25, 1]], np.float32))
    assert json.loads(sample_request([image], [classified_output("probabilities", 3)])) == {
        "inputs": [
            {"name": "image", "datatype": "FP32", "shape": [1, 1, 2, 2], "data": [0.0, 0.5, 0.25, 1.0]}
        ],
        "outputs": [{"name": "probabilities", "parameters": {"classification": 3}}],
    }


def test_outputs_are_left_out_where_none_is_requested() -> None:
    text = input_tensor("text", "BYTES", [1, 1], ['say "hello"'])
    assert json.loads(sample_request([text])) == {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ['say "hello"']}]
    }


def test_a_line_of_the_body_is_a_row_of_the_tensor() -> None:
    body = sample_request([input_tensor("image", "INT32", [1, 2, 3], range(6))])
    assert body.decode().splitlines()[1:] == ["    0, 1, 2,", "    3, 4, 5]}]}"]
