"""Requests with binary tensors that differ from an earlier one in nothing but the bytes of the tensors.

Nearly all do. The JSON before the bytes, which is most of the work of decoding, is looked up as it stands, and then
neither decoded nor checked again. A form is kept only once it was seen to give, of the very request that it was made
from, what the codec has made of it.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kserve_v2.memory.remembered import Remembered
from kserve_v2.messages import InferRequest, same_request
from kserve_v2.rest.codec import ResponseFormat
from kserve_v2.rest.heads import Body, InferHead
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import BYTES, Array
from kserve_v2.tensors.raw import array_over

# Requests with more JSON than this are decoded each time.
MAX_JSON_BYTES = 4096

MAX_REMEMBERED_BYTES = 4 * 1024 * 1024

# Roughly what a form takes on top of the JSON: it holds a request and a response format.
_OVERHEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Recurring:
    """What is known of all requests with some JSON, to a model with this signature. `noted` is one of them, without
    tensors. `inputs`: name, dtype, shape, and where in the body the bytes are.
    """

    inputs: tuple[tuple[str, "np.dtype[Any]", tuple[int, ...], int, int], ...]
    body_bytes: int
    noted: InferRequest
    signature: ModelSignature
    response_format: ResponseFormat

    def request(self, body: Body) -> InferRequest:
        """The request in a body of `body_bytes` that begins with this form's JSON, checked. Tensors are views of a body
        that is a memoryview.
        """
        arrays: dict[str, Array] = {}
        for name, dtype, shape, start, end in self.inputs:
            # A slice of `bytes` is an aligned copy.
            arrays[name] = array_over(body[start:end], dtype, shape)
        noted = self.noted
        return InferRequest(
            noted.model_name, arrays, noted.model_version, noted.id, requested_outputs=noted.requested_outputs,
            checked=True, rows=noted.rows, batch_key=noted.batch_key,
        )  # fmt: skip


class RecurringForms:
    """The forms of the requests that came last, of all connections of a server."""

    def __init__(self) -> None:
        self._forms: Remembered[tuple[str, str, bytes], Recurring] = Remembered(MAX_REMEMBERED_BYTES)

    def find(self, head: InferHead, body: Body) -> Recurring | None:
        """The form of a request, if it has been noted. It is for whoever has its signature."""
        size = head.json_bytes
        if not 0 < size <= MAX_JSON_BYTES:
            return None
        form = self._forms[head.model_name, head.version, bytes(body[:size])]
        if form is None or len(body) != form.body_bytes or b"content-encoding" in head.headers:
            return None
        return form

    def note(
        self,
        head: InferHead,
        body: Body,
        request: InferRequest,
        signature: ModelSignature,
        response_format: ResponseFormat,
    ) -> None:
        """Note the form of a request that the codec has decoded, checked against `signature`; at its second time."""
        size = head.json_bytes
        if not 0 < size <= MAX_JSON_BYTES or b"content-encoding" in head.headers:
            return
        key = head.model_name, head.version, bytes(body[:size])
        if self._forms.is_seen_again(key):
            form = form_of(body, size, request, signature, response_format)
            if form is not None:
                self._forms.keep(key, form, size + _OVERHEAD_BYTES)


def form_of(
    body: Body,
    json_bytes: int,
    request: InferRequest,
    signature: ModelSignature,
    response_format: ResponseFormat,
) -> Recurring | None:
    """The form of a checked request that begins with `json_bytes` of JSON. None where more than the bytes behind it can
    matter: parameters, strings, numbers in the JSON, shared memory.
    """
    json_text = bytes(body[:json_bytes])
    # A member's name could be written with escapes, so any backslash rules the form out.
    in_memory = b"shared_memory" in json_text or b"\\" in json_text
    strings = any(array.dtype == BYTES.dtype for array in request.inputs.values())
    if in_memory or strings or request.parameters or request.control:
        return None
    inputs, position = [], json_bytes
    for name, array in request.inputs.items():
        inputs.append((name, array.dtype, array.shape, position, position + array.nbytes))
        position += array.nbytes
    if position != len(body):
        return None
    form = Recurring(tuple(inputs), len(body), replace(request, inputs={}), signature, response_format)
    return form if same_request(form.request(body), request) else None
