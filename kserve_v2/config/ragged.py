"""Validation of what the configuration says of requests of different shapes in one batch: `allow_ragged_batch`,
`batch_input` and `batch_output`. Texts follow Triton's.
"""

from collections.abc import Iterator, Sequence

from kserve_v2._generated.model_config_pb2 import BatchInput, BatchOutput, DataType, ModelConfig
from kserve_v2.config.problems import Problem
from kserve_v2.config.switches import SPLIT_LARGE_REQUESTS, TRY_BATCHING

_NUMBERS = (DataType.TYPE_INT32, DataType.TYPE_FP32)


def ragged_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield whatever is wrong with them."""
    for index, tensor in enumerate(config.input):
        if not tensor.allow_ragged_batch:
            continue
        path = f"input[{index}].allow_ragged_batch"
        if config.max_batch_size == 0:
            yield Problem(path, "there are no batches: max_batch_size is 0", incomplete=True)
        if config.HasField("sequence_batching"):
            yield Problem(
                path, "requests of sequences are joined by rows: leave out sequence_batching, or this"
            )
        if tensor.optional and config.backend != "python":
            yield Problem(
                path,
                f"unable to load model '{config.name}', configuration expects model provides input with shape [-1] for "
                f"ragged input '{tensor.name}', which is not supported for optional input",
            )
    yield from _input_problems(config)
    yield from _output_problems(config)
    if joins(config) and _says_true(config, TRY_BATCHING):
        yield Problem(
            f"parameters['{TRY_BATCHING}']",
            "a ragged batch is not made of rows behind rows: there is nothing to try",
        )
    if joins(config) and _says_true(config, SPLIT_LARGE_REQUESTS):
        yield Problem(
            f"parameters['{SPLIT_LARGE_REQUESTS}']",
            "a request is one entry of a ragged batch, however many rows it has: it cannot be cut",
        )


def joins(config: ModelConfig) -> bool:
    """Whether a batch is more than rows behind rows: the configuration says how it is joined, or cut."""
    ragged = any(tensor.allow_ragged_batch for tensor in config.input)
    return ragged or bool(config.batch_input) or bool(config.batch_output)


def _says_true(config: ModelConfig, name: str) -> bool:
    return name in config.parameters and config.parameters[name].string_value == "true"


def _input_problems(config: ModelConfig) -> Iterator[Problem]:
    targets = [name for batch_input in config.batch_input for name in batch_input.target_name]
    inputs = {tensor.name for tensor in config.input}
    for index, each in enumerate(config.batch_input):
        path = f"batch_input[{index}]"
        if each.kind not in BatchInput.Kind.values():
            yield Problem(f"{path}.kind", f"unknown batch input kind '{each.kind}'")
            continue
        if config.max_batch_size == 0:
            yield Problem(path, "there are no batches: max_batch_size is 0", incomplete=True)
        kind = BatchInput.Kind.Name(each.kind)
        yield from _source_problems(config, each.source_input, path, f"batch input kind '{kind}'")
        if each.data_type not in _NUMBERS:
            yield Problem(f"{path}.data_type", "batch input data type must be TYPE_INT32 or TYPE_FP32")
        if not each.target_name:
            yield Problem(f"{path}.target_name", "names no input of the model that gets the value")
        for name in dict.fromkeys(each.target_name):
            if name in inputs:
                text = f"clients send '{name}': remove it from the configuration's inputs, or from here"
                yield Problem(f"{path}.target_name", text)
            elif targets.count(name) > 1:
                yield Problem(f"{path}.target_name", f"target input name '{name}' can only be specified once")


def _output_problems(config: ModelConfig) -> Iterator[Problem]:
    outputs = {tensor.name: tensor for tensor in config.output}
    inputs = {tensor.name: tensor for tensor in config.input}
    targets = [name for batch_output in config.batch_output for name in batch_output.target_name]
    for index, each in enumerate(config.batch_output):
        path = f"batch_output[{index}]"
        if each.kind not in BatchOutput.Kind.values():
            yield Problem(f"{path}.kind", f"unknown batch output kind '{each.kind}'")
            continue
        if config.max_batch_size == 0:
            yield Problem(path, "there are no batches: max_batch_size is 0", incomplete=True)
        kind = BatchOutput.Kind.Name(each.kind)
        yield from _source_problems(config, each.source_input, path, f"batch output kind '{kind}'")
        source = inputs.get(each.source_input[0]) if each.source_input else None
        if not each.target_name:
            yield Problem(f"{path}.target_name", "names no output of the model that is cut")
        for name in dict.fromkeys(each.target_name):
            output = outputs.get(name)
            if output is None:
                text = f"unknown target output name '{name}'"
                yield Problem(f"{path}.target_name", text, incomplete=True)
            elif targets.count(name) > 1:
                yield Problem(
                    f"{path}.target_name", f"target output name '{name}' can only be specified once"
                )
            elif source is not None and source.dims:
                dims = [*(output.reshape.shape if output.HasField("reshape") else output.dims)]
                rank = len(source.reshape.shape) if source.HasField("reshape") else len(source.dims)
                beyond = [number for number, size in enumerate(dims) if size == -1 and number >= rank]
                if beyond:
                    yield Problem(
                        f"{path}.target_name",
                        f"dimension {beyond[0]} of '{name}' is that of '{source.name}', which has only {rank} "
                        "dimensions",
                    )


def _source_problems(config: ModelConfig, names: Sequence[str], path: str, subject: str) -> Iterator[Problem]:
    if len(names) != 1:
        yield Problem(f"{path}.source_input", f"{subject} expects 1 source input, got {len(names)}")
    inputs = {tensor.name: tensor for tensor in config.input}
    for name in names:
        if name not in inputs:
            yield Problem(f"{path}.source_input", f"unknown source input name '{name}'", incomplete=True)
        elif inputs[name].optional:
            yield Problem(
                f"{path}.source_input",
                f"source input '{name}' is optional: where it is missing nothing is known of its size",
            )
