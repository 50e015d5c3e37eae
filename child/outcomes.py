"""What instances answer with, as it goes to the server: looked at only for whether it can; the server checks it against
the model's configuration.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .channel.messages import Array

Json = dict[str, Any]


class MistakeError(Exception):
    """The model has given what cannot be an answer; the text is for clients."""

    told_as = "InternalError"


def sendable(outputs: Any, model: str) -> dict[str, Array]:
    """The outputs of one execution, or one response. Raises MistakeError."""
    # What is usual comes first, here and below: it is asked for every answer.
    if type(outputs) is not dict and not isinstance(outputs, Mapping):
        raise MistakeError(f"model '{model}' gave {_kind(outputs)}, expected a dict of its outputs")
    return {_name(name, model): _array(value, name, model) for name, value in outputs.items()}


def sendable_list(
    outputs: Any, requests: Sequence[Any], model: str
) -> tuple[list[dict[str, Array]], dict[int, BaseException]]:
    """The outputs for each of several requests, and by their places those that have failed. Raises MistakeError."""
    if not isinstance(outputs, (list, tuple)) or len(outputs) != len(requests):
        got = f"{len(outputs)} answers" if isinstance(outputs, (list, tuple)) else _kind(outputs)
        raise MistakeError(
            f"model '{model}' gave {got} to {len(requests)} requests, expected a list with one dict for each"
        )
    groups: list[dict[str, Array]] = []
    failures: dict[int, BaseException] = {}
    for index, each in enumerate(outputs):
        sent = each if isinstance(each, BaseException) else _sendable_or_mistake(each, model)
        if isinstance(sent, BaseException):
            failures[index] = sent
            sent = {}
        groups.append(sent)
    return groups, failures


def _sendable_or_mistake(outputs: Any, model: str) -> dict[str, Array] | MistakeError:
    """What cannot be sent is the mistake of one answer, and not of the others."""
    try:
        return sendable(outputs, model)
    except MistakeError as error:
        return error


def _name(name: Any, model: str) -> str:
    if not isinstance(name, str):
        raise MistakeError(f"model '{model}' gave an output named by {_kind(name)}, expected str")
    return str.__str__(name)


def _array(value: Any, name: Any, model: str) -> Array:
    if type(value) is np.ndarray:
        return value
    if not isinstance(value, np.ndarray) or _is_masked(value):
        raise MistakeError(f"output '{name}' of model '{model}' is {_kind(value)}, expected a numpy array")
    return np.asarray(value)


def _is_masked(value: Any) -> bool:
    ma = sys.modules.get("numpy.ma")
    return ma is not None and isinstance(value, ma.MaskedArray)


def parameters(requests: Sequence[Any], model: str) -> list[Json] | None:
    """The response parameters of each request; None if there are none. Raises MistakeError."""
    if not [each for each in requests if each.response_parameters]:
        return None
    return [_parameters(request.response_parameters, model) for request in requests]


def _parameters(given: Any, model: str) -> Json:
    if type(given) is not dict and not isinstance(given, Mapping):
        raise MistakeError(f"model '{model}' set response_parameters to {_kind(given)}, expected a dict")
    return {_parameter_name(name, model): _value(name, value, model) for name, value in given.items()}


def _parameter_name(name: Any, model: str) -> str:
    if not isinstance(name, str):
        raise MistakeError(f"model '{model}' named a response parameter by {_kind(name)}, expected str")
    return str.__str__(name)


def _value(name: Any, value: Any, model: str) -> Any:
    if type(value) is str:
        return value
    plain = value.item() if isinstance(value, np.generic) else value
    # Exactly these types: a subclass may override any method.
    if isinstance(plain, bool):
        return plain
    if isinstance(plain, int):
        return int.__int__(plain)
    if isinstance(plain, float):
        return float.__float__(plain)
    if isinstance(plain, str):
        return str.__str__(plain)
    raise MistakeError(
        f"response parameter '{name}' of model '{model}' is {_kind(value)}, expected bool, int, float or str"
    )


def next_inputs(requests: Sequence[Any], model: str) -> tuple[list[int], list[dict[str, Array]]]:
    """Which of the requests are to be executed again, and with what in the place of their inputs. Raises
    MistakeError.
    """
    again = [
        index
        for index, request in enumerate(requests)
        if request.sequence is not None and request.sequence.next_inputs is not None
    ]
    if not again:
        return again, []
    return again, [sendable(requests[index].sequence.next_inputs, model) for index in again]


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
