"""TorchServe's errors as gRPC statuses: the text, and the Java class behind it, which clients see, too."""

from kserve_v2.errors import (
    AbortedError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ServingError,
    UnavailableError,
    UnfinishedError,
    UnsupportedError,
)
from kserve_v2.torchserve_api.errors import TorchServeError

_ARCHIVE = "org.pytorch.serve.archive"
_PACKAGES = {
    "ModelNotFoundException": f"{_ARCHIVE}.model",
    "ModelVersionNotFoundException": f"{_ARCHIVE}.model",
    "InvalidModelException": f"{_ARCHIVE}.model",
    "DownloadArchiveException": _ARCHIVE,
    "InvalidKeyException": "java.security",
}
_HTTP = "org.pytorch.serve.http"

_KINDS: dict[int, type[ServingError]] = {
    400: InvalidArgumentError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: UnsupportedError,
    409: AbortedError,
    # Nothing is to be sent again by itself: a prediction may have been made.
    503: UnfinishedError,
}


def grpc_error(error: TorchServeError, *, predicting: bool = False) -> ServingError:
    """What an RPC raises. `predicting`: of a prediction, where TorchServe tells of a model that is not there as of a
    failure of its own.
    """
    if error.kind == "InvalidKeyException":
        return PermissionDeniedError(error.message)
    kind = _KINDS.get(error.code, InternalError)
    if predicting and kind in (NotFoundError, InvalidArgumentError):
        kind = InternalError
    if kind is UnfinishedError and error.kind == "ServiceUnavailableException":
        kind = UnavailableError
    return kind(f"{error.message}\n{_PACKAGES.get(error.kind, _HTTP)}.{error.kind}")
