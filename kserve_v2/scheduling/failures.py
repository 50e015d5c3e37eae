"""What becomes of a request that has failed: a line in the log, and the error that the client gets."""

import asyncio
import logging
import secrets
from typing import Any

from kserve_v2.backend import Placement
from kserve_v2.errors import (
    ErrorCode,
    ExitingError,
    InternalError,
    ServingError,
    UnavailableError,
    as_serving_error,
    describe,
    has_text,
    ordinary,
)
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.contained import log_error

logger = logging.getLogger(__name__)


def known(error: Exception, where: str) -> ServingError:
    """A ServingError as it is. Anything else is a defect of ours: it is logged, and the client gets an error without
    traceback, path or internal name. `where`: the part of the server that has raised it.
    """
    if isinstance(error, ServingError):
        return error
    logger.error("unexpected error in the %s", where, exc_info=error)
    return InternalError("internal error: the server's log has the details")


def unless_cancelled(error: BaseException) -> Exception:
    """An error that a task has caught, as one that ends its work. What it has waited for may have been cancelled, and
    then somebody waits for its outcome all the same. Raises `error` if the task itself was.
    """
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
    return ordinary(error)


def unheard(work: "asyncio.Future[Any]") -> None:
    """The outcome of work that may have ended without anybody who waits for it: an error that nobody takes is reported
    by asyncio.
    """
    if not work.cancelled():
        work.exception()


def not_executed(why: str = "") -> UnavailableError:
    """The outcome of a request that still waits when the time is up: that of the server, or else `why`."""
    return UnavailableError(why) if why else ExitingError("Server exiting: the request was not executed")


def no_answer() -> InternalError:
    """The outcome of a request that a model has ended, with neither an answer nor an error."""
    return InternalError("the model has ended without an answer")


def report_failure(
    error: BaseException, request: InferRequest, placement: Placement, *, final: bool = True
) -> ServingError:
    """What the client is told of its failed request. What is not the client's fault is logged, with its traceback, if
    the failure is `final`: the request is not executed again; and unless the request says that enough was logged.

    A `ServingError` is told as it is: who raised it meant its text for the client. Anything else is told by its type
    and its text, in the form that Triton has for it, and with the request id that finds its traceback in the log: one
    that is made up here, if the request has none. So is a ServingError without a text.
    """
    told, request_id = as_serving_error(error), request.id
    if told is None or not has_text(error):
        request_id = request_id or secrets.token_hex(8)
        kind = InternalError if told is None else type(told)
        said = describe(error) if told is None else f"an error without a text ({kind.code.name})"
        text = f"Failed to process the request(s) for model '{placement.name}', message: {said}"
        logged = kind.code is ErrorCode.INTERNAL
        told = kind(f"{text} (request_id={request_id} in the server's log)" if logged else text)
    if final and told.code is ErrorCode.INTERNAL and (request.logs_failure is None or request.logs_failure()):
        log_error(logger, "execution failed in %s", placement.name, error=error, request_id=request_id)
    return told
