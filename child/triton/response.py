"""`pb_utils.InferenceResponse`, and what the server gets of one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..answers import ModelError
from .errors import TritonError, TritonModelException, failed, model_error
from .tensor import Tensor, sent

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1


class InferenceResponse:
    """One response: tensors, or an error."""

    __slots__ = ("_error", "_outputs", "_parameters")

    def __init__(
        self,
        output_tensors: Sequence[Tensor] = (),
        error: TritonError | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        outputs = list(output_tensors)
        for tensor in outputs:
            if tensor is None:
                raise TritonModelException("Output tensor for inference response should not be empty.")
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"InferenceResponse: expected a list of Tensor objects, got a {type(tensor).__name__}"
                )
        if error is not None and not isinstance(error, TritonError):
            raise TypeError(f"InferenceResponse: expected a TritonError as error, got {type(error).__name__}")
        # Of a response with an error, tensors are not taken.
        self._outputs = outputs if error is None else []
        self._error = error
        self._parameters = {} if parameters is None else checked_parameters(parameters)

    def output_tensors(self) -> list[Tensor]:
        """Its tensors."""
        return self._outputs

    def has_error(self) -> bool:
        """Whether it is an error."""
        return self._error is not None

    def error(self) -> TritonError | None:
        """The error, None if it has tensors."""
        return self._error

    def parameters(self) -> str:
        """Its parameters, as JSON."""
        return json.dumps(self._parameters)


def checked_parameters(parameters: Any) -> dict[str, Any]:
    """A copy of what a model gives as parameters. Raises TritonModelException."""
    if not isinstance(parameters, Mapping):
        raise TritonModelException(f"Expect parameters to have type dict, found type {type(parameters)}")
    for name, value in parameters.items():
        if not isinstance(name, str):
            raise TritonModelException(f"Expect parameters keys to have type str, found type {type(name)}")
        if not isinstance(value, (bool, int, str)):
            raise TritonModelException(
                f"Expect parameters values to have type bool/int/str, found type {type(value)}"
            )
        if isinstance(value, int) and not _MIN_INT <= value <= _MAX_INT:
            raise TritonModelException(f"parameter '{name}': {value} does not fit into 64 bits")
    return dict(parameters)


def outputs_of(response: InferenceResponse, wanted: frozenset[str], instance: str) -> dict[str, Any]:
    """The tensors of a response as the server takes them, those that are `wanted`. `instance`: the name of the one that
    has made it, for errors. Raises ModelError.
    """
    if response._error is not None:
        raise model_error(response._error)
    outputs: dict[str, Any] = {}
    for tensor in response._outputs:
        name = tensor.name()
        if name in outputs:
            raise ModelError(failed(instance, f"the response has more than one output '{name}'"))
        if name in wanted:
            try:
                outputs[name] = sent(tensor)
            except TritonModelException as error:
                raise ModelError(failed(instance, str(error))) from error
    return outputs


def parameters_of(response: InferenceResponse) -> dict[str, Any]:
    """Those of a response."""
    return response._parameters
