"""What `triton_python_backend_utils` has of the server: log, metrics, and the models of the repository. Each model gets
classes and functions of its own, which know what they are for.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Callable, ClassVar

from .context import ModelContext
from .errors import TritonModelException, error_text


class LogLevel(enum.IntEnum):
    """The levels of `Logger.log`."""

    INFO = 0
    WARNING = 1
    ERROR = 2
    VERBOSE = 3


_LEVELS = {
    LogLevel.INFO: "info",
    LogLevel.WARNING: "warning",
    LogLevel.ERROR: "error",
    LogLevel.VERBOSE: "debug",
}


def make_logger(context: ModelContext) -> type[Any]:
    """`pb_utils.Logger` of a model."""

    def write(level: LogLevel, message: str) -> None:
        if not isinstance(message, str):
            raise TypeError(f"Logger: expected a string, got {type(message).__name__}")
        context.services.log(_LEVELS[level], message)

    class Logger:
        """Writes to the server's log."""

        INFO = LogLevel.INFO
        WARNING = LogLevel.WARNING
        ERROR = LogLevel.ERROR
        VERBOSE = LogLevel.VERBOSE

        @staticmethod
        def log(message: str, level: LogLevel = LogLevel.INFO) -> None:
            """Write a line of any level."""
            if not isinstance(level, LogLevel):
                raise TypeError(f"Logger: expected a level such as Logger.INFO, got {level!r}")
            write(level, message)

        @staticmethod
        def log_info(message: str) -> None:
            """Write what is worth knowing."""
            write(LogLevel.INFO, message)

        @staticmethod
        def log_warn(message: str) -> None:
            """Write what is strange."""
            write(LogLevel.WARNING, message)

        @staticmethod
        def log_error(message: str) -> None:
            """Write what has failed."""
            write(LogLevel.ERROR, message)

        @staticmethod
        def log_verbose(message: str) -> None:
            """Write what helps to find a mistake."""
            write(LogLevel.VERBOSE, message)

    return Logger


class MetricKind(enum.Enum):
    """The kinds of a `MetricFamily`."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric:
    """One series. It is shown as long as this object lives."""

    def __init__(self, family: MetricFamily, labels: Any, buckets: Sequence[float] | None) -> None:
        self._family = family
        self._handle = 0
        if labels is not None and not isinstance(labels, Mapping):
            raise TritonModelException("Failed to create metric. Labels must be a dictionary.")
        if any(not isinstance(text, str) for text in (labels or {}).values()):
            raise TritonModelException("attempt to access JSON non-string as string")
        bounds = None if buckets is None else [float(bound) for bound in buckets]
        self._handle = family._ask(
            "Error when creating Metric",
            lambda: family._metrics.metric(family._handle, dict(labels or {}), bounds),
        )

    def increment(self, value: float) -> None:
        """Add to a counter or gauge."""
        self._do("increment", lambda: self._family._metrics.increment(self._handle, float(value)))

    def set(self, value: float) -> None:
        """Set a gauge."""
        self._do("set", lambda: self._family._metrics.set(self._handle, float(value)))

    def observe(self, value: float) -> None:
        """Count a value in a histogram."""
        self._do("observe", lambda: self._family._metrics.observe(self._handle, float(value)))

    def value(self) -> float:
        """That of a counter or gauge."""
        return float(self._do("get", lambda: self._family._metrics.value(self._handle)))

    def _do(self, verb: str, work: Callable[[], Any]) -> Any:
        return self._family._ask(f"Failed to {verb} metric value", work)

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            with suppress(Exception):
                self._family._metrics.remove(self._handle)


class MetricFamily:
    """Series of one name and kind."""

    COUNTER: ClassVar[MetricKind] = MetricKind.COUNTER
    GAUGE: ClassVar[MetricKind] = MetricKind.GAUGE
    HISTOGRAM: ClassVar[MetricKind] = MetricKind.HISTOGRAM

    context: ClassVar[ModelContext]

    def __init__(self, name: str, description: str, kind: MetricKind) -> None:
        if not isinstance(kind, MetricKind):
            raise TypeError(f"MetricFamily: expected a kind such as MetricFamily.COUNTER, got {kind!r}")
        self._handle = 0
        metrics = self.context.services.metrics
        if metrics is None:
            raise TritonModelException(
                "Error when creating MetricFamily: there is no server that shows metrics"
            )
        self._metrics = metrics
        self._handle = self._ask(
            "Error when creating MetricFamily", lambda: metrics.family(name, description, kind.value)
        )

    def Metric(  # noqa: N802 - Triton's name
        self, labels: Mapping[str, str] | None = None, buckets: Sequence[float] | None = None
    ) -> Metric:
        """A series with these labels; `buckets`: the upper bounds of a histogram's."""
        return Metric(self, labels, buckets)

    def _ask(self, failed: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:
            raise _told(self.context, failed, error) from error

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            with suppress(Exception):
                self._metrics.remove(self._handle)


def make_metric_family(context: ModelContext) -> type[MetricFamily]:
    """`pb_utils.MetricFamily` of a model."""
    return type("MetricFamily", (MetricFamily,), {"context": context, "__doc__": MetricFamily.__doc__})


class Repository:
    """`load_model`, `unload_model` and `is_model_ready` of a model."""

    def __init__(self, context: ModelContext) -> None:
        self._context = context

    def load_model(self, model_name: str, config: str = "", files: Mapping[str, bytes] | None = None) -> None:
        """Load a model, or load it anew. Returns when it is ready."""

        def load(control: Any) -> None:
            for name, content in (files or {}).items():
                if not isinstance(content, (bytes, bytearray, memoryview)):
                    raise TypeError(f"load parameter '{name}' is not bytes, but {type(content).__name__}")
            control.load(model_name, config or None, files or None)

        self._ask("Failed to load model", load)

    def unload_model(self, model_name: str, unload_dependents: bool = False) -> None:
        """Unload a model."""
        self._ask(
            "Failed to unload model", lambda control: control.unload(model_name, dependents=unload_dependents)
        )

    def is_model_ready(self, model_name: str, model_version: str = "") -> bool:
        """Whether a model answers."""
        version = str(model_version)
        return bool(
            self._ask(
                "Failed to check model readiness", lambda control: control.is_ready(model_name, version)
            )
        )

    def _ask(self, failed: str, work: Callable[[Any], Any]) -> Any:
        control = self._context.services.control
        if control is None:
            raise TritonModelException(f"{failed}: there is no server whose models could be loaded")
        try:
            return work(control)
        except Exception as error:
            raise _told(self._context, failed, error) from error


def _told(context: ModelContext, failed: str, error: Exception) -> TritonModelException:
    return TritonModelException(
        f"{failed}: Failed to process the request for model '{context.instance_name}', message: {error_text(error)}"
    )
