"""What hosts of models have in common whose interpreter has numpy, and nothing of the server's."""

from __future__ import annotations

from . import failures
from .answers import ModelError
from .channel.messages import Array
from .host import Json, Placement, Request, Response, make_step

# The classes that the server has, by their codes.
_KINDS = {
    "ALREADY_EXISTS": "AlreadyExistsError",
    "CANCELLED": "RequestCancelledError",
    "INTERNAL": "InternalError",
    "INVALID_ARGUMENT": "InvalidArgumentError",
    "NOT_FOUND": "NotFoundError",
    "OVERLOADED": "OverloadedError",
    "RESOURCE_EXHAUSTED": "ResourceExhaustedError",
    "UNAVAILABLE": "UnavailableError",
    "UNKNOWN": "UnknownError",
    "UNSUPPORTED": "UnsupportedError",
}


class PlainHost:
    """Requests, responses and errors as plain objects."""

    def placement(self, placement: Placement) -> Placement:
        """Where an instance runs."""
        return placement

    def request(self, told: Json, inputs: dict[str, Array]) -> Request:
        """A request of an execution."""
        step = make_step(told.pop("sequence", None))
        names = tuple(told.pop("requested_outputs", ()))
        return Request(inputs=inputs, requested_outputs=names, sequence=step, **told)

    def response(self, told: Json, outputs: dict[str, Array]) -> Response:
        """A response of another model."""
        error, rows = told.pop("error", None), told.pop("batch_rows", 0)
        made = Response(outputs=outputs, error=None if error is None else self.error(error), **told)
        # Only responses of streams are of a batch of no rows.
        made.final = made.final or rows > 0
        return made

    def failure(self, error: BaseException) -> Json:
        """What the server is told of an error."""
        if isinstance(error, ModelError):
            return failures.told(error, _KINDS.get(error.code, "InternalError"), error.message)
        return failures.told(error)

    def error(self, told: Json) -> ModelError:
        """The error that another model has failed with, or the server itself."""
        return ModelError(told["text"], told.get("code", "INTERNAL"))
