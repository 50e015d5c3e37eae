"""Answers that are put together from texts are the same as those that are encoded as a whole."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kserve_v2.known_answers import MAX_REMEMBERED_BYTES
from kserve_v2.messages import InferResponse
from kserve_v2.rest import answer_encoder
from kserve_v2.rest.answer_encoder import AnswerEncoder
from kserve_v2.rest.codec import (
    ALL_BINARY,
    ALL_JSON,
    EncodedResponse,
    OutputFormat,
    ResponseFormat,
    encode_response,
)
from kserve_v2.rest.json_tensor import JSON_DTYPES
from kserve_v2.tensors.datatypes import BYTES, DATATYPES, FP16, Array

NAMES = st.text(max_size=5)


def whole(response: InferResponse, response_format: ResponseFormat = ALL_JSON) -> EncodedResponse:
    return encode_response(response, response_format, {}, batched=True)


def raw(encoded: EncodedResponse) -> tuple[bytes, list[bytes]]:
    return encoded.header, [bytes(part) for part in encoded.binary]


@st.composite
def responses(draw: st.DrawFn) -> InferResponse:
    outputs: dict[str, Array] = {}
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        dtype = draw(st.sampled_from(sorted(JSON_DTYPES, key=str)))
        outputs[name] = draw(arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=3)))
    return InferResponse(draw(NAMES), draw(st.sampled_from(["", "1", "12"])), draw(NAMES), outputs)


FORMATS = st.one_of(
    st.sampled_from([ALL_JSON, ALL_BINARY]),
    st.dictionaries(NAMES, st.sampled_from([OutputFormat(), OutputFormat(binary=True)])).map(ResponseFormat),
)


@settings(deadline=None)
@given(st.lists(st.tuples(responses(), FORMATS), min_size=1, max_size=3))
def test_the_bytes_are_those_of_the_codec(several: list[tuple[InferResponse, ResponseFormat]]) -> None:
    answers = AnswerEncoder()
    for response, response_format in several * 3:
        encoded = answers.encode(response, response_format)
        expected = whole(response, response_format)
        if encoded is not None:
            assert raw(encoded) == raw(expected)
    for response, response_format in several:
        finite = all(np.isfinite(array).all() for array in response.outputs.values())
        known = answers.encode(response, response_format) is not None
        assert known or not (response.outputs and finite)


def response_of(**fields: Any) -> InferResponse:
    return InferResponse("m", "1", **{"id": "", "outputs": {"Y": np.array([1, 2])}, **fields})


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
    answers = AnswerEncoder()
    for _ in range(3):
        assert answers.encode(response_of(**fields), ALL_JSON) is None
    assert third(answers, response_of(), ALL_JSON) == whole(response_of())


def third(
    answers: AnswerEncoder, response: InferResponse, response_format: ResponseFormat
) -> EncodedResponse | None:
    """An answer that comes for the third time. The first is for the codec, the second is compared with what it says."""
    assert answers.encode(response, response_format) is None
    encoded = answers.encode(response, response_format)
    if encoded is not None:
        assert raw(encoded) == raw(whole(response, response_format))
    return answers.encode(response, response_format)


def test_a_text_that_is_not_the_codec_s_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_encoder, "_describe", lambda *_: b'{"name":"Z","data":')
    assert third(AnswerEncoder(), response_of(), ALL_JSON) is None


@pytest.mark.parametrize(
    "form",
    [OutputFormat(classification=1), OutputFormat(base64=True), OutputFormat(shared_memory=object())],  # type: ignore[arg-type]
)
def test_outputs_that_are_reduced_or_put_elsewhere_are_for_the_codec(form: OutputFormat) -> None:
    assert third(AnswerEncoder(), response_of(), ResponseFormat({"Y": form})) is None
    assert third(AnswerEncoder(), response_of(), ResponseFormat({"X": form})) == whole(response_of())


def test_strings_in_binary_are_for_the_codec() -> None:
    response = response_of(outputs={"Y": np.array([b"text"], dtype=BYTES.dtype)})
    assert third(AnswerEncoder(), response, ALL_BINARY) is None


def test_what_is_remembered_is_bounded() -> None:
    answers = AnswerEncoder()
    for size in range(MAX_REMEMBERED_BYTES // 512):
        response = response_of(outputs={"Y": np.zeros(size % 100, dtype=np.int8)}, id="")
        response.model_name = f"m{size}"
        for _ in range(2):
            answers.encode(response, ALL_JSON)
    assert 0 < answers._known.nbytes <= MAX_REMEMBERED_BYTES


def test_an_answer_that_is_too_large_to_be_remembered() -> None:
    response = response_of(outputs={f"Y{number}": np.zeros(1, np.int8) for number in range(5000)})
    answers = AnswerEncoder()
    for _ in range(4):
        assert answers.encode(response, ALL_JSON) is None


def test_every_datatype() -> None:
    for datatype in DATATYPES:
        response = response_of(outputs={"Y": np.zeros(1, dtype=datatype.dtype)})
        assert (third(AnswerEncoder(), response, ALL_JSON) is not None) == (datatype.dtype in JSON_DTYPES)
        assert (third(AnswerEncoder(), response, ALL_BINARY) is not None) == (datatype is not BYTES)
