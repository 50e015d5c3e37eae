"""Validation of the declared inputs and outputs. Texts follow Triton's, which clients and tests match on."""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod

from kserve_v2._generated.model_config_pb2 import DataType, ModelConfig, ModelInput, ModelOutput
from kserve_v2.config.problems import Problem

VARIABLE = -1
BAD_DIMENSION = "dimension must be integer >= 1, or -1 to indicate a variable-size dimension"


def tensor_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield what is wrong with the inputs and outputs, each on its own and as lists of names."""
    for index, tensor in enumerate(config.input):
        yield from _common_problems(config, tensor, f"input[{index}]", f"model input '{tensor.name}'")
        yield from _format_problems(config, tensor, f"input[{index}]")
    for index, output in enumerate(config.output):
        yield from _common_problems(config, output, f"output[{index}]", f"model output '{output.name}'")
    yield from _repeated_names("input", [tensor.name for tensor in config.input])
    yield from _repeated_names("output", [output.name for output in config.output])


def _common_problems(
    config: ModelConfig, tensor: ModelInput | ModelOutput, path: str, subject: str
) -> Iterator[Problem]:
    model = config.name
    if not tensor.name:
        unnamed = subject.removesuffix(" ''")
        yield Problem(f"{path}.name", f"{unnamed} must specify 'name' for {model}")
    if tensor.data_type == DataType.TYPE_INVALID:
        text = f"{subject} must specify 'data_type' for {model}"
        yield Problem(f"{path}.data_type", text, incomplete=True)
    elif tensor.data_type not in DataType.values():
        yield Problem(f"{path}.data_type", f"{subject} has unknown data type {tensor.data_type} for {model}")
    if not tensor.dims:
        yield Problem(f"{path}.dims", f"{subject} must specify 'dims' for {model}", incomplete=True)
    bad = [*_bad_dimensions(tensor.dims, f"{path}.dims", f"{subject} {BAD_DIMENSION} for {model}")]
    if tensor.HasField("reshape"):
        text = f"{subject} reshape {BAD_DIMENSION} for {model}"
        bad += _bad_dimensions(tensor.reshape.shape, f"{path}.reshape.shape", text)
        wrong = None if bad else _reshape_error(tensor.dims, tensor.reshape.shape, config.max_batch_size > 0)
        if wrong:
            # Dims may still come from the model's file, and so may the batch dimension that a scalar needs.
            incomplete = not tensor.dims or (not tensor.reshape.shape and config.max_batch_size == 0)
            yield Problem(f"{path}.reshape", f"{subject} {wrong.format(model=model)}", incomplete)
    yield from bad


def _bad_dimensions(dims: Sequence[int], path: str, message: str) -> Iterator[Problem]:
    for index, dim in enumerate(dims):
        if dim < 1 and dim != VARIABLE:
            yield Problem(f"{path}[{index}]", f"{message}, got {dim}")


def _reshape_error(dims: Sequence[int], shape: Sequence[int], batching: bool) -> str | None:
    """Return what is wrong with a reshape of `dims` to `shape`.

    The variable dimensions cut each shape into parts, which must hold as many elements on both sides:
    [2,4,-1,6] may become [8,-1,1,6]. The empty shape is a scalar, which takes a batch
    dimension to be a tensor.
    """
    if not shape and not batching:
        return (
            "cannot have empty reshape for non-batching model as scalar tensors are not supported for {model}"
        )
    if (VARIABLE in dims) != (VARIABLE in shape):
        return "has different size for dims and reshape for {model}"
    dims_parts, shape_parts = _part_sizes(dims), _part_sizes(shape)
    if len(dims_parts) != len(shape_parts):
        return "has different number of variable-size dimensions for dims and reshape for {model}"
    if dims and dims_parts != shape_parts:
        return "has different size for dims and reshape for {model}"
    return None


def _part_sizes(shape: Sequence[int]) -> list[int]:
    """Return the element counts of the parts between variable dimensions; an empty part counts 1."""
    parts: list[list[int]] = [[]]
    for dim in shape:
        if dim == VARIABLE:
            parts.append([])
        else:
            parts[-1].append(dim)
    return [prod(part) for part in parts]


def _format_problems(config: ModelConfig, tensor: ModelInput, path: str) -> Iterator[Problem]:
    if tensor.format != ModelInput.FORMAT_NONE and len(tensor.dims) != 3:
        text = f"model input NHWC/NCHW require 3 dims for {config.name}"
        yield Problem(f"{path}.format", text, incomplete=not tensor.dims)


def _repeated_names(field: str, names: Sequence[str]) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if name and count > 1:
            second = names.index(name, names.index(name) + 1)
            yield Problem(f"{field}[{second}].name", f"{field} '{name}' is declared {count} times")
