"""Examples by the names of their features, and the results that they have."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from kserve_v2.config import parse_config
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferResponse
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.slices import Slices, at_once
from kserve_v2.v1.examples import classified, decode_examples, encode_results, regressed
from kserve_v2.v1.flavours import FLAVOURS

MODEL = ModelSignature(
    parse_config(
        """
        name: "m" max_batch_size: 8
        input [ { name: "pixels" data_type: TYPE_FP32 dims: [ 2, 2 ] }, { name: "age" data_type: TYPE_INT64 dims: 1 } ]
        output [ { name: "scores" data_type: TYPE_FP32 dims: 3 }, { name: "price" data_type: TYPE_FP32 dims: [ 1, 1 ] },
                 { name: "ok" data_type: TYPE_BOOL dims: 1 } ]
        """,
        "test",
    )
)


def decode(body: Any) -> dict[str, Any]:
    request = decode_examples(body, "classify", MODEL, "scores", "", FLAVOURS["kserve"])
    assert request.requested_outputs == ("scores",)
    return {name: array.tolist() for name, array in request.inputs.items()}


def test_features_are_flat_and_the_context_is_everybody_s() -> None:
    body = {
        "context": {"age": 7},
        "examples": [{"pixels": [1, 2, 3, 4]}, {"pixels": [[5, 6], [7, 8]], "age": [9]}],
    }
    with pytest.raises(InvalidArgumentError, match="the lists of one level must be equally long"):
        decode(body)
    body["examples"] = [{"pixels": [1, 2, 3, 4]}, {"pixels": [5, 6, 7, 8], "age": 9}]
    assert decode(body) == {"pixels": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], "age": [[7], [9]]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ([], "the body of a request must be a JSON object"),
        ({}, "When method is classify, key 'examples' is expected and was not found"),
        ({"examples": []}, "Expecting 'examples' value to be a list/array"),
        ({"examples": [1], "context": 1}, "Expecting 'context' value to be an object"),
        ({"examples": [1]}, "element: 0 of 'examples' list."),
        ({"examples": [{"age": 1}]}, "keys must be equal to: pixels,age"),
        ({"examples": [{"age": 1}], "instances": []}, "unknown member 'instances'"),
    ],
)
def test_what_is_wrong(body: Any, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        decode(body)
    assert text in raised.value.message


def test_which_output_it_is() -> None:
    assert classified(MODEL, {"scores": ["a"], "price": []}) == "scores"
    assert regressed(MODEL) == "price"
    for labels in ({}, {"scores": ["a"], "price": ["b"]}):
        with pytest.raises(
            InvalidArgumentError, match="Expected classify signature method_name to be tensorflow/serving"
        ):
            classified(MODEL, labels)


def test_rows_of_any_size_are_no_numbers() -> None:
    config = """
    name: "m" max_batch_size: 8 input [ { name: "x" data_type: TYPE_FP32 dims: 1 } ]
    output [ { name: "vectors" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]
    """
    with pytest.raises(InvalidArgumentError, match="no output of it is one number for each row"):
        regressed(ModelSignature(parse_config(config, "test")))


def test_results() -> None:
    scores = np.array([[0.5, 0.25, 0.125], [math.nan, 1, 2]], np.float32)
    price = np.array([[[1.5]], [[math.inf]]], np.float16)
    response = InferResponse("m", "1", "", {"scores": scores, "price": price})
    assert json.loads(encoded(response, "scores", ["null", "b"]))["results"][0] == [
        ["null", 0.5], ["b", 0.25], ["", 0.125],
    ]  # fmt: skip
    assert encoded(response, "scores", ["a", "b", "c", "d"]) == (
        b'{"results":[[["a",0.5],["b",0.25],["c",0.125]],[["a",NaN],["b",1.0],["c",2.0]]]}'
    )
    assert encoded(response, "price", None) == b'{"results":[1.5,Infinity]}'
    empty = InferResponse("m", "1", "", {"price": np.empty((0, 1), np.float32)})
    assert encoded(empty, "price", None) == b'{"results":[]}'


def encoded(response: InferResponse, output: str, labels: list[str] | None) -> bytes:
    return b"".join(at_once(encode_results(response, output, labels)))


@pytest.mark.parametrize("dtype", ["<f4", "<f2", "<i8"])
@pytest.mark.parametrize("labels", [None, ["a", "b"]])
def test_many_results_are_written_in_slices(dtype: str, labels: list[str] | None) -> None:
    rows = np.arange(60_000).reshape(-1, 3).astype(dtype)
    slices = encode_results(InferResponse("m", "1", "", {"x": rows}), "x", labels)
    parts: list[Sequence[bytes]] = []

    def all_of_it() -> Slices[None]:
        parts.append((yield from slices))

    assert sum(1 for _ in all_of_it()) > 2
    expected = [
        [["a", a], ["b", b], ["", c]] if labels else a for a, b, c in json.loads(json.dumps(rows.tolist()))
    ]
    assert json.loads(b"".join(parts[0])) == {"results": expected}
