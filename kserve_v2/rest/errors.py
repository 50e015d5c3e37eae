"""Errors as REST answers: the one place where an exception becomes a status and a body."""

import orjson
from starlette.responses import Response

from kserve_v2.errors import RETRY_AFTER_S, ServingError, may_try_again
from kserve_v2.rest.compression import ENCODINGS, UnsupportedEncodingError
from kserve_v2.scheduling import failures


def error_body(message: str) -> bytes:
    """The body of every error."""
    return orjson.dumps({"error": message})


def error_response(error: ServingError) -> Response:
    """The answer to a request that failed with `error`."""
    headers: dict[str, str] = {}
    if may_try_again(error):
        headers["retry-after"] = str(RETRY_AFTER_S)
    elif isinstance(error, UnsupportedEncodingError):
        headers["accept-encoding"] = ENCODINGS
    return Response(error_body(error.message), error.code.value.http, headers, "application/json")


def method_not_allowed(allowed: str) -> Response:
    """The answer to a request whose path is right and whose method is not."""
    return Response(error_body("Method Not Allowed"), 405, {"allow": allowed}, "application/json")


def known(error: Exception) -> ServingError:
    """The error that the client gets for `error`; see `failures.known`."""
    return failures.known(error, "REST front end")
