"""Values of a program as the tensors of a request, and those of an answer as the program's own arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.handlers.context import Answer
from kserve_v2.messages import InferRequest, InferResponse, ParameterValue, TensorMetadata
from kserve_v2.tensors.datatypes import BY_DTYPE, BY_NAME, BYTES, Array

_CONTROL = ("priority", "timeout", "sequence_id", "sequence_start", "sequence_end")


def make_request(
    model: str,
    inputs: Mapping[str, Any],
    declared: Mapping[str, TensorMetadata],
    version: str,
    outputs: tuple[str, ...],
    parameters: Mapping[str, ParameterValue],
) -> InferRequest:
    """A request. `declared`: the model's inputs, for values that have no datatype of their own. Raises
    InvalidArgumentError for what is no tensor.
    """
    tensors = {name: _array(name, value, declared.get(name)) for name, value in inputs.items()}
    request = InferRequest(model, tensors, version, requested_outputs=outputs)
    for name, value in parameters.items():
        (request.control if name in _CONTROL else request.parameters)[name] = value
    return request


def _array(name: str, value: Any, declared: TensorMetadata | None) -> Array:
    """A copy, which nobody else writes to: an answer may be kept by it."""
    datatype = "" if declared is None else declared.datatype
    if hasattr(value, "detach"):
        # A torch tensor, on any device.
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            # numpy has no such type of its own; by 32 bits nothing is lost.
            value = value.float().numpy().astype(BY_NAME["BF16"].dtype)
        else:
            value = value.numpy()
    has_datatype = isinstance(value, np.ndarray | np.generic)
    try:
        array = np.array(value, order="C") if has_datatype or not datatype else _converted(value, datatype)
    except (TypeError, ValueError, OverflowError) as error:
        expected = f"values of {datatype}" if datatype else "an array"
        raise InvalidArgumentError(f"input '{name}': expected {expected}: {error}") from None
    if declared is not None and not has_datatype and array.ndim == 0:
        # One value for whatever has one element.
        array = array.reshape((1,) * len(declared.shape))
    if array.dtype.kind in "OSU":
        array = _texts(name, array)
    elif array.dtype not in BY_DTYPE:
        raise InvalidArgumentError(
            f"input '{name}': there is no datatype for {array.dtype}; convert it with .astype"
        )
    array.flags.writeable = False
    return array


def _converted(value: Any, datatype: str) -> Array:
    """Numbers of Python have no datatype of their own."""
    if datatype == BYTES.name:
        return np.array(value, dtype=object)
    return np.array(value, dtype=BY_NAME[datatype].dtype, order="C")


def _texts(name: str, array: Array) -> Array:
    elements = array.ravel().tolist()
    for each in elements:
        if not isinstance(each, str | bytes):
            raise InvalidArgumentError(f"input '{name}': expected texts or bytes, got {type(each).__name__}")
    encoded = np.empty(len(elements), object)
    encoded[:] = [each.encode() if isinstance(each, str) else each for each in elements]
    return encoded.reshape(array.shape)


def answer_of(response: InferResponse) -> Answer:
    """The outputs, as arrays that are the program's alone."""
    if response.error is not None:
        raise response.error
    answer = Answer({name: np.array(array) for name, array in response.outputs.items()})
    answer.version, answer.parameters = response.model_version, dict(response.parameters)
    return answer
