"""What a client raises: the errors of `kserve_v2.errors` by the status that a server answers with, and a few that only
a client can have.
"""

from kserve_v2.errors import (
    AlreadyExistsError,
    DeadlineExceededError,
    ErrorCode,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RequestCancelledError,
    ResourceExhaustedError,
    ServingError,
    UnauthenticatedError,
    UnavailableError,
    UnknownError,
    UnsupportedError,
)


class UnreachableError(UnavailableError):
    """There is no server at the address, or none that this client can talk to. Nothing was sent.

    `url`: where it was looked for. `reason`: why there is no connection.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"no server answers at {url}: {reason}; start one with kserve-v2 serve, or give the client another URL"
        )
        self.url = url
        self.reason = reason


class ConnectionLostError(UnavailableError):
    """The connection broke before the answer was there. The request may have been executed."""


class NoServerError(ServingError):
    """What answers at the address does not speak the protocol."""

    code = ErrorCode.UNKNOWN


class InvitedError(Exception):
    """Inside the client: a server has refused a request before anything was done, and says when to ask again. `error`:
    what the caller gets if that is not done.
    """

    def __init__(self, error: ServingError, after_s: float) -> None:
        super().__init__(error.message)
        self.error = error
        self.after_s = after_s


_BY_HTTP: dict[int, type[ServingError]] = {
    400: InvalidArgumentError,
    401: UnauthenticatedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: UnsupportedError,
    408: DeadlineExceededError,
    409: AlreadyExistsError,
    413: ResourceExhaustedError,
    422: InvalidArgumentError,
    429: OverloadedError,
    499: RequestCancelledError,
    500: InternalError,
    501: UnsupportedError,
    502: UnavailableError,
    503: UnavailableError,
    504: DeadlineExceededError,
}

_BY_GRPC: dict[int, type[ServingError]] = {
    1: RequestCancelledError,
    2: UnknownError,
    3: InvalidArgumentError,
    4: DeadlineExceededError,
    5: NotFoundError,
    6: AlreadyExistsError,
    7: PermissionDeniedError,
    8: ResourceExhaustedError,
    9: InvalidArgumentError,
    11: InvalidArgumentError,
    12: UnsupportedError,
    13: InternalError,
    14: UnavailableError,
    16: UnauthenticatedError,
}


def of_http_status(status: int, message: str) -> ServingError:
    """The error that a status of HTTP stands for."""
    kind = _BY_HTTP.get(status, InternalError if status >= 500 else NoServerError)
    return kind(message)


def of_grpc_status(status: int, message: str) -> ServingError:
    """The error that a status of gRPC stands for."""
    return _BY_GRPC.get(status, UnknownError)(message)
