"""The parameters of an inference request in JSON: which are for the model, and which for the server."""

import math
import re
from collections.abc import Callable
from typing import Any

import orjson

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest, ParameterValue
from kserve_v2.rest.members import boolean, optional, unsigned

# Says how the answer is encoded; it is not passed to the model.
_BINARY_DATA_OUTPUT = "binary_data_output"

# What a parameter over gRPC can be (`int64_param`).
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1
_MAX_UINT64 = 2**64 - 1

# A long integer that is a member of an object.
_LONG_INTEGER = re.compile(rb":[ \t\r\n]*(-?[0-9]{19,})(?![0-9.eE])")
_SHOWN_DIGITS = 40

# No name of a parameter is longer that stands in front of one, with its blanks.
_MOST_NAME_BYTES = 4096

Text = bytes | bytearray | memoryview


def decode_parameters(parameters: Any, request: InferRequest, text: Text) -> bool:
    """Add the request's parameters to it; returns whether outputs are binary unless they say otherwise. `text`: the
    JSON that they stand in.
    """
    if not isinstance(parameters, dict):
        raise InvalidArgumentError("failed to get request params.: attempt to get members for non-object")
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
        else:
            request.parameters[name] = custom_parameter(name, value, text)
    return boolean(optional(parameters, _BINARY_DATA_OUTPUT, False), _BINARY_DATA_OUTPUT)


def custom_parameter(name: str, value: Any, text: Text) -> ParameterValue:
    """A parameter for the model, out of the JSON in `text`. Raises InvalidArgumentError for what cannot be one.

    Triton makes a floating point number of an integer that is too large, and so another number.
    """
    if not isinstance(value, str | bool | int | float):
        raise InvalidArgumentError(
            f"parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'."
        )
    digits = ""
    if type(value) is int and not _MIN_INT64 <= value <= _MAX_INT64:
        digits = str(value)
    elif type(value) is float and _MAX_INT64 < abs(value) < math.inf:
        digits = _digits(name, text)
    if digits:
        shown = digits if len(digits) <= _SHOWN_DIGITS else f"{digits[:_SHOWN_DIGITS]}…"
        raise InvalidArgumentError(
            f"parameter '{name}' is an integer out of range: expected {_MIN_INT64} to {_MAX_INT64}, got {shown}"
        )
    taken: ParameterValue = value
    return taken


def _digits(name: str, text: Text) -> str:
    """How a parameter is written, if it is an integer: those of more than 64 bits are floating point numbers to
    parsers.
    """
    key = orjson.dumps(name)
    for found in _LONG_INTEGER.finditer(text):
        before = bytes(text[max(0, found.start() - _MOST_NAME_BYTES) : found.start()]).rstrip(b" \t\r\n")
        # A name may be written with other escapes than ours.
        if before.endswith(key) or (before.endswith(b'"') and b"\\" in before[-6 * len(key) :]):
            return found[1].decode()
    return ""


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
