"""Errors on their way to another process of the same server: what a client is told of them is the same there."""

from kserve_v2.errors import ServingError, as_serving_error, named_error
from kserve_v2.processes.frames import Payload


def error_bytes(error: ServingError) -> bytes:
    """An error by its kind and its text."""
    kind = type(as_serving_error(error) or error)
    return f"{kind.__name__}\n{error.message}".encode()


def error_of(payload: Payload) -> ServingError:
    """The error that was sent."""
    kind, _, message = bytes(payload).decode().partition("\n")
    return named_error(kind, message)
