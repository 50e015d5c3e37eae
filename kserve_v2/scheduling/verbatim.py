"""What the scheduler makes of models that read requests themselves: it looks at none of their tensors."""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.errors import InternalError
from kserve_v2.messages import InferRequest, InferResponse, TensorMetadata, Tensors
from kserve_v2.scheduling.merging.outputs import types_of
from kserve_v2.scheduling.pending import Outputs, Pending
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.tensors.datatypes import BY_DTYPE, BYTES
from kserve_v2.verbatim import HEADERS, TENSOR_PARAMETERS, TENSORS


class VerbatimSignature(ModelSignature):
    """Takes any tensors, and gives any. What the configuration declares is for people alone. A request is one row,
    whatever its tensors are: only the model knows whether they fit together.
    """

    verbatim = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        given = config.parameters.get(TENSOR_PARAMETERS)
        said = json.loads(given.string_value) if given is not None else {}
        self._inputs = _metadata(self.inputs, said.get("inputs", {}))
        self._outputs = _metadata(self.outputs, said.get("outputs", {}))

    def check(self, request: InferRequest) -> tuple[int, Hashable]:
        """Nothing is wrong with any request."""
        return 1, None

    def input_metadata(self) -> tuple[TensorMetadata, ...]:
        """As declared, the batch dimension among them."""
        return self._inputs

    def output_metadata(self) -> tuple[TensorMetadata, ...]:
        """As declared, the batch dimension among them."""
        return self._outputs

    def describe(self, said: str) -> None:
        """Have metadata show what a model says of itself; see `backend.SaysMetadata`."""
        document = json.loads(said)
        self.platform = document["platform"] or self.platform
        self._inputs = _said_metadata(document["inputs"])
        self._outputs = _said_metadata(document["outputs"])


def _metadata(tensors: Mapping[str, TensorSignature], said: Mapping[str, Any]) -> tuple[TensorMetadata, ...]:
    return tuple(
        TensorMetadata(each.name, each.datatype.name, each.dims, said.get(each.name, {}))
        for each in tensors.values()
    )


def _said_metadata(tensors: Sequence[Mapping[str, Any]]) -> tuple[TensorMetadata, ...]:
    return tuple(
        TensorMetadata(
            each["name"],
            each["datatype"],
            tuple(size if size > 0 else -1 for size in each["shape"]),
            each["parameters"],
        )
        for each in tensors
    )


class VerbatimMerger:
    """Joins nothing and cuts nothing."""

    separate = True

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name

    def merge(self, members: Sequence[Pending]) -> Any:
        """The tensors of each member."""
        return [pending.request.inputs for pending in members]

    def check(self, outputs: Tensors, members: Sequence[Pending]) -> Outputs:
        """Those of one member, if they can be sent. Raises InternalError."""
        return any_outputs(outputs, self._model_name)

    def split(self, outputs: Outputs, members: Sequence[Pending]) -> list[Outputs]:
        """The same."""
        return [outputs]


def any_outputs(outputs: Tensors, model_name: str) -> Outputs:
    """What a model has answered, if it is tensors of the protocol's. Raises InternalError."""
    for name, array in outputs.items():
        # They come from the model's process, which sends nothing but arrays.
        if type(array) is not np.ndarray or array.dtype not in BY_DTYPE:
            raise InternalError(f"output '{name}' of model '{model_name}' is no tensor of the protocol")
        if array.dtype == BYTES.dtype and not types_of(array) <= {bytes}:
            raise InternalError(f"output '{name}' of model '{model_name}' has elements that are no bytes")
    return dict(outputs)


def take_said(response: InferResponse) -> dict[str, dict[str, Any]]:
    """What the model says of each output. Takes everything out of the answer's parameters that is for the server."""
    parameters = dict(response.parameters)
    parameters.pop(HEADERS, None)
    said = orjson.loads(str(parameters.pop(TENSORS, "{}")))
    response.parameters = parameters
    response.model_version = said.get("version", response.model_version)
    response.id = response.id or said.get("id", "")
    outputs: dict[str, dict[str, Any]] = said.get("outputs", {})
    return outputs
