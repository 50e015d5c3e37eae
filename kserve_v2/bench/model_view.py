"""What a server says of a model, as far as requests can be made from it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.content_types import input_contents
from kserve_v2.tensors.datatypes import BY_NAME, Datatype

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TensorView:
    """One input. `shape`: as in the model's metadata, -1 where it varies."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model. `batches`: whether the first dimension of its inputs is that of the batch. `sequences`: whether its
    requests belong to sequences. `contents`: by input, what its bytes have to be. `warm_up`: by input, a shape that the
    configuration warms the model up with, without the batch dimension. `binary`: whether the server takes binary
    tensors over REST.
    """

    name: str
    inputs: tuple[TensorView, ...]
    batches: bool = False
    sequences: bool = False
    contents: Mapping[str, str] = field(default_factory=dict)
    warm_up: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    binary: bool = True


def model_view(metadata: Json, config: ModelConfig | None, extensions: Collection[str]) -> ModelView:
    """Raises KeyError, TypeError, ValueError for answers of something that is no v2 server. `config`: None of servers
    that tell none; a first dimension that varies in all inputs is then that of the batch.
    """
    inputs = tuple(
        TensorView(each["name"], BY_NAME[each["datatype"]], tuple(map(int, each["shape"])))
        for each in metadata["inputs"]
    )
    binary = "binary_tensor_data" in extensions
    if config is None:
        varies = bool(inputs) and all(each.shape[:1] == (-1,) for each in inputs)
        return ModelView(metadata["name"], inputs, batches=varies, binary=binary)
    return ModelView(
        metadata["name"],
        inputs,
        batches=config.max_batch_size > 0,
        sequences=config.HasField("sequence_batching"),
        contents=input_contents(config),
        warm_up=_warm_up(config),
        binary=binary,
    )


def _warm_up(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for sample in config.model_warmup:
        for name, tensor in sample.inputs.items():
            found.setdefault(name, tuple(tensor.dims))
    return found
