"""What a model has put into `InferRequest.response_parameters`, checked once, where its answer is taken."""

from collections.abc import Mapping

import numpy as np

from kserve_v2.errors import InternalError
from kserve_v2.messages import InferRequest, ParameterValue

# As the protobuf message has them: a signed and an unsigned field.
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1


def take_response_parameters(request: InferRequest, model_name: str) -> None:
    """Make the response parameters of a request what both protocols can carry: bool, int, float or str. The scalars of
    numpy become the numbers that they are.

    Raises InternalError for anything else, which names the parameter.
    """
    given: object = request.response_parameters
    if not isinstance(given, Mapping):
        raise InternalError(
            f"model '{model_name}' set response_parameters to {_kind(given)}, expected a dict"
        )
    taken: dict[str, ParameterValue] = {}
    for key, value in given.items():
        name = _name(key, model_name)
        taken[name] = _value(name, value, model_name)
    request.response_parameters = taken


def _name(name: object, model_name: str) -> str:
    if not isinstance(name, str):
        raise InternalError(f"model '{model_name}' named a response parameter by {_kind(name)}, expected str")
    return _text(name, f"the name of a response parameter of model '{model_name}'")


def _value(name: str, value: object, model_name: str) -> ParameterValue:
    where = f"response parameter '{name}' of model '{model_name}'"
    plain = value.item() if isinstance(value, np.generic) else value
    # Exactly these types: a subclass may override any method.
    if isinstance(plain, bool):
        return plain
    if isinstance(plain, int):
        if not _MIN_INT <= plain <= _MAX_INT:
            raise InternalError(f"{where} is an integer of more than 64 bits")
        return int.__int__(plain)
    if isinstance(plain, float):
        return float.__float__(plain)
    if isinstance(plain, str):
        return _text(plain, where)
    raise InternalError(f"{where} is {_kind(value)}, expected bool, int, float or str")


def _text(text: str, where: str) -> str:
    plain = str.__str__(text)
    try:
        plain.encode()
    except UnicodeEncodeError as error:
        raise InternalError(f"{where} has no form in UTF-8") from error
    return plain


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
