"""Errors as gRPC statuses: the one place where an exception becomes a code and its details."""

from enum import IntEnum
from typing import TypeVar
from urllib.parse import quote

from google.protobuf.message import DecodeError, Message

from kserve_v2.errors import RETRY_AFTER_S, InvalidArgumentError, ServingError, may_try_again
from kserve_v2.rpc.calls import Serialized
from kserve_v2.scheduling import failures

Request = TypeVar("Request", bound=Message)

# Clients give up on a call whose trailers exceed 8 KiB.
_MAX_DETAILS_BYTES = 6 * 1024
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class StatusCode(IntEnum):
    """gRPC's statuses for which there need not be an error of `errors.py`."""

    OK = 0
    CANCELLED = 1
    DEADLINE_EXCEEDED = 4


def status_of(error: Exception) -> tuple[int, str]:
    """Code and details. What is no ServingError is a defect of ours, and logged."""
    told = known(error)
    return told.code.value.grpc, _details(told.message)


def retry_pushback(error: Exception) -> tuple[tuple[str, str], ...]:
    """The trailing metadata with which gRPC has clients try again, if they may: those whose channel is configured for
    retries wait so long before the next one.
    """
    if isinstance(error, ServingError) and may_try_again(error):
        return (("grpc-retry-pushback-ms", str(RETRY_AFTER_S * 1000)),)
    return ()


def parse(message: Serialized, request_type: type[Request]) -> Request:
    """A request of its bytes. Raises InvalidArgumentError."""
    try:
        # A memoryview works too, though the type stubs do not say so.
        return request_type.FromString(message)  # type: ignore[arg-type]
    except DecodeError:
        raise InvalidArgumentError(
            f"the message is not a serialized {request_type.DESCRIPTOR.full_name}"
        ) from None


def percent_encoded(details: str) -> str:
    """Details as they travel: every byte that is not printable ASCII takes three."""
    return quote(details, safe=_PRINTABLE)


def _details(message: str) -> str:
    """As much of the message as travels in a trailer."""
    whole, message = message, message[:_MAX_DETAILS_BYTES]
    while len(percent_encoded(message)) > _MAX_DETAILS_BYTES:
        message = message[: len(message) // 2]
    return message if len(message) == len(whole) else f"{message}…"


def known(error: Exception) -> ServingError:
    """The error that the client gets for `error`; see `failures.known`."""
    return failures.known(error, "gRPC front end")
