"""Answers in JSON and binary. What answers of one shape have in common is encoded once; only the tensors differ.

The bytes are those of `codec.encode_response`, which encodes all other answers.
"""

from typing import Any, NamedTuple

import orjson

from kserve_v2.known_answers import Key, KnownAnswers, Parts
from kserve_v2.messages import InferResponse
from kserve_v2.net.answer_text import JOIN_BYTES
from kserve_v2.rest.codec import EncodedResponse, ResponseFormat, encode_response
from kserve_v2.rest.json_tensor import JSON_DTYPES
from kserve_v2.rest.large_json import is_large
from kserve_v2.tensors.datatypes import BY_DTYPE, BYTES, Array
from kserve_v2.tensors.raw import encode_raw_tensor

# Roughly what a text takes on top of its bytes.
_OVERHEAD_BYTES = 512


class _Output(NamedTuple):
    """The text before an output's data, or if that is `binary`, all of its text."""

    text: bytes
    binary: bool


class AnswerEncoder:
    """Encodes the answers of one server."""

    def __init__(self) -> None:
        self._known: KnownAnswers[tuple[_Output, ...]] = KnownAnswers()

    def encode(self, response: InferResponse, response_format: ResponseFormat) -> EncodedResponse | None:
        """The body of an answer that is like earlier ones; None for another one, and for one that is not so simple:
        with parameters, strings, classification, base64 or shared memory, or numbers in JSON that are not finite.
        """
        outputs, named, default = response.outputs, response_format.named, response_format.default
        key: list[object] = [response.model_name, response.model_version]
        for name, array in outputs.items():
            form = named.get(name, default) if named else default
            if form.classification or form.base64 or form.shared_memory is not None:
                return None
            key += (name, array.dtype.num, array.shape, form.binary)
        if response.parameters:
            return None
        texts = self._known[tuple(key)]
        if texts is None:
            return self._note(tuple(key), response, response_format)
        pieces = [b'{"id":%b,' % orjson.dumps(response.id) if response.id else b"{"]
        binary: list[bytes | memoryview] = []
        for output, array in zip(texts, outputs.values(), strict=True):
            pieces.append(output.text)
            if output.binary:
                if array.size:
                    # What is small is sent in one piece: a copy takes less time than a view.
                    small = array.nbytes <= JOIN_BYTES
                    binary.append(array.tobytes() if small else encode_raw_tensor(array))
                continue
            data = orjson.dumps(array.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)
            # orjson writes null for NaN and the infinities. Numbers have no such letter, nor have true and false.
            if b"n" in data:
                return None
            pieces.append(data)
        pieces.append(b"}]}")
        return EncodedResponse(b"".join(pieces), binary)

    def _note(
        self, key: Key, response: InferResponse, response_format: ResponseFormat
    ) -> EncodedResponse | None:
        """Remember the texts of an answer at its second time, if they make the very bytes that the codec makes."""
        if any(
            not form and is_large(array)
            for form, array in zip(key[5::4], response.outputs.values(), strict=True)
        ):
            # It is written in slices.
            return None
        self._known.note(
            key,
            lambda: _texts(response, response_format),
            lambda: None if (found := self.encode(response, response_format)) is None else _parts(found),
            lambda: _parts(encode_response(response, response_format, {}, batched=False)),
        )
        return self.encode(response, response_format) if key in self._known else None


def _parts(encoded: EncodedResponse) -> Parts:
    return encoded.header, *encoded.binary


def _texts(
    response: InferResponse, response_format: ResponseFormat
) -> tuple[tuple[_Output, ...], int] | None:
    """The texts of an answer, and their size; None for one that is not so simple."""
    model = {"model_name": response.model_name, "model_version": response.model_version}
    before = orjson.dumps(model)[1:-1] + b',"outputs":['
    found: list[_Output] = []
    for name, array in response.outputs.items():
        binary = response_format.named.get(name, response_format.default).binary
        if array.dtype == BYTES.dtype or not (binary or array.dtype in JSON_DTYPES):
            return None
        found.append(_Output(before + _describe(name, array, binary), binary))
        before = b"},"
    return tuple(found), sum(len(output.text) + _OVERHEAD_BYTES for output in found)


def _describe(name: str, array: Array, binary: bool) -> bytes:
    """An output as a JSON object, without its end, up to its data."""
    output: dict[str, Any] = {
        "name": name,
        "datatype": BY_DTYPE[array.dtype].name,
        "shape": array.shape,
    }
    if binary:
        output["parameters"] = {"binary_data_size": array.nbytes}
    return orjson.dumps(output)[:-1] + (b"" if binary else b',"data":')
