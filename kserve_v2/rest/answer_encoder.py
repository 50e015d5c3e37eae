"""Answers in JSON and binary. What answers of one shape have in common is encoded once; only the tensors differ.

The bytes are those of `codec.encode_response`, which encodes all other answers.
"""

from typing import Any, NamedTuple

import orjson

from kserve_v2.known_answers import KnownAnswers, Parts
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


class AnswerEncoder(KnownAnswers[ResponseFormat, tuple[_Output, ...]]):
    """Encodes the answers of one server."""

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
        found = self.find(tuple(key), response, response_format)
        return None if found is None else EncodedResponse(bytes(found[0]), found[1:])

    def written(self, common: tuple[_Output, ...], response: InferResponse) -> Parts | None:
        pieces = [b'{"id":%b,' % orjson.dumps(response.id) if response.id else b"{"]
        parts: list[bytes | memoryview] = [b""]
        for output, array in zip(common, response.outputs.values(), strict=True):
            pieces.append(output.text)
            if output.binary:
                if array.size:
                    # What is small is sent in one piece: a copy takes less time than a view.
                    small = array.nbytes <= JOIN_BYTES
                    parts.append(array.tobytes() if small else encode_raw_tensor(array))
                continue
            data = orjson.dumps(array.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)
            # orjson writes null for NaN and the infinities. Numbers have no such letter, nor have true and false.
            if b"n" in data:
                return None
            pieces.append(data)
        pieces.append(b"}]}")
        parts[0] = b"".join(pieces)
        return parts

    def expected(self, response: InferResponse, how: ResponseFormat) -> Parts:
        encoded = encode_response(response, how, {}, batched=False)
        return encoded.header, *encoded.binary

    def common(self, response: InferResponse, how: ResponseFormat) -> tuple[tuple[_Output, ...], int] | None:
        """The texts of an answer, and their size."""
        model = {"model_name": response.model_name, "model_version": response.model_version}
        before = orjson.dumps(model)[1:-1] + b',"outputs":['
        found: list[_Output] = []
        for name, array in response.outputs.items():
            binary = how.named.get(name, how.default).binary
            if array.dtype == BYTES.dtype or not (binary or array.dtype in JSON_DTYPES):
                return None
            if not binary and is_large(array):
                # It is written in slices.
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
