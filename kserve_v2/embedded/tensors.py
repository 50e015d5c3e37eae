"""Values of a program as the tensors of a request, and those of an answer as the program's own arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kserve_v2.handlers.context import Answer
from kserve_v2.messages import InferRequest, InferResponse, ParameterValue, TensorMetadata
from kserve_v2.tensors.datatypes import BY_NAME, Array
from kserve_v2.tensors.values import is_torch, to_array, torch_array

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
    if is_torch(value):
        value = torch_array(value)
    # What has a datatype of its own keeps it: whether it is the model's is checked as for other requests.
    wanted = None if declared is None or isinstance(value, np.ndarray | np.generic) else declared
    datatype = None if wanted is None else BY_NAME[wanted.datatype]
    array: Array = np.array(to_array(value, datatype, name), order="C")
    if wanted is not None and array.ndim == 0:
        # One value for whatever has one element.
        array = array.reshape((1,) * len(wanted.shape))
    array.flags.writeable = False
    return array


def answer_of(response: InferResponse) -> Answer:
    """The outputs, as arrays that are the program's alone."""
    if response.error is not None:
        raise response.error
    answer = Answer({name: np.array(array) for name, array in response.outputs.items()})
    answer.version, answer.parameters = response.model_version, dict(response.parameters)
    return answer
