"""Requests to models that read them themselves; see `kserve_v2.verbatim`."""

from collections.abc import Mapping
from typing import Any

import orjson

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.messages import InferResponse
from kserve_v2.rpc.calls import Metadata
from kserve_v2.verbatim import HEADERS, TENSORS

# Parameters of a tensor that are for the server.
_OF_THE_SERVER = frozenset(
    {"classification", "shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"}
)


def pack(message: pb.ModelInferRequest, metadata: Metadata, *, stream: bool = False) -> dict[str, Any]:
    """What is said beside the tensors of a request. `stream`: its client takes any number of answers."""
    packed: dict[str, Any] = {
        "headers": {name: value for name, value in metadata if isinstance(value, str)},
        "tensors": {
            "inputs": {each.name: _values(each.parameters) for each in message.inputs if each.parameters},
            "outputs": {each.name: _values(each.parameters) for each in message.outputs if each.parameters},
        },
    }
    return packed | ({"stream": True} if stream else {})


def _values(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    return {
        name: getattr(value, kind)
        for name, value in parameters.items()
        if name not in _OF_THE_SERVER and (kind := value.WhichOneof("parameter_choice")) is not None
    }


def unpack(response: InferResponse) -> dict[str, dict[str, Any]]:
    """What the model says of each output. Takes everything out of the answer's parameters that is for the server."""
    parameters = dict(response.parameters)
    parameters.pop(HEADERS, None)
    said = orjson.loads(str(parameters.pop(TENSORS, "{}")))
    response.parameters = parameters
    response.model_version = said.get("version", response.model_version)
    response.id = response.id or said.get("id", "")
    outputs: dict[str, dict[str, Any]] = said.get("outputs", {})
    return outputs
