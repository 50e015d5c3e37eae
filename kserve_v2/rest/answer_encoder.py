"""Answers in JSON and binary. What answers of one shape have in common is put together once; the rest is tensors.

The same bytes as those of `codec.encode_response`, which has the answers that are not so simple.
"""

from typing import Any, NamedTuple

import orjson

from kserve_v2.datatypes import BY_DTYPE, BYTES, Array
from kserve_v2.messages import InferResponse
from kserve_v2.raw_tensor import encode_raw_tensor
from kserve_v2.rest.codec import EncodedResponse, ResponseFormat
from kserve_v2.rest.json_tensor import JSON_DTYPES

_MAX_REMEMBERED = 1024


class _Output(NamedTuple):
    """The text before an output's data, or if that is `binary`, all of its text."""

    text: bytes
    binary: bool


class AnswerEncoder:
    """Encodes the answers of one server."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[_Output, ...]] = {}

    def encode(self, response: InferResponse, response_format: ResponseFormat) -> EncodedResponse | None:
        """The body of an answer; None for one that is not so simple: with parameters, strings, classification or shared
        memory, or numbers in JSON that are not finite.
        """
        outputs, named, default = response.outputs, response_format.named, response_format.default
        key: list[object] = [response.model_name, response.model_version]
        for name, array in outputs.items():
            form = named.get(name, default) if named else default
            if form.classification or form.shared_memory is not None:
                return None
            key += (name, array.dtype.num, array.shape, form.binary)
        known = self._known.get(tuple(key)) or self._note(tuple(key), response, response_format)
        if response.parameters or not known:
            return None
        texts = [b'{"id":%b,' % orjson.dumps(response.id) if response.id else b"{"]
        binary: list[bytes | memoryview] = []
        for output, array in zip(known, outputs.values(), strict=True):
            texts.append(output.text)
            if output.binary:
                if array.size:
                    binary.append(encode_raw_tensor(array))
                continue
            data = orjson.dumps(array.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)
            # For NaN and the infinities, which JSON has no numbers for.
            if b"null" in data:
                return None
            texts.append(data)
        texts.append(b"}]}")
        return EncodedResponse(b"".join(texts), binary)

    def _note(
        self, key: tuple[object, ...], response: InferResponse, response_format: ResponseFormat
    ) -> tuple[_Output, ...]:
        """Remember the texts of an answer; there are none for one that is not so simple."""
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        model = {"model_name": response.model_name, "model_version": response.model_version}
        before = orjson.dumps(model)[1:-1] + b',"outputs":['
        found: list[_Output] = []
        for name, array in response.outputs.items():
            binary = response_format.named.get(name, response_format.default).binary
            if array.dtype == BYTES.dtype or not (binary or array.dtype in JSON_DTYPES):
                found.clear()
                break
            found.append(_Output(before + _describe(name, array, binary), binary))
            before = b"},"
        known = self._known[key] = tuple(found)
        return known


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
