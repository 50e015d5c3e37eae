"""Requests that differ from an earlier one in nothing but their id and the bytes of their tensors.

Nearly all do. What says the rest, which is most of the work of decoding, is compared with an earlier request byte by
byte, and then not decoded again.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.datatypes import BY_NAME, BYTES, Array
from kserve_v2.messages import InferRequest
from kserve_v2.raw_tensor import array_over
from kserve_v2.rpc.calls import Serialized
from kserve_v2.rpc.wire import Part, parts, tag
from kserve_v2.signature import ModelSignature

_ID = pb.ModelInferRequest.ID_FIELD_NUMBER
_RAW = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER

# A request with more fields than this is decoded each time; so is one whose description is longer.
_MAX_PARTS = 64
_MAX_HEAD_BYTES = 4096

# Forms of messages that have one length and are for one model; and pairs of length and model.
_MAX_ALIKE = 8
_MAX_REMEMBERED = 256

# Of a field, what says which it is and how long.
_MIN_FIELD_BYTES = 2
_MODEL_NAME = tag(pb.ModelInferRequest.MODEL_NAME_FIELD_NUMBER)


_Fixed = tuple[int, int, bytes]
"""Where in the message some bytes start and end, and what they are."""

_Input = tuple[str, "np.dtype[np.generic]", tuple[int, ...], int, int]
"""Name, dtype, shape, and where in the message the bytes are."""


@dataclass(frozen=True, slots=True)
class Form:
    """What requests have in common. `fixed`: all bytes that are not the id or tensors. `rows`, `batch_key` and
    `signature`: what was found when one of them was checked.
    """

    model_name: str
    model_version: str
    fixed: tuple[_Fixed, ...]
    id_start: int
    id_end: int
    inputs: tuple[_Input, ...]
    requested_outputs: tuple[str, ...]
    rows: int
    batch_key: Hashable
    signature: ModelSignature

    def request(self, data: Serialized, signature: ModelSignature) -> InferRequest | None:
        """The request, checked. None if the signature is not the one that such a request was checked against, or for an
        id that is no text.
        """
        if signature is not self.signature:
            return None
        inputs: dict[str, Array] = {}
        for name, dtype, shape, start, end in self.inputs:
            # Of bytes, which small messages are, this is a copy and aligned.
            inputs[name] = array_over(data[start:end], dtype, shape)
        try:
            request_id = str(data[self.id_start : self.id_end], "utf-8") if self.id_end else ""
        except UnicodeDecodeError:
            return None
        return InferRequest(
            self.model_name, inputs, self.model_version, request_id, requested_outputs=self.requested_outputs,
            checked=True, rows=self.rows, batch_key=self.batch_key,
        )  # fmt: skip


class RecurringForms:
    """The forms of the requests that came last."""

    def __init__(self) -> None:
        self._forms: dict[tuple[int, bytes], deque[Form]] = {}

    def find(self, data: Serialized) -> Form | None:
        """The form of a message, if it has been noted."""
        for form in self._forms.get(_key(data), ()):
            for start, end, text in form.fixed:
                if data[start:end] != text:
                    break
            else:
                return form
        return None

    def note(
        self,
        data: Serialized,
        message: pb.ModelInferRequest,
        request: InferRequest,
        signature: ModelSignature,
    ) -> None:
        """Note the form of a message, which is `request`, checked against `signature`."""
        form = form_of(data, message, request, signature)
        if form is None:
            return
        alike = self._forms.get(_key(data))
        if alike is None:
            if len(self._forms) >= _MAX_REMEMBERED:
                self._forms.clear()
            alike = self._forms[_key(data)] = deque(maxlen=_MAX_ALIKE)
        outdated = self.find(data)
        if outdated is not None:
            alike.remove(outdated)
        alike.appendleft(form)


def _key(data: Serialized) -> tuple[int, bytes]:
    """What to look a message up by: its length, and the model's name, or most of it, if that comes first, as usual."""
    if len(data) < _MIN_FIELD_BYTES or data[0] != _MODEL_NAME:
        return len(data), b""
    return len(data), bytes(data[: data[1] + _MIN_FIELD_BYTES])


def form_of(
    data: Serialized, message: pb.ModelInferRequest, request: InferRequest, signature: ModelSignature
) -> Form | None:
    """The form of a valid message. None where more than the id and the tensors can matter: parameters, strings, typed
    contents, fields that protobuf would merge.
    """
    found = parts(data, _MAX_PARTS)
    if found is None or message.parameters:
        return None
    raw = [part for part in found if part.field == _RAW]
    ids = [part for part in found if part.field == _ID]
    if len(raw) != len(message.inputs) or len(ids) > 1:
        return None
    for tensor in message.inputs:
        if tensor.parameters or tensor.HasField("contents") or BY_NAME.get(tensor.datatype, BYTES) is BYTES:
            return None
    if any(output.parameters for output in message.outputs):
        return None
    fixed = _fixed(data, sorted((*raw, *ids), key=lambda part: part.start))
    if sum(len(text) for *_, text in fixed) > _MAX_HEAD_BYTES:
        return None
    inputs = tuple(
        (tensor.name, BY_NAME[tensor.datatype].dtype, tuple(tensor.shape), part.start, part.end)
        for tensor, part in zip(message.inputs, raw, strict=True)
    )
    id_start, id_end = (ids[0].start, ids[0].end) if ids else (0, 0)
    outputs = tuple(output.name for output in message.outputs)
    return Form(
        message.model_name, message.model_version, fixed, id_start, id_end, inputs, outputs, request.rows,
        request.batch_key, signature,
    )  # fmt: skip


def _fixed(data: Serialized, variable: list[Part]) -> tuple[_Fixed, ...]:
    """The bytes between the variable parts."""
    starts = (0, *(part.end for part in variable))
    ends = (*(part.start for part in variable), len(data))
    return tuple(
        (start, end, bytes(data[start:end])) for start, end in zip(starts, ends, strict=True) if end > start
    )
