"""Requests to models that read them themselves; see `kserve_v2.verbatim`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from kserve_v2.memory.regions import PARAMETERS, SharedMemoryRegions
from kserve_v2.messages import InferRequest, InferResponse, ParameterValue
from kserve_v2.net.model_answers import OWN_HEADERS, sendable_headers
from kserve_v2.rest.codec import (
    ALL_JSON,
    Body,
    EncodedResponse,
    ResponseFormat,
    decode_request,
    encode_response,
)
from kserve_v2.rest.endpoint import Headers
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.slices import Slices
from kserve_v2.scheduling.verbatim import take_said
from kserve_v2.tensors.datatypes import BYTES, Array
from kserve_v2.verbatim import BODY, HEADERS

# Parameters of a tensor that are for the server.
_OF_THE_SERVER = frozenset({"binary_data", "binary_data_size", "classification", *PARAMETERS})

# What the server says of an answer itself.
_OWN_HEADERS = OWN_HEADERS | {"content-encoding"}


def decode_verbatim(
    body: Body,
    header_length: bytes | None,
    signature: ModelSignature,
    version: str,
    regions: SharedMemoryRegions,
    *,
    headers: Headers,
    streams: bool,
) -> tuple[InferRequest, ResponseFormat]:
    """The request of a body, which is not looked at unless tensors follow its JSON. `headers`: all that it has.
    `streams`: see `infer.decode`. Other arguments and errors as those of `codec.decode_request`.
    """
    packed: dict[str, Any] = {"headers": headers_by_name(headers)}
    if streams:
        packed["stream"] = True
    if header_length is None:
        request = InferRequest(signature.model_name, {BODY: body_tensor(body)}, version)
        response_format = ALL_JSON
    else:
        request, response_format = decode_request(body, header_length, signature, version, regions)
        packed["tensors"] = _said(orjson.loads(bytes(body[: int(header_length)])))
    request.packed = packed
    return request, response_format


def body_tensor(body: Body) -> Array:
    """The tensor of a body."""
    array = np.empty(1, BYTES.dtype)
    array[0] = bytes(body)
    return array


def headers_by_name(headers: Headers) -> dict[str, str]:
    """Headers as models have them: of several of one name, the last one."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def _said(document: Any) -> dict[str, Any]:
    """The parameters of tensors in a request that has been decoded."""
    return {
        kind: {
            tensor["name"]: {
                name: value for name, value in tensor["parameters"].items() if name not in _OF_THE_SERVER
            }
            for tensor in document.get(kind) or ()
            if isinstance(tensor.get("parameters"), dict)
        }
        for kind in ("inputs", "outputs")
    }


def encode_verbatim(
    response: InferResponse, response_format: ResponseFormat, labels: Mapping[str, Sequence[str]]
) -> Slices[EncodedResponse]:
    """Encode an answer: as the model has written it, or its tensors. Errors as those of `codec.encode_response`."""
    headers = own_headers(response.parameters.get(HEADERS, "[]"), response.model_name)
    if BODY in response.outputs:
        return EncodedResponse((response.outputs[BODY].item(),), 0, headers)
    said = take_said(response)
    encoded = yield from encode_response(response, response_format, labels, batched=False, said=said)
    return encoded._replace(headers=headers)


def own_headers(text: ParameterValue, model: str) -> list[tuple[bytes, bytes]]:
    """The headers that a model wants its answer to have; what is none is left out, and said in the log."""
    said = (each for each in orjson.loads(str(text)) if each[0].lower() not in _OWN_HEADERS)
    return sendable_headers(said, f"model '{model}'")
