"""The host of Triton's Python models in a process of their own, whatever interpreter that has."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .. import failures, host
from ..answers import ModelError
from ..host import Json, Placement, Request, Response, Source, make_step
from ..messages import Array, Kind
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
        error = told.pop("error", None)
        return Response(outputs=outputs, error=None if error is None else self.error(error), **told)

    def failure(self, error: BaseException) -> Json:
        """What the server is told of an error."""
        if isinstance(error, ModelError):
            return failures.told(error, _KINDS.get(code_name(error), "InternalError"), error.message)
        return failures.told(error)

    def error(self, told: Json) -> ModelError:
        """The error that another model has failed with, or the server itself."""
        return ModelError(told["text"], _CODES.get(told["kind"], "INTERNAL"))


class ChildServices:
    """What the model needs of the server, at the other end of the channel."""

    def __init__(self, source: Source) -> None:
        self.caller: host.Caller = source.caller
        self.metrics = _Metrics(source.caller)
        self.control = _Control(source.caller)
        self._logger = logging.getLogger(f"kserve_v2.model.{source.name}")

    def log(self, level: str, text: str) -> None:
        """Write a line."""
        self._logger.log(_LEVELS[level], "%s", text)


class _Metrics:
    """See `services.Metrics`."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._lock = threading.Lock()
        # Finalizers come at any time, on any thread: what they remove is removed by a thread that may wait.
        self._removed: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._removes = False

    def family(self, name: str, description: str, kind: str) -> int:
        """Make a family."""
        with self._lock:
            if not self._removes:
                self._removes = True
                threading.Thread(target=self._remove_all, name="metrics", daemon=True).start()
        return int(self._ask("family", name, description, kind))

    def metric(self, family: int, labels: Mapping[str, str], buckets: Sequence[float] | None = None) -> int:
        """Make a series."""
        return int(self._ask("metric", family, dict(labels), buckets))

    def increment(self, metric: int, value: float) -> None:
        """Add to it."""
        self._ask("increment", metric, value)

    def set(self, metric: int, value: float) -> None:
        """Set it."""
        self._ask("set", metric, value)

    def observe(self, metric: int, value: float) -> None:
        """Count a value in it."""
        self._ask("observe", metric, value)

    def value(self, metric: int) -> float:
        """Its value."""
        return float(self._ask("value", metric))

    def remove(self, handle: int) -> None:
        """It is not needed any more."""
        self._removed.put(handle)

    def _remove_all(self) -> None:
        while True:
            self._ask("remove", self._removed.get())

    def _ask(self, what: str, *arguments: Any) -> Any:
        return self._server.ask(Kind.METRIC, {"do": what, "args": arguments}).fields.get("value")


class _Control:
    """See `services.Control`."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def load(self, name: str, config: str | None = None, files: Mapping[str, bytes] | None = None) -> None:
        """Load a model."""
        # Of the files, the server has to know only that there are some: it takes none.
        self._ask("load", name, config, dict.fromkeys(files) if files else None)

    def unload(self, name: str, *, dependents: bool = False) -> None:
        """Unload a model."""
        self._ask("unload", name, dependents)

    def is_ready(self, name: str, version: str = "") -> bool:
        """Whether a model answers."""
        return bool(self._ask("is_ready", name, version))

    def _ask(self, what: str, *arguments: Any) -> Any:
        return self._server.ask(Kind.CONTROL, {"do": what, "args": arguments}).fields.get("value")
