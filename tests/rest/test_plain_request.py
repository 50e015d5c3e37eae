"""What is decoded and checked in one pass is what it would be, decoded member by member and checked then."""

from typing import Any

import orjson
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.messages import InferRequest
from kserve_v2.rest.codec import ALL_JSON, decode_request
from kserve_v2.rest.json_text import parse_json
from kserve_v2.rest.plain_request import decode_plain_request
from kserve_v2.scheduling.signature import ModelSignature

REGIONS = SharedMemoryRegions(enabled=False)


def signature(config: str) -> ModelSignature:
    return ModelSignature(text_format.Parse(f'name: "m" {config}', ModelConfig()))


A = 'input { name: "A" data_type: TYPE_INT8 dims: 2 }'
B = 'input { name: "B" data_type: TYPE_FP32 dims: 1 }'
BATCHED = signature(f"max_batch_size: 2 {A} {B}")
ONE_BY_ONE = signature(f"{A} {B}")
NO_PLAIN_REQUESTS = {
    "variable": signature('input { name: "A" data_type: TYPE_INT8 dims: -1 }'),
    "optional": signature(f'max_batch_size: 2 {A} input {{ name: "B" data_type: TYPE_FP32 dims: 1 optional: true }}'),
    "no inputs": signature(""),
}  # fmt: skip

NUMBERS = st.one_of(st.integers(-130, 130), st.sampled_from([0.5, True, None, "1"]))
SHAPES = st.one_of(
    st.lists(st.integers(-1, 3), max_size=3),
    st.sampled_from([[1, 2], [2], [1, 1], [1], [True, 2], [1.0, 2], 2]),
)
INPUTS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["A", "B", "C", 1]),
        "shape": SHAPES,
        "datatype": st.sampled_from(["INT8", "FP32", "FP16", "BYTES", "X", 1]),
        "data": st.one_of(st.lists(NUMBERS, max_size=4), st.just([[1, 2]]), st.just(1)),
    },
    optional={"parameters": st.just({}), "other": st.just([])},
)
RIGHT = [
    {"name": "A", "shape": [1, 2], "datatype": "INT8", "data": [1, 2]},
    {"name": "B", "shape": [1, 1], "datatype": "FP32", "data": [1]},
]
DOCUMENTS = st.fixed_dictionaries(
    {"inputs": st.one_of(st.lists(INPUTS, max_size=3), st.permutations(RIGHT), st.just({}))},
    optional={"id": st.sampled_from(["", "r1", 5]), "outputs": st.just([])},
)


def in_two_steps(document: dict[str, Any], against: ModelSignature) -> InferRequest:
    """Decoded by the codec, to which a request with parameters is not of the usual form, and checked."""
    body = orjson.dumps({**document, "parameters": {}})
    request, response_format = decode_request(body, None, against, "3", REGIONS)
    assert response_format is ALL_JSON
    assert not request.checked
    request.rows, request.batch_key = against.check(request)
    return request


def tensors(request: InferRequest) -> Any:
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in request.inputs.items()}


@settings(deadline=None, max_examples=1000)
@given(DOCUMENTS, st.sampled_from([BATCHED, ONE_BY_ONE]))
def test_one_pass_finds_what_two_find(document: dict[str, Any], against: ModelSignature) -> None:
    request = decode_plain_request(document, against, "3")
    if request is None:
        return
    expected = in_two_steps(document, against)
    assert tensors(request) == tensors(expected)
    assert (request.rows, request.batch_key) == (expected.rows, expected.batch_key)
    assert (request.model_name, request.model_version, request.id) == ("m", "3", expected.id)
    assert request.checked


@pytest.mark.parametrize("inputs", [RIGHT, RIGHT[::-1]])
@pytest.mark.parametrize("members", [{}, {"id": "r1"}, {"id": ""}])
def test_the_usual_form(inputs: list[dict[str, Any]], members: dict[str, Any]) -> None:
    request = decode_plain_request({"inputs": inputs, **members}, BATCHED, "")
    assert request is not None
    assert (request.rows, request.id) == (1, members.get("id", ""))


@pytest.mark.parametrize("name", NO_PLAIN_REQUESTS)
def test_models_whose_requests_are_decoded_member_by_member(name: str) -> None:
    assert decode_plain_request({"inputs": RIGHT[:1]}, NO_PLAIN_REQUESTS[name], "") is None
    assert decode_plain_request({"inputs": RIGHT}, NO_PLAIN_REQUESTS[name], "") is None
    assert decode_plain_request({"inputs": []}, NO_PLAIN_REQUESTS[name], "") is None


def test_deep_json_is_refused_in_what_is_not_of_the_usual_form() -> None:
    deep = b"[" * 200 + b"]" * 200
    body = b'{"inputs":[{"name":"A","shape":[1,2],"datatype":"INT8","data":%b}]}' % deep
    with pytest.raises(InvalidArgumentError, match="nesting depth"):
        decode_request(body, None, BATCHED, "", REGIONS)
    with pytest.raises(InvalidArgumentError, match="nesting depth"):
        parse_json(body)
