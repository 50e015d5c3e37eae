"""Errors as TorchServe tells them: a code, the name of an exception of its Java front end, and a text.

Clients match on these texts, so they are TorchServe's to the letter.
"""

import json

from kserve_v2.errors import ErrorCode, ServingError

_TYPES = {
    400: "BadRequestException",
    403: "InvalidModelVersionException",
    404: "ResourceNotFoundException",
    405: "MethodNotAllowedException",
    409: "ConflictStatusException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}


class TorchServeError(Exception):
    """What a client is told. `code`: the HTTP status."""

    def __init__(self, code: int, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind or _TYPES.get(code, "InternalServerException")
        self.message = message


def error_body(error: TorchServeError) -> bytes:
    """The body of an error."""
    return json_body({"code": error.code, "type": error.kind, "message": error.message})


def status_body(text: str) -> bytes:
    """The body of an answer that only says what has been done."""
    return json_body({"status": text})


def json_body(document: object) -> bytes:
    """JSON as TorchServe's own answers have it."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode(errors="replace")


# --- requests -------------------------------------------------------------------------------------------------------


def bad_request(message: str) -> TorchServeError:
    return TorchServeError(400, message)


def not_found() -> TorchServeError:
    """There is no such path."""
    return TorchServeError(404, "Requested resource is not found, please refer to API document.")


def method_not_allowed() -> TorchServeError:
    return TorchServeError(405, "Requested method is not allowed, please refer to API document.")


def not_authorized() -> TorchServeError:
    """TorchServe answers 400, and not 401."""
    return TorchServeError(
        400,
        "Token Authorization failed. Token either incorrect, expired, or not provided correctly",
        "InvalidKeyException",
    )


def not_authenticated() -> TorchServeError:
    """The same for whoever asks for a token."""
    return TorchServeError(
        400,
        "Token Authentication failed. Token either incorrect, expired, or not provided correctly",
        "InvalidKeyException",
    )


# --- models ---------------------------------------------------------------------------------------------------------


def model_not_found(name: str) -> TorchServeError:
    return TorchServeError(404, f"Model not found: {name}", "ModelNotFoundException")


def archive_not_found(url: str) -> TorchServeError:
    return TorchServeError(404, f"Model not found at: {url}", "ModelNotFoundException")


def version_not_found(name: str, version: str) -> TorchServeError:
    return TorchServeError(
        404, f"Model version: {version} does not exist for model: {name}", "ModelVersionNotFoundException"
    )


def no_such_version_to_choose(name: str, version: str) -> TorchServeError:
    """As above, in the words that `set-default` has."""
    return TorchServeError(
        404, f"Model version {version} does not exist for model {name}", "ModelVersionNotFoundException"
    )


def no_worker(name: str, version: str = "") -> TorchServeError:
    """Nothing can take a request now: no worker, or no room in the queue. The odd quote is TorchServe's."""
    which = f'Model "{name}" Version {version}"' if version else f'Model "{name}"'
    return TorchServeError(
        503,
        f"{which} has no worker to serve inference request. Please use scale workers API to add workers. If this is a "
        "sequence inference, please check if it is closed, or expired; or exceeds maxSequenceJobQueueSize",
    )


def already_registered(name: str, version: str) -> TorchServeError:
    return TorchServeError(409, f"Model version {version} is already registered for model {name}")


def default_version_stays(name: str) -> TorchServeError:
    return TorchServeError(403, f"Cannot remove default version for model {name}")


def workers_failed(name: str, version: str) -> TorchServeError:
    return TorchServeError(500, f"Failed to start workers for model {name} version: {version}")


# --- archives -------------------------------------------------------------------------------------------------------


def relative_path(url: str) -> TorchServeError:
    return TorchServeError(404, f"Relative path is not allowed in url: {url}", "ModelNotFoundException")


def not_allowed_url(url: str) -> TorchServeError:
    return TorchServeError(
        404, f"Given URL {url} does not match any allowed URL(s)", "ModelNotFoundException"
    )


def download_failed(url: str) -> TorchServeError:
    return TorchServeError(400, f"Failed to download archive from: {url}", "DownloadArchiveException")


def invalid_model(message: str) -> TorchServeError:
    return TorchServeError(400, message, "InvalidModelException")


def file_exists(name: str) -> TorchServeError:
    return TorchServeError(500, f"Model file already exists {name}")


# --- what happens to a prediction -----------------------------------------------------------------------------------

WORKER_DIED = "Worker died."
_BY_CODE = {
    ErrorCode.INVALID_ARGUMENT: (503, "Prediction failed"),
}


def prediction_failed(error: ServingError, name: str, version: str) -> TorchServeError:
    """What TorchServe answers where a request to a model has come to nothing. What the handler has raised stands in the
    log; its text is not for clients.
    """
    if error.code in (ErrorCode.UNAVAILABLE, ErrorCode.OVERLOADED, ErrorCode.NOT_FOUND):
        return no_worker(name, version)
    return TorchServeError(503, "Prediction failed", "InternalServerException")


# --- gRPC -----------------------------------------------------------------------------------------------------------

GRPC_CODES = {400: 3, 403: 7, 404: 5, 405: 12, 408: 4, 409: 10, 413: 8, 500: 13, 503: 14, 507: 13}
"""HTTP status to gRPC status."""
