"""What becomes of an execution that has failed: a line in the log, and the error that the client gets."""

import logging
import secrets

from kserve_v2.backend import Placement
from kserve_v2.errors import ErrorCode, InternalError, ServingError, describe

logger = logging.getLogger(__name__)


def report_failure(
    error: BaseException, request_id: str, placement: Placement, *, final: bool = True
) -> ServingError:
    """What the client is told of its failed request. What is not the client's fault is logged, with its traceback, if
    the failure is `final`: the request is not executed again.

    A `ServingError` is told as it is: who raised it meant its text for the client. Anything else is told by its type
    and its text, in the form that Triton has for it, and with the request id that finds its traceback in the log: one
    that is made up here, if the request has none.
    """
    if not isinstance(error, ServingError):
        request_id = request_id or secrets.token_hex(8)
        told: ServingError = InternalError(
            f"Failed to process the request(s) for model '{placement.name}', message: {describe(error)} "
            f"(request_id={request_id} in the server's log)"
        )
    elif error.code is not ErrorCode.INTERNAL:
        return error
    else:
        told = error
    if final:
        extra = {"request_id": request_id or None}
        logger.error("execution failed in %s", placement.name, exc_info=error, extra=extra)
    return told
