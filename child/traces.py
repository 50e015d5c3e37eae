"""The trace of a request, for what the model records of its work with OpenTelemetry, if its interpreter has that."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any


def attach(headers: Mapping[str, str]) -> Any:
    """Make the span that these headers tell of the current one. Returns what `detach` needs."""
    try:
        context = importlib.import_module("opentelemetry.context")
        propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
    except ImportError:
        return None
    return context, context.attach(propagation.TraceContextTextMapPropagator().extract(headers))


def detach(attached: Any) -> None:
    """The work for that request is over."""
    if attached is not None:
        context, token = attached
        context.detach(token)
