"""Metrics of the model's own, and the loading of other models: done by the server, asked for here. See
`kserve_v2.backend.ModelMetrics` and `ModelControl`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .calls import Calls
from .channel.messages import Kind


class RemoteMetrics:
    """From any thread."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._lock = threading.Lock()
        self._removed: queue.SimpleQueue[int] | None = None

    def family(self, name: str, description: str, kind: str) -> int:
        """A family."""
        return int(self._ask("family", name, description, kind))

    def metric(self, family: int, labels: Mapping[str, str], buckets: Sequence[float] | None = None) -> int:
        """A series of it."""
        return int(self._ask("metric", family, dict(labels), None if buckets is None else list(buckets)))

    def increment(self, metric: int, value: float) -> None:
        """Add to a counter or gauge."""
        self._ask("increment", metric, value)

    def set(self, metric: int, value: float) -> None:
        """Set a gauge."""
        self._ask("set", metric, value)

    def observe(self, metric: int, value: float) -> None:
        """Count a value in a histogram."""
        self._ask("observe", metric, value)

    def value(self, metric: int) -> float:
        """That of a counter or gauge."""
        return float(self._ask("value", metric))

    def remove(self, handle: int) -> None:
        """A family or metric is not needed any more. Finalizers call this, at any time: another thread does it."""
        if self._removed is None:
            self._removed = queue.SimpleQueue()
            threading.Thread(target=self._remove, args=(self._removed,), name="metrics", daemon=True).start()
        self._removed.put(handle)

    def _remove(self, removed: queue.SimpleQueue[int]) -> None:
        while True:
            self._ask("remove", removed.get())

    def _ask(self, what: str, *arguments: Any) -> Any:
        return self._calls.ask(Kind.METRIC, {"do": what, "with": arguments}).fields.get("value")


class RemoteControl:
    """From any thread; blocks."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def load(self, name: str, config: str | None = None, files: Mapping[str, bytes] | None = None) -> None:
        """Load a model."""
        given = (
            None if files is None else [{path: np.frombuffer(data, np.uint8) for path, data in files.items()}]
        )
        self._calls.ask(
            Kind.CONTROL, {"do": "load", "with": [name, config], "files": files is not None}, given or ()
        )

    def unload(self, name: str, *, dependents: bool = False) -> None:
        """Serve a model no longer."""
        self._calls.ask(Kind.CONTROL, {"do": "unload", "with": [name, dependents]})

    def is_ready(self, name: str, version: str = "") -> bool:
        """Whether a model answers."""
        answer = self._calls.ask(Kind.CONTROL, {"do": "is_ready", "with": [name, version]})
        return bool(answer.fields["value"])
