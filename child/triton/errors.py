"""The errors of Triton's Python models."""

from __future__ import annotations

import enum
from typing import Any

from ..answers import ModelError


class TritonModelException(Exception):  # noqa: N818 - Triton's name
    """What the functions of `triton_python_backend_utils` raise."""


class ErrorCode(enum.IntEnum):
    """The kinds of a `TritonError`."""

    UNKNOWN = 0
    INTERNAL = 1
    NOT_FOUND = 2
    INVALID_ARG = 3
    UNAVAILABLE = 4
    UNSUPPORTED = 5
    ALREADY_EXISTS = 6
    CANCELLED = 7


class TritonError:
    """An error that a response has in place of tensors. It is no exception: it is returned, not raised."""

    UNKNOWN = ErrorCode.UNKNOWN
    INTERNAL = ErrorCode.INTERNAL
    NOT_FOUND = ErrorCode.NOT_FOUND
    INVALID_ARG = ErrorCode.INVALID_ARG
    UNAVAILABLE = ErrorCode.UNAVAILABLE
    UNSUPPORTED = ErrorCode.UNSUPPORTED
    ALREADY_EXISTS = ErrorCode.ALREADY_EXISTS
    CANCELLED = ErrorCode.CANCELLED

    def __init__(self, message: str, code: ErrorCode = ErrorCode.INTERNAL) -> None:
        if not isinstance(message, str):
            raise TypeError(f"TritonError: expected a string as message, got {type(message).__name__}")
        if not isinstance(code, ErrorCode):
            raise TypeError(f"TritonError: expected a code such as TritonError.INTERNAL, got {code!r}")
        self._message = message
        self._code = code

    def message(self) -> str:
        """Its text."""
        return self._message

    def code(self) -> ErrorCode:
        """Its kind."""
        return self._code

    def __repr__(self) -> str:
        return f"TritonError({self._message!r}, {self._code.name})"


# The server's codes, by Triton's; and the other way, of all that the server has.
_SERVER_CODES = {
    ErrorCode.UNKNOWN: "UNKNOWN",
    ErrorCode.INTERNAL: "INTERNAL",
    ErrorCode.NOT_FOUND: "NOT_FOUND",
    ErrorCode.INVALID_ARG: "INVALID_ARGUMENT",
    ErrorCode.UNAVAILABLE: "UNAVAILABLE",
    ErrorCode.UNSUPPORTED: "UNSUPPORTED",
    ErrorCode.ALREADY_EXISTS: "ALREADY_EXISTS",
    ErrorCode.CANCELLED: "CANCELLED",
}
_TRITON_CODES = {name: code for code, name in _SERVER_CODES.items()}
_TRITON_CODES["OVERLOADED"] = ErrorCode.UNAVAILABLE
_TRITON_CODES["RESOURCE_EXHAUSTED"] = ErrorCode.INVALID_ARG


def model_error(error: TritonError) -> ModelError:
    """The outcome of a request that a model has answered with an error."""
    return ModelError(error.message(), _SERVER_CODES[error.code()])


def code_name(error: BaseException) -> str:
    """The name of the server's code of an error, whatever class that is in this process."""
    code: Any = getattr(error, "code", None)
    name = getattr(code, "name", code)
    return name if isinstance(name, str) else "INTERNAL"


def error_text(error: BaseException) -> str:
    """What an error of the server's says."""
    message = getattr(error, "message", None)
    return message if isinstance(message, str) else str(error) or type(error).__name__


def triton_error(error: BaseException) -> TritonError:
    """What a model gets of another model's error."""
    return TritonError(error_text(error), _TRITON_CODES.get(code_name(error), ErrorCode.INTERNAL))


def failed(instance: str, text: str) -> str:
    """How Triton words what has failed in a model."""
    return f"Failed to process the request(s) for model '{instance}', message: {text}"
