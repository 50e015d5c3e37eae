"""Every error that a client can be told about, and the one table from error code to HTTP and gRPC status.

A module raises the exception that says what went wrong; only the front ends turn it into a status number, by
this table.
"""

import re
from enum import Enum
from typing import ClassVar, NamedTuple

# The directories of an absolute path; those of a URL or a fraction are left alone.
_DIRECTORIES = re.compile(r"(?<![\w.:/])(?:/[^\s/'\":]+)+/")


class Status(NamedTuple):
    """What one error code becomes on the wire: HTTP status, gRPC status."""

    http: int
    grpc: int


class ErrorCode(Enum):
    """The protocol's error codes; each value is its pair of status numbers."""

    INVALID_ARGUMENT = Status(400, 3)
    NOT_FOUND = Status(404, 5)
    ALREADY_EXISTS = Status(409, 6)
    RESOURCE_EXHAUSTED = Status(413, 8)
    UNAUTHENTICATED = Status(401, 16)
    PERMISSION_DENIED = Status(403, 7)
    CANCELLED = Status(499, 1)
    INTERNAL = Status(500, 13)
    UNSUPPORTED = Status(501, 12)
    UNAVAILABLE = Status(503, 14)
    OVERLOADED = Status(503, 8)


class ServingError(Exception):
    """Base of all errors meant for the client. `message` is sent as it is: no traceback, path or internal
    name in it. What has no form in UTF-8, as may be in the names of files, becomes question marks.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL

    def __init__(self, message: str) -> None:
        self.message = message.encode(errors="replace").decode()
        super().__init__(self.message)


class InvalidArgumentError(ServingError):
    """The client's request or configuration is wrong: repeating it unchanged cannot help."""

    code = ErrorCode.INVALID_ARGUMENT


class ContradictionError(InvalidArgumentError):
    """A model's file says something else than its configuration. The text lists every such place."""


class NotFoundError(ServingError):
    """No such model, version or region."""

    code = ErrorCode.NOT_FOUND


class AlreadyExistsError(ServingError):
    """The name is taken."""

    code = ErrorCode.ALREADY_EXISTS


class ResourceExhaustedError(ServingError):
    """A message is larger than the server accepts."""

    code = ErrorCode.RESOURCE_EXHAUSTED


class OverloadedError(ServingError):
    """The server has no room for the request now. Worth another try, later."""

    code = ErrorCode.OVERLOADED


class UnauthenticatedError(ServingError):
    """The caller has not said who it is."""

    code = ErrorCode.UNAUTHENTICATED


class PermissionDeniedError(ServingError):
    """The caller may not do this."""

    code = ErrorCode.PERMISSION_DENIED


class RequestCancelledError(ServingError):
    """The request was given up before it had an answer."""

    code = ErrorCode.CANCELLED


class InternalError(ServingError):
    """The server or the model failed on a request that was in order."""

    code = ErrorCode.INTERNAL


class UnsupportedError(ServingError):
    """A correct request for something that this server, or this model, does not do."""

    code = ErrorCode.UNSUPPORTED


class UnavailableError(ServingError):
    """Not now: not ready, draining, queue full, queue time-out, instance lost. Worth another try."""

    code = ErrorCode.UNAVAILABLE


def without_directories(text: str) -> str:
    """`text` with every absolute path cut to its last component: clients must not learn where things lie."""
    return _DIRECTORIES.sub("", text)


def describe(error: BaseException) -> str:
    """Type and text of any exception, fit for clients."""
    text = error.msg if isinstance(error, SyntaxError) else without_directories(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
