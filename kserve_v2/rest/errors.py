"""Errors as REST answers: the one place where an exception becomes a status and a body."""

import logging

import orjson
from starlette.responses import Response

from kserve_v2.errors import ErrorCode, InternalError, ServingError
from kserve_v2.rest.compression import ENCODINGS, UnsupportedEncodingError

logger = logging.getLogger(__name__)

RETRY_AFTER = "1"
"""How long a client should wait before it tries again, in seconds."""


def error_body(message: str) -> bytes:
    """The body of every error."""
    return orjson.dumps({"error": message})


def error_response(error: ServingError) -> Response:
    """The answer to a request that failed with `error`."""
    headers: dict[str, str] = {}
    if error.code in (ErrorCode.UNAVAILABLE, ErrorCode.OVERLOADED):
        headers["retry-after"] = RETRY_AFTER
    elif isinstance(error, UnsupportedEncodingError):
        headers["accept-encoding"] = ENCODINGS
    return Response(error_body(error.message), error.code.value.http, headers, "application/json")


def method_not_allowed(allowed: str) -> Response:
    """The answer to a request whose path is right and whose method is not."""
    return Response(error_body("Method Not Allowed"), 405, {"allow": allowed}, "application/json")


def unexpected(error: Exception, request_id: str = "") -> ServingError:
    """Log a defect of ours, and make the error that the client gets instead: no traceback, path or internal
    name.
    """
    logger.error(
        "unexpected error in the REST front end", exc_info=error, extra={"request_id": request_id or None}
    )
    return InternalError("internal error: the server's log has the details")
