"""The samples that a version executes before it is ready, from `model_warmup` and the files that it names."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelWarmup
from kserve_v2.config.files import WARM_UP_FOLDER
from kserve_v2.config.hidden import hidden_inputs
from kserve_v2.config.problems import Problem, files_error
from kserve_v2.errors import InvalidArgumentError, request_prefix
from kserve_v2.messages import InferRequest
from kserve_v2.repository.reading.tensor_files import TensorFiles
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.scheduling.warm_up import Sample
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BOOL, BY_CONFIG_ENUM, BYTES, Array, Datatype

# Random integers are smaller, so that every type holds them, and most models take them as indices.
_MOST = 128
_FILES = TensorFiles(
    WARM_UP_FOLDER,
    "input",
    "warmup setting expects {} bytes, but the data provided from {} only has {} bytes",
)


def read_samples(config: ModelConfig, model_path: Path) -> tuple[Sample, ...]:
    """The samples of a valid configuration, without those of `batch_size` 0, which Triton leaves out. Blocks on the
    file system.

    Raises InvalidArgumentError, with all that is wrong: files that are missing or hold too little, and tensors that the
    model does not take.
    """
    signature = ModelSignature(config)
    hidden = {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in hidden_inputs(config)}
    samples: list[Sample] = []
    wrong: list[Problem] = []
    for index, each in enumerate(config.model_warmup):
        if each.batch_size == 0:
            continue
        try:
            samples.append(_sample(each, signature, hidden, model_path))
        except InvalidArgumentError as error:
            text = error.message.removeprefix(request_prefix(""))
            text = f"failed to run warmup sample '{each.name}': {text}"
            wrong.append(Problem(f"model_warmup[{index}]", text))
    if wrong:
        raise files_error(wrong)
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
        announced = AnnouncedInput(name, datatype, shape, model, "")
        return _FILES.read(given.input_data_file, model_path, announced)
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
