"""Forms of requests and answers around a handler that knows nothing of them."""

from __future__ import annotations

import importlib
from typing import Any, Callable

_ENVELOPES = {
    "body": "BodyEnvelope",
    "json": "JSONEnvelope",
    "kserve": "KServeEnvelope",
    "kservev2": "KServev2Envelope",
}


def wrapped(name: str, handle: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A handler's function in an envelope."""
    if name not in _ENVELOPES:
        raise ValueError(f"service_envelope: expected one of {', '.join(_ENVELOPES)}, got '{name}'")
    module = importlib.import_module(f"{__name__}.{name}")
    found: Callable[[Any, Any], Any] = getattr(module, _ENVELOPES[name])(handle).handle
    return found
