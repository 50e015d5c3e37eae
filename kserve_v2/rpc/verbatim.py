"""Requests to models that read them themselves; see `kserve_v2.verbatim`."""

from collections.abc import Mapping
from typing import Any

from kserve_v2._generated import grpc_service_pb2 as pb
from kserve_v2.memory.regions import PARAMETERS
from kserve_v2.rpc.calls import Metadata

# Parameters of a tensor that are for the server.
_OF_THE_SERVER = frozenset({"classification", *PARAMETERS})


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
