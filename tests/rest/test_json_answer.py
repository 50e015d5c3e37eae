"""Answers that are put together from texts are the same as those that are encoded as a whole."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kserve_v2.datatypes import BYTES, DATATYPES, FP16, Array
from kserve_v2.messages import InferResponse
from kserve_v2.rest.codec import ALL_JSON, encode_response
from kserve_v2.rest.json_answer import JsonAnswers
from kserve_v2.rest.json_tensor import JSON_DTYPES

NAMES = st.text(max_size=5)


def whole(response: InferResponse) -> bytes:
    encoded = encode_response(response, ALL_JSON, {}, batched=True)
    assert not encoded.binary
    return encoded.header


@st.composite
def responses(draw: st.DrawFn) -> InferResponse:
    outputs: dict[str, Array] = {}
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        dtype = draw(st.sampled_from(sorted(JSON_DTYPES, key=str)))
        outputs[name] = draw(arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=3)))
    return InferResponse(draw(NAMES), draw(st.sampled_from(["", "1", "12"])), draw(NAMES), outputs)


@settings(deadline=None)
@given(st.lists(responses(), min_size=1, max_size=3))
def test_the_text_is_that_of_the_codec(several: list[InferResponse]) -> None:
    answers = JsonAnswers()
    for response in [*several, *several]:
        text = answers.encode(response)
        if text is None:
            assert not response.outputs or b"null" not in whole(response)
        else:
            assert text == whole(response)


def response_of(**fields: Any) -> InferResponse:
    return InferResponse("m", "1", "", **{"outputs": {"Y": np.array([1, 2])}, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"parameters": {"p": 1}},
        {"outputs": {}},
        {"outputs": {"Y": np.array([b"text"], dtype=BYTES.dtype)}},
        {"outputs": {"Y": np.array([1], dtype=FP16.dtype)}},
        {"outputs": {"X": np.array([1]), "Y": np.array([b"text"], dtype=BYTES.dtype)}},
        {"outputs": {"Y": np.array([np.nan])}},
        {"outputs": {"Y": np.array([np.inf], dtype=np.float32)}},
    ],
)
def test_answers_that_are_not_so_simple_are_for_the_codec(fields: dict[str, Any]) -> None:
    answers = JsonAnswers()
    assert answers.encode(response_of(**fields)) is None
    assert answers.encode(response_of(**fields)) is None
    assert answers.encode(response_of()) == whole(response_of())


def test_the_number_of_texts_is_bounded() -> None:
    answers = JsonAnswers()
    for size in range(3000):
        assert answers.encode(response_of(outputs={"Y": np.zeros(size, dtype=np.int8)})) is not None
    assert len(answers._texts) <= 1024


def test_every_datatype_is_either_written_by_orjson_or_not_simple() -> None:
    for datatype in DATATYPES:
        text = JsonAnswers().encode(response_of(outputs={"Y": np.zeros(1, dtype=datatype.dtype)}))
        assert (text is not None) == (datatype.dtype in JSON_DTYPES)
