"""`model_warmup`: what can be said of its samples without looking at a file."""

from collections.abc import Iterator
from math import prod

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelWarmup
from kserve_v2.config.hidden import hidden_inputs
from kserve_v2.config.problems import Problem
from kserve_v2.net.limits import MAX_DIMENSIONS
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM

MAX_SAMPLE_BYTES = 2**31
"""What the tensors of one sample may take: a configuration may come from a client."""

# An element of a tensor of texts is an object.
_OBJECT_BYTES = 64


def warm_up_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield what is wrong with the samples, in Triton's words where it has some."""
    known = {tensor.name for tensor in (*config.input, *hidden_inputs(config))}
    most = max(config.max_batch_size, 1)
    for index, sample in enumerate(config.model_warmup):
        path = f"model_warmup[{index}]"
        if sample.batch_size > most:
            yield Problem(
                f"{path}.batch_size",
                f"failed to run warmup sample '{sample.name}': batch size {sample.batch_size} for '{config.name}', max "
                f"allowed is {config.max_batch_size}",
                incomplete=config.max_batch_size == 0,
            )
        problems = [
            problem
            for name, tensor in sample.inputs.items()
            for problem in _input_problems(tensor, name, f"{path}.inputs['{name}']")
        ]
        yield from problems
        if not problems and _size(sample) > MAX_SAMPLE_BYTES:
            yield Problem(
                path,
                f"the tensors of warmup sample '{sample.name}' would take {_size(sample)} bytes, at most "
                f"{MAX_SAMPLE_BYTES} are supported",
            )
        for name in sample.inputs:
            if name not in known:
                yield Problem(
                    f"{path}.inputs['{name}']",
                    f"unexpected input '{name}' of warmup sample '{sample.name}', model '{config.name}' has "
                    f"{sorted(known)}",
                    incomplete=True,
                )


def _input_problems(tensor: ModelWarmup.Input, name: str, path: str) -> Iterator[Problem]:
    if tensor.data_type not in BY_CONFIG_ENUM:
        yield Problem(f"{path}.data_type", f"warmup setting expects input '{name}' to have data_type set")
    if any(dim < 0 for dim in tensor.dims):
        text = f"warmup setting expects all variable-size dimensions are specified for input '{name}'"
        yield Problem(f"{path}.dims", text)
    elif len(tensor.dims) >= MAX_DIMENSIONS:
        text = f"input '{name}' has {len(tensor.dims)} dimensions, at most {MAX_DIMENSIONS - 1} are supported"
        yield Problem(f"{path}.dims", text)
    kind = tensor.WhichOneof("input_data_type")
    if kind is None or (kind == "input_data_file" and not tensor.input_data_file):
        yield Problem(path, f"warmup setting expects input '{name}' to have input_data_type set")


def _size(sample: ModelWarmup) -> int:
    of_one = sum(
        prod(tensor.dims) * (BY_CONFIG_ENUM[tensor.data_type].item_size or _OBJECT_BYTES)
        for tensor in sample.inputs.values()
    )
    return of_one * sample.batch_size
