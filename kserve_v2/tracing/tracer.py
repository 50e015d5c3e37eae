"""The owner of tracing: the settings in effect, the choice of requests, and where their traces go."""

import itertools
import logging
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from kserve_v2.tracing.config import OPENTELEMETRY, TraceConfig
from kserve_v2.tracing.files import TraceFiles
from kserve_v2.tracing.sampler import Sampler
from kserve_v2.tracing.settings import TraceChanges, TraceScopes, TraceSettings
from kserve_v2.tracing.trace import Trace

if TYPE_CHECKING:
    from kserve_v2.tracing.spans import SpanExport

logger = logging.getLogger(__name__)


class TracingError(Exception):
    """Tracing cannot start; the text is for the person who starts the server."""


class Tracer:
    """Lives on the server's event loop. `on` says whether any request may be traced: ask it before all else."""

    def __init__(self, config: TraceConfig) -> None:
        self._config = config
        self._scopes = TraceScopes(config)
        self._samplers = {"": Sampler(self._scopes.effective())}
        self._files = TraceFiles(Path(config.file)) if config.file else None
        self._export: SpanExport | None = None
        self._ids = itertools.count(1)
        self.on = self._any_on()

    def __repr__(self) -> str:
        return f"<Tracer mode={self._config.mode} on={self.on} {self._samplers}>"

    def start(self) -> None:
        """Open what traces go to. Raises TracingError."""
        if self._config.mode == OPENTELEMETRY:
            try:
                from kserve_v2.tracing.spans import SpanExport  # noqa: PLC0415 - an extra
            except ImportError as error:
                raise TracingError(
                    f"--trace-config mode=opentelemetry needs the package {error.name}: "
                    "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
                ) from None
            self._export = SpanExport(self._config)
        elif self._files is not None:
            try:
                self._files.start()
            except OSError as error:
                raise TracingError(str(error)) from error

    def close(self) -> None:
        """Write, or send, all traces that are finished. Blocks."""
        if self._export is not None:
            self._export.close()
        elif self._files is not None:
            self._files.close()

    # --- settings

    def describe(self, model: str = "") -> dict[str, str | list[str]]:
        """The settings that hold for a model, or for "" the server's, as both protocols show them."""
        sampler = self._sampler(model)
        settings, config = sampler.settings, self._config
        shown: dict[str, str | list[str]] = {
            "trace_level": list(settings.levels) or ["OFF"],
            "trace_rate": str(settings.rate),
            "trace_count": str(sampler.remaining),
        }
        if config.mode == OPENTELEMETRY:
            return {**shown, "trace_mode": config.mode, **config.opentelemetry_settings()}
        files = {"log_frequency": str(settings.log_frequency), "trace_file": config.file}
        return {**shown, **files, "trace_mode": config.mode}

    def update(self, model: str, changes: TraceChanges) -> None:
        """Change a model's settings, or for "" the server's. Raises as `TraceScopes.updated`, and then nothing has
        changed.
        """
        self._scopes = scopes = self._scopes.updated(model, changes)
        old = self._samplers
        self._samplers = {}
        for scope in ("", *scopes.models):
            inherits = model == "" and "count" not in scopes.models.get(scope, {})
            new_count = changes.touches("count") and (scope == model or inherits)
            self._samplers[scope] = _succeed(old.get(scope), scopes.effective(scope), new_count=new_count)
        self.on = self._any_on()
        self._flush_replaced(old)

    def _flush_replaced(self, old: Mapping[str, Sampler]) -> None:
        if self._files is None or self._export is not None:
            return
        for scope, sampler in old.items():
            if self._samplers.get(scope) is not sampler:
                self._files.flush(scope)

    def _any_on(self) -> bool:
        return any(sampler.settings.levels for sampler in self._samplers.values())

    def _sampler(self, model: str) -> Sampler:
        return self._samplers.get(model) or self._samplers[""]

    def traces(self, model: str) -> bool:
        """Whether any request to a model may be traced."""
        return bool(self._sampler(model).settings.levels)

    # --- traces

    def passes_over(self, model: str, head: bytes) -> bool:
        """Whether the next request is not to be traced, as far as that can be told without objects; then it must not
        `begin`. `head`: its headers, as they are over HTTP/1.1: a client may say itself what is to be traced.
        """
        sampler = self._sampler(model)
        if not sampler.settings.levels:
            return True
        if self._export is not None and b"traceparent" in head.lower():
            return False
        return sampler.passes_over()

    def begin(self, model: str, headers: Mapping[str, str], start: str, start_ns: int) -> Trace | None:
        """The trace of a request, None if it is not to be traced. `start` and `start_ns`: its first time.

        `headers`: the request's, by lower-case name, with the W3C trace context among them if there is one.
        """
        sampler = self._sampler(model)
        settings = sampler.settings
        if not settings.levels:
            return None
        chosen = sampler.choose()
        export = self._export
        spans = None if export is None else export.begin(model, headers, start_ns, chosen=chosen)
        if spans is None and (export is not None or not chosen):
            return None
        trace = Trace(
            next(self._ids),
            model,
            scope=model if model in self._samplers else "",
            log_frequency=settings.log_frequency,
            wants_tensors="TENSORS" in settings.levels and spans is None,
            spans=spans,
            ids=self._ids,
        )
        trace.stamp(start, start_ns)
        return trace

    def finish(self, trace: Trace) -> None:
        """The request is answered, or nobody waits for it any more."""
        trace.times.sort(key=itemgetter(1))
        if trace.spans is not None:
            trace.spans.finish(trace)
        elif self._files is not None:
            self._files.write(trace)


def _succeed(old: Sampler | None, settings: TraceSettings, *, new_count: bool) -> Sampler:
    """The sampler of a scope after an update: what is left of a count is kept unless there is a new one."""
    if old is None or new_count or old.settings.count != settings.count:
        return Sampler(settings)
    return old if old.settings == settings else Sampler(settings, old.remaining)
