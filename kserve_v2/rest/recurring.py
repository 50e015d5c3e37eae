"""Requests that differ from an earlier one in nothing but the numbers, or the bytes, of their tensors.

Nearly all do. What says the rest, which is most of the work of decoding, is compared with an earlier request byte by
byte, and then neither decoded nor checked again.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from kserve_v2.datatypes import BY_DTYPE, BYTES, Array
from kserve_v2.messages import InferRequest
from kserve_v2.raw_tensor import array_over
from kserve_v2.rest.codec import ResponseFormat
from kserve_v2.rest.json_tensor import plain_array
from kserve_v2.signature import ModelSignature

# Longer requests in JSON are decoded each time, and all where more than this would have to be compared.
_MAX_JSON_BYTES = 64 * 1024
_MAX_FIXED_BYTES = 4096

# Where `data` is a list without lists or strings in it, as in all requests that `plain_request` decodes.
_DATA = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*\[([^\[\]"]*)\]')


@dataclass(frozen=True, slots=True)
class _JsonForm:
    """Numbers between texts that are always the same. `inputs`: the text before the numbers, its bracket included, and
    what is made of them: name, datatype, shape. `tail`: the text behind the last ones.
    """

    inputs: tuple[tuple[bytes, str, str, tuple[int, ...]], ...]
    tail: bytes

    def arrays(self, body: bytes | memoryview) -> dict[str, Array] | None:
        """The tensors of a request of this form; None if it is of another one, or wrong."""
        if not isinstance(body, bytes):
            return None
        arrays: dict[str, Array] = {}
        position = 0
        try:
            for text, name, datatype, shape in self.inputs:
                if not body.startswith(text, position):
                    return None
                start = position + len(text) - 1
                position = body.find(b"]", start) + 1
                numbers = orjson.loads(body[start:position])
                array = plain_array(numbers, datatype)
                if array is None:
                    return None
                arrays[name] = array.reshape(shape)
        except (OverflowError, ValueError):
            return None
        return arrays if body[position:] == self.tail else None


@dataclass(frozen=True, slots=True)
class _BinaryForm:
    """Bytes behind JSON that is always the same. `inputs`: name, dtype, shape, and where in the body the bytes are."""

    inputs: tuple[tuple[str, "np.dtype[Any]", tuple[int, ...], int, int], ...]
    json: bytes
    body_bytes: int

    def arrays(self, body: bytes | memoryview) -> dict[str, Array] | None:
        """See `_JsonForm.arrays`. Views of a body that is a memoryview."""
        # As bytes: to compare a view takes ten times as long.
        if len(body) != self.body_bytes or bytes(body[: len(self.json)]) != self.json:
            return None
        arrays: dict[str, Array] = {}
        for name, dtype, shape, start, end in self.inputs:
            # Of bytes this is a copy, which is aligned.
            arrays[name] = array_over(body[start:end], dtype, shape)
        return arrays


@dataclass(frozen=True, slots=True)
class Recurring:
    """A form, and what else is known of the requests of this form to a model with this signature: `noted` is one of
    them, without tensors.
    """

    form: _JsonForm | _BinaryForm
    noted: InferRequest
    signature: ModelSignature
    response_format: ResponseFormat

    def request(self, body: bytes | memoryview) -> InferRequest | None:
        """A request of this form, checked; None for another one."""
        arrays = self.form.arrays(body)
        if arrays is None:
            return None
        noted = self.noted
        return InferRequest(
            noted.model_name, arrays, noted.model_version, noted.id, requested_outputs=noted.requested_outputs,
            checked=True, rows=noted.rows, batch_key=noted.batch_key,
        )  # fmt: skip


def recurring_json(
    body: bytes, request: InferRequest, signature: ModelSignature, response_format: ResponseFormat
) -> Recurring | None:
    """The form of a request that `plain_request` has decoded. None if it is too long."""
    if len(body) > _MAX_JSON_BYTES:
        return None
    texts, position = [], 0
    for data in _DATA.finditer(body):
        texts.append(body[position : data.start(1)])
        position = data.end()
    if sum(map(len, texts)) + len(body) - position > _MAX_FIXED_BYTES:
        return None
    inputs = tuple(
        (text, name, BY_DTYPE[array.dtype].name, array.shape)
        for text, (name, array) in zip(texts, request.inputs.items(), strict=True)
    )
    noted = replace(request, inputs={})
    return Recurring(_JsonForm(inputs, body[position:]), noted, signature, response_format)


def recurring_binary(
    body: bytes | memoryview,
    json_bytes: int,
    request: InferRequest,
    signature: ModelSignature,
    response_format: ResponseFormat,
) -> Recurring | None:
    """The form of a checked request that begins with `json_bytes` of JSON. None where more than the bytes behind it can
    matter: parameters, strings, numbers in the JSON, shared memory.
    """
    arrays = request.inputs.values()
    in_memory = any(each.shared_memory is not None for each in response_format.named.values())
    strings = any(array.dtype == BYTES.dtype for array in arrays)
    if in_memory or strings or request.parameters or request.control or json_bytes > _MAX_FIXED_BYTES:
        return None
    inputs, position = [], json_bytes
    for name, array in request.inputs.items():
        inputs.append((name, array.dtype, array.shape, position, position + array.nbytes))
        position += array.nbytes
    if position != len(body):
        return None
    form = _BinaryForm(tuple(inputs), bytes(body[:json_bytes]), len(body))
    return Recurring(form, replace(request, inputs={}), signature, response_format)
