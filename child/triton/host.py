"""The host of Triton's Python models in a process of their own, whatever interpreter that has."""

from __future__ import annotations

import logging
from typing import Any

from .. import failures
from ..answers import ModelError
from ..channel.messages import Array
from ..host import Json, Placement, Request, Response, Source, make_step
from .errors import code_name
from .version import TritonModel, TritonVersion

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR, "debug": logging.DEBUG}

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
_CODES = {kind: code for code, kind in _KINDS.items()}


class TritonHost:
    """Hosts one version of a model."""

    def __init__(self) -> None:
        self._version: TritonVersion | None = None

    def complete(self, source: Source, config: Json) -> Json:
        """The configuration, with what the model says filled in."""
        return self._made(source, config).complete(config)

    def load(self, source: Source, config: Json) -> TritonModel:
        """Load the model."""
        version = self._made(source, config)
        version.context.services = ChildServices(source)
        return version.load(config)

    def _made(self, source: Source, config: Json) -> TritonVersion:
        if self._version is None:
            told = {
                "name": source.name,
                "version": source.version,
                "model_path": str(source.model_path),
                "version_path": str(source.version_path),
                "filename": config.get("default_model_filename") or "model.py",
            }
            self._version = TritonVersion(told, ChildServices(source))
        return self._version

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
            return failures.told(error, _KINDS.get(code_name(error), "InternalError"), error.message)
        return failures.told(error)

    def error(self, told: Json) -> ModelError:
        """The error that another model has failed with, or the server itself."""
        return ModelError(told["text"], _CODES.get(told["kind"], "INTERNAL"))


class ChildServices:
    """What the model needs of the server, which is at the other end of a channel."""

    def __init__(self, source: Source) -> None:
        self.caller = source.caller
        self.metrics: Any = getattr(source, "metrics", None)
        self.control: Any = getattr(source, "control", None)
        self._logger = logging.getLogger(f"kserve_v2.model.{source.name}")

    def log(self, level: str, text: str) -> None:
        """Write a line."""
        self._logger.log(_LEVELS[level], "%s", text)
