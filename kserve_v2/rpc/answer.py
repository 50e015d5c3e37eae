"""Answers as bytes. What answers of one shape have in common is encoded once; only the tensors differ.

The bytes are those of `codec.encode_response`, which encodes all other answers.
"""

from dataclasses import replace
from typing import NamedTuple

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.known_answers import KnownAnswers
from kserve_v2.memory.large_texts import SLICE_ELEMENTS, is_large, written_raw
from kserve_v2.messages import InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.rpc import wire
from kserve_v2.rpc.calls import Parts
from kserve_v2.rpc.codec import COPIED_BYTES, OutputForms, encode_response
from kserve_v2.scheduling.slices import Slices
from kserve_v2.tensors.classification import classify
from kserve_v2.tensors.datatypes import BY_DTYPE, BYTES, Array
from kserve_v2.tensors.raw import encode_raw_tensor

_NAME = pb.ModelInferResponse.MODEL_NAME_FIELD_NUMBER
_VERSION = pb.ModelInferResponse.MODEL_VERSION_FIELD_NUMBER
_ID = pb.ModelInferResponse.ID_FIELD_NUMBER
_OUTPUTS = pb.ModelInferResponse.OUTPUTS_FIELD_NUMBER
_RAW = pb.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER

# Roughly what a frame takes on top of its bytes.
_OVERHEAD_BYTES = 1024


class _Frame(NamedTuple):
    """Which model answers, what the outputs are, and what stands before the bytes of each."""

    model: bytes
    outputs: bytes
    raw_heads: tuple[bytes, ...]


def is_long(response: InferResponse, forms: OutputForms) -> bool:
    """Whether to write an answer takes many slices."""
    # Each answer is asked: a generator, or a call for each output, would cost three times as much.
    for name, array in response.outputs.items():
        if array.size > SLICE_ELEMENTS and (
            isinstance(forms.get(name), int) or (is_large(array) and name not in forms)
        ):
            return True
    return False


class AnswerEncoder(KnownAnswers[_Frame]):
    """Encodes the answers of one server."""

    def encode(self, response: InferResponse, forms: OutputForms, model: LoadedModel) -> Parts:
        """The answer of a model; arguments and errors as those of `codec.encode_response`."""
        if forms or response.parameters:
            return encode_response(response, forms, model.labels, batched=model.batched)
        key: list[object] = [response.model_name, response.model_version]
        for name, array in response.outputs.items():
            key += (name, array.dtype.num, array.shape)
        return self.find(tuple(key), response) or self.expected(response)

    def written(self, common: _Frame, response: InferResponse) -> Parts:
        parts: list[bytes | memoryview] = [common.model]
        if response.id:
            parts.append(wire.text(_ID, response.id))
        parts.append(common.outputs)
        for raw_head, array in zip(common.raw_heads, response.outputs.values(), strict=True):
            small = array.nbytes <= COPIED_BYTES
            parts += (raw_head, array.tobytes() if small else encode_raw_tensor(array))
        return parts

    def expected(self, response: InferResponse) -> Parts:
        return encode_response(response, {}, {}, batched=False)

    def encode_in_slices(
        self, response: InferResponse, forms: OutputForms, model: LoadedModel
    ) -> Slices[Parts]:
        """As `encode`, which takes several slices if the answer `is_long`."""
        if not is_long(response, forms):
            return self.encode(response, forms, model)
        labels, batched = model.labels, model.batched
        written: dict[str, list[bytes]] = {}
        for name, array in response.outputs.items():
            if isinstance(count := forms.get(name), int):
                classes = yield from classify(array, count, labels.get(name, ()), batched=batched)
                response = replace(response, outputs={**response.outputs, name: classes})
                forms = {each: form for each, form in forms.items() if each != name}
            elif name not in forms and is_large(array):
                written[name] = yield from written_raw(array)
        return encode_response(response, forms, labels, batched=batched, written=written)

    def common(self, response: InferResponse) -> tuple[_Frame, int] | None:
        """The frame of an answer, and its size. Strings have none: how long they are differs."""
        outputs = response.outputs
        if any(array.dtype == BYTES.dtype for array in outputs.values()):
            return None
        model = wire.text(_NAME, response.model_name) + wire.text(_VERSION, response.model_version)
        described = b"".join([_describe(name, array) for name, array in outputs.items()])
        raw_heads = tuple(wire.head(_RAW, array.nbytes) for array in outputs.values())
        return _Frame(model, described, raw_heads), len(model) + len(described) + _OVERHEAD_BYTES


def _describe(name: str, array: Array) -> bytes:
    described = pb.ModelInferResponse.InferOutputTensor(
        name=name, datatype=BY_DTYPE[array.dtype].name, shape=array.shape
    ).SerializeToString()
    return wire.head(_OUTPUTS, len(described)) + described
