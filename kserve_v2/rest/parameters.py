"""The parameters of an inference request in JSON: which are for the model, and which for the server."""

from collections.abc import Callable
from typing import Any

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest, ParameterValue
from kserve_v2.net.limits import check_parameters
from kserve_v2.rest.members import boolean, optional, unsigned

# Says how the answer is encoded; it is not passed to the model.
_BINARY_DATA_OUTPUT = "binary_data_output"

# Integers beyond this are passed on as floating point numbers, as Triton does.
_MAX_INT64 = 2**63 - 1
_MAX_UINT64 = 2**64 - 1


def decode_parameters(parameters: Any, request: InferRequest) -> bool:
    """Add the request's parameters to it; returns whether outputs are binary unless they say otherwise."""
    if not isinstance(parameters, dict):
        raise InvalidArgumentError("failed to get request params.: attempt to get members for non-object")
    check_parameters(len(parameters))
    for name, value in parameters.items():
        if name == _BINARY_DATA_OUTPUT:
            continue
        if name in _CONTROL:
            if value is not None:
                request.control[name] = _CONTROL[name](value, name)
        elif name.startswith("triton_"):
            raise InvalidArgumentError(
                "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified."
            )
        elif not isinstance(value, str | bool | int | float):
            raise InvalidArgumentError(
                f"parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'."
            )
        else:
            request.parameters[name] = float(value) if type(value) is int and value > _MAX_INT64 else value
    return boolean(optional(parameters, _BINARY_DATA_OUTPUT, False), _BINARY_DATA_OUTPUT)


def _correlation_id(value: Any, member: str) -> int | str:
    if isinstance(value, str) or (type(value) is int and 0 <= value <= _MAX_UINT64):
        return value
    raise InvalidArgumentError(f"Unable to parse '{member}': attempt to access JSON non-string as string")


# Parameters that the server itself acts on, and the check for each.
_CONTROL: dict[str, Callable[[Any, str], ParameterValue]] = {
    "sequence_id": _correlation_id,
    "sequence_start": boolean,
    "sequence_end": boolean,
    "priority": unsigned,
    "timeout": unsigned,
}
