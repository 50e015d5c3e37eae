"""Answers all in JSON. What answers of one shape have in common is put together once; the rest is numbers.

The same text as that of `codec.encode_response`, which has the answers that are not so simple.
"""

import orjson

from kserve_v2.datatypes import BY_DTYPE
from kserve_v2.messages import InferResponse
from kserve_v2.rest.json_tensor import JSON_DTYPES

_MAX_REMEMBERED = 1024


class JsonAnswers:
    """Encodes the answers of one server."""

    def __init__(self) -> None:
        # What stands before the data of each output.
        self._texts: dict[tuple[object, ...], tuple[bytes, ...]] = {}

    def encode(self, response: InferResponse) -> bytes | None:
        """The body of an answer; None for one that is not so simple: with parameters, or outputs that are not numbers,
        or not finite.
        """
        if response.parameters:
            return None
        outputs = response.outputs
        key: list[object] = [response.model_name, response.model_version]
        for name, array in outputs.items():
            key += (name, array.dtype.num, array.shape)
        texts = self._texts.get(tuple(key)) or self._note(tuple(key), response)
        if not texts:
            return None
        parts = [b'{"id":%b,' % orjson.dumps(response.id) if response.id else b"{"]
        for text, array in zip(texts, outputs.values(), strict=True):
            data = orjson.dumps(array.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)
            # For NaN and the infinities, which JSON has no numbers for.
            if b"null" in data:
                return None
            parts += (text, data)
        parts.append(b"}]}")
        return b"".join(parts)

    def _note(self, key: tuple[object, ...], response: InferResponse) -> tuple[bytes, ...]:
        """Remember the texts of an answer; there are none for one that is not so simple."""
        if len(self._texts) >= _MAX_REMEMBERED:
            self._texts.clear()
        model = {"model_name": response.model_name, "model_version": response.model_version}
        before, texts = orjson.dumps(model)[1:-1] + b',"outputs":[', []
        for name, array in response.outputs.items():
            if array.dtype in JSON_DTYPES:
                output = {"name": name, "datatype": BY_DTYPE[array.dtype].name, "shape": array.shape}
                texts.append(before + orjson.dumps(output)[:-1] + b',"data":')
                before = b"},"
        simple = bool(texts) and len(texts) == len(response.outputs)
        found = self._texts[key] = tuple(texts) if simple else ()
        return found
