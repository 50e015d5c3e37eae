"""Requests that differ from an earlier one in nothing but their id and the bytes of their tensors.

Nearly all do. What says the rest, which is most of the work of decoding, is compared with an earlier request byte by
byte, and then not decoded again. A form is kept only once it was seen to give, of the very message that it was made
from, what protobuf has made of it.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.memory.remembered import Remembered
from kserve_v2.messages import InferRequest, same_request
from kserve_v2.rpc.calls import Serialized
from kserve_v2.rpc.wire import Part, parts, tag
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.tensors.datatypes import BY_NAME, BYTES, Array
from kserve_v2.tensors.raw import array_over

_ID = pb.ModelInferRequest.ID_FIELD_NUMBER
_RAW = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER

# A request is decoded each time if it has more fields than this, or a longer description.
_MAX_PARTS = 64
_MAX_HEAD_BYTES = 4096

# Forms to remember for messages of the same length to the same model.
_MAX_ALIKE = 8

# The most memory that forms may take together, and roughly what each takes on top of its bytes.
MAX_REMEMBERED_BYTES = 4 * 1024 * 1024
_OVERHEAD_BYTES = 2048

# The fewest bytes that a field takes: its tag and its length.
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

    @property
    def nbytes(self) -> int:
        """About what it takes."""
        return sum(len(text) for *_, text in self.fixed) + _OVERHEAD_BYTES

    def request(self, data: Serialized, signature: ModelSignature) -> InferRequest | None:
        """The request, checked. None if the signature is not the one that such a request was checked against, or for an
        id that is no text.
        """
        if signature is not self.signature:
            return None
        inputs: dict[str, Array] = {}
        for name, dtype, shape, start, end in self.inputs:
            # A slice of `bytes`, as small messages are, is an aligned copy.
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
    """The forms of the requests that came last, of all connections of a server."""

    def __init__(self) -> None:
        self._forms: Remembered[tuple[int, bytes], deque[Form]] = Remembered(MAX_REMEMBERED_BYTES)

    def find(self, data: Serialized) -> Form | None:
        """The form of a message, if it has been noted."""
        alike = self._forms[_key(data)]
        if alike is None:
            return None
        for form in alike:
            for start, end, text in form.fixed:
                if data[start:end] != text:
                    break
            else:
                if form is not alike[0]:
                    # It is tried first next time, and forgotten last.
                    alike.remove(form)
                    alike.appendleft(form)
                return form
        return None

    def note(
        self,
        data: Serialized,
        message: pb.ModelInferRequest,
        request: InferRequest,
        signature: ModelSignature,
    ) -> None:
        """Note the form of a message, which is `request`, checked against `signature`; at its second time."""
        variable = _variable(data, message)
        if variable is None:
            return
        fixed = _fixed(data, variable)
        if not self._forms.is_seen_again((len(data), b"".join(text for *_, text in fixed))):
            return
        form = form_of(data, message, request, signature)
        if form is None:
            return
        key = _key(data)
        alike = self._forms[key]
        if alike is None:
            alike = deque(maxlen=_MAX_ALIKE)
        outdated = self.find(data)
        if outdated is not None:
            alike.remove(outdated)
        alike.appendleft(form)
        self._forms.keep(key, alike, sum(each.nbytes for each in alike))


def _key(data: Serialized) -> tuple[int, bytes]:
    """What to look a message up by: its length, and the model's name, or most of it, if that comes first, as usual."""
    if len(data) < _MIN_FIELD_BYTES or data[0] != _MODEL_NAME:
        return len(data), b""
    return len(data), bytes(data[: data[1] + _MIN_FIELD_BYTES])


def form_of(
    data: Serialized, message: pb.ModelInferRequest, request: InferRequest, signature: ModelSignature
) -> Form | None:
    """The form of a valid message, which is `request`. None where more than the id and the tensors can matter, and for
    a form that does not give this very request again.
    """
    variable = _variable(data, message)
    if variable is None:
        return None
    raw = [part for part in variable if part.field == _RAW]
    ids = [part for part in variable if part.field == _ID]
    inputs = tuple(
        (tensor.name, BY_NAME[tensor.datatype].dtype, tuple(tensor.shape), part.start, part.end)
        for tensor, part in zip(message.inputs, raw, strict=True)
    )
    id_start, id_end = (ids[0].start, ids[0].end) if ids else (0, 0)
    outputs = tuple(output.name for output in message.outputs)
    form = Form(
        message.model_name, message.model_version, _fixed(data, variable), id_start, id_end, inputs, outputs,
        request.rows, request.batch_key, signature,
    )  # fmt: skip
    again = form.request(data, signature)
    return form if again is not None and same_request(again, request) else None


def _variable(data: Serialized, message: pb.ModelInferRequest) -> list[Part] | None:
    """The parts of a message that are its id and tensors, in their order. None where anything else can matter, or means
    something that the same bytes need not mean again: parameters, strings, typed contents, fields that protobuf would
    merge; and for a message with much else in it.
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
    variable = sorted((*raw, *ids), key=lambda part: part.start)
    return (
        variable if len(data) - sum(part.end - part.start for part in variable) <= _MAX_HEAD_BYTES else None
    )


def _fixed(data: Serialized, variable: list[Part]) -> tuple[_Fixed, ...]:
    """The bytes between the variable parts."""
    starts = (0, *(part.end for part in variable))
    ends = (*(part.start for part in variable), len(data))
    return tuple(
        (start, end, bytes(data[start:end])) for start, end in zip(starts, ends, strict=True) if end > start
    )
