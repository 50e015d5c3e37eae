"""Clients of servers that speak the v2 protocol: this one, Triton, MLServer, KServe's, over REST or gRPC.

    from kserve_v2.client import Client

    with Client("http://127.0.0.1:8000") as client:
        print(client.infer("digits", image=array)["probabilities"])

`AsyncClient` is the same for programs with an event loop.
"""

from kserve_v2.client.aio import AsyncClient, AsyncResultStream
from kserve_v2.client.errors import (
    ConnectionLostError,
    NoServerError,
    UnreachableError,
)
from kserve_v2.client.request import SequenceStep
from kserve_v2.client.result import Class, InferResult
from kserve_v2.client.sync import Client, ResultStream
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

__all__ = [
    "AlreadyExistsError",
    "AsyncClient",
    "AsyncResultStream",
    "Class",
    "Client",
    "ConnectionLostError",
    "DeadlineExceededError",
    "ErrorCode",
    "InferResult",
    "InternalError",
    "InvalidArgumentError",
    "NoServerError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "RequestCancelledError",
    "ResourceExhaustedError",
    "ResultStream",
    "SequenceStep",
    "ServingError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnknownError",
    "UnreachableError",
    "UnsupportedError",
]
