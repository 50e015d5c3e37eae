"""The samples that a version executes before it is ready, from `model_warmup` and the files that it names."""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelWarmup
from kserve_v2.config.files import WARM_UP_FOLDER, is_within
from kserve_v2.config.hidden import hidden_inputs
from kserve_v2.errors import InvalidArgumentError, request_prefix
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.scheduling.warm_up import Sample
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BOOL, BY_CONFIG_ENUM, BYTES, Array, Datatype
from kserve_v2.tensors.raw import decode_raw_tensor

# Random integers are smaller, so that every type holds them, and most models take them as indices.
_MOST = 128


def read_samples(config: ModelConfig, model_path: Path) -> tuple[Sample, ...]:
    """The samples of a valid configuration, without those of `batch_size` 0, which Triton leaves out. Blocks on the
    file system.

    Raises InvalidArgumentError, with all that is wrong: files that are missing or hold too little, and tensors that the
    model does not take.
    """
    signature = ModelSignature(config)
    hidden = {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in hidden_inputs(config)}
    samples: list[Sample] = []
    wrong: dict[int, str] = {}
    for index, each in enumerate(config.model_warmup):
        if each.batch_size == 0:
            continue
        try:
            samples.append(_sample(each, signature, hidden, model_path))
        except InvalidArgumentError as error:
            text = error.message.removeprefix(request_prefix(""))
            wrong[index] = f"failed to run warmup sample '{each.name}': {text}"
    if wrong:
        problems = [f"model_warmup[{index}]: {text}" for index, text in wrong.items()]
        raise InvalidArgumentError("; ".join(wrong.values()), problems)
    return tuple(samples)


def _sample(
    sample: ModelWarmup,
    signature: ModelSignature,
    hidden: Mapping[str, tuple[int, tuple[int, ...]]],
    model_path: Path,
) -> Sample:
    batch = (1,) if signature.max_batch_size else ()
    inputs: dict[str, Array] = {}
    made: dict[str, Array] = {}
    for name in sorted(sample.inputs):
        given = sample.inputs[name]
        array = _tensor(given, name, signature.model_name, model_path)
        if name in hidden:
            made[name] = _fitted(array, name, *hidden[name], batch)
        else:
            inputs[name] = array.reshape(batch + array.shape)
    # In the order of the configuration, as a client's request is put in.
    ordered = {name: inputs[name] for name in signature.inputs if name in inputs} | inputs
    signature.check(InferRequest(signature.model_name, ordered))
    return Sample(sample.name, ordered, sample.batch_size, 1, sample.count or 1, made)


def _tensor(given: ModelWarmup.Input, name: str, model: str, model_path: Path) -> Array:
    """Without a batch dimension."""
    datatype, shape = BY_CONFIG_ENUM[given.data_type], tuple(given.dims)
    if given.WhichOneof("input_data_type") == "input_data_file":
        return _read(given.input_data_file, model_path, AnnouncedInput(name, datatype, shape, model, ""))
    if datatype is BYTES:
        return np.full(shape, b"", np.object_)
    if given.random_data:
        return _random(datatype, shape)
    return np.zeros(shape, datatype.dtype)


def _random(datatype: Datatype, shape: tuple[int, ...]) -> Array:
    """The same ones at every load."""
    random = np.random.default_rng(0)
    if datatype is BOOL:
        return random.integers(0, 2, shape).astype(np.bool_)
    if datatype.dtype.kind in "iu":
        return random.integers(0, _MOST, shape).astype(datatype.dtype)
    return np.asarray(random.random(shape)).astype(datatype.dtype)


def _read(filename: str, model_path: Path, announced: AnnouncedInput) -> Array:
    """The tensor's bytes, of which the file may hold more; texts fill the whole file, each with its length in front."""
    shown = f"input '{announced.name}': file '{WARM_UP_FOLDER}/{filename}'"
    path = (model_path / WARM_UP_FOLDER / filename).resolve()
    if not is_within(path, model_path):
        raise InvalidArgumentError(f"{shown} is outside of the model's directory")
    if path.exists() and not path.is_file():
        raise InvalidArgumentError(f"{shown} is no file")
    texts = announced.datatype is BYTES
    size = prod(announced.shape) * announced.datatype.item_size
    try:
        with path.open("rb") as file:
            data = file.read() if texts else file.read(size)
    except OSError as error:
        raise InvalidArgumentError(f"{shown} cannot be read: {error.strerror}") from error
    if texts:
        try:
            return decode_raw_tensor(announced, data)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{shown}: {error.message.removeprefix(announced.prefix)}") from error
    if len(data) < size:
        raise InvalidArgumentError(
            f"warmup setting expects {size} bytes, but the data provided from {filename} only has {len(data)} bytes"
        )
    return decode_raw_tensor(announced, data)


def _fitted(array: Array, name: str, data_type: int, dims: tuple[int, ...], batch: tuple[int, ...]) -> Array:
    """A hidden input of one request, with or without its batch dimension in the sample, as the model is given it."""
    datatype = BY_CONFIG_ENUM[data_type]
    if array.dtype != datatype.dtype:
        given = "BYTES" if array.dtype == BYTES.dtype else str(array.dtype)
        raise InvalidArgumentError(
            f"input '{name}' has data-type {given}, but the model's configuration says {datatype.name}"
        )
    for shape in (array.shape, array.shape[1:] if array.shape[:1] == (1,) else None):
        if shape is not None and TensorSignature(name, datatype, dims).accepts(shape):
            return array.reshape(batch + shape)
    raise InvalidArgumentError(
        f"input '{name}' has shape {list(array.shape)}, but the model's configuration says {list(dims)}"
    )
