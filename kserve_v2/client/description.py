"""What a server says of a model: the part of its metadata that requests are made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kserve_v2.client.errors import NoServerError

Json = dict[str, Any]


class TensorInfo(NamedTuple):
    """An input or output, as the metadata has it: `shape` with the batch dimension, -1 where it varies."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model's tensors by name. `batched`: whether axis 0 is the batch; None if the server does not say so."""

    name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    batched: bool | None = None

    @property
    def known(self) -> bool:
        """Whether the server says what the inputs are."""
        return bool(self.inputs)

    @property
    def may_batch(self) -> bool:
        """Whether axis 0 of an input can be the batch."""
        return any(tensor.shape[:1] == (-1,) for tensor in self.inputs.values())


def model_info(metadata: Json, batched: bool | None = None) -> ModelInfo:
    """Of an answer with metadata. Raises NoServerError if it is none."""
    try:
        inputs, outputs = (_tensors(metadata.get(kind)) for kind in ("inputs", "outputs"))
        return ModelInfo(str(metadata["name"]), inputs, outputs, batched)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NoServerError("the server's answer is no metadata of a model") from None


def _tensors(listed: Any) -> dict[str, TensorInfo]:
    tensors = [
        TensorInfo(str(each["name"]), str(each["datatype"]), tuple(map(int, each["shape"])))
        for each in listed or ()
    ]
    return {tensor.name: tensor for tensor in tensors}
