"""Metrics of handlers on their way to the server. A thread brings what has come together: a handler never waits.

Each value takes a question to the server and its answer, which is more work than many a prediction is. So the first
value goes at once, and what follows is brought together ten times a second.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Literal

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Kind, str, Labels]

logger = logging.getLogger("kserve_v2.model")

# Values of a histogram that wait to be brought; what is beyond that is not counted.
_MOST_WAITING = 10_000
_PAUSE_S = 0.1
# How long a model that is closed waits for its last values to be brought.
_FINISH_S = 1.0
# As Prometheus' clients have them.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class MetricsSink:
    """From any thread."""

    def __init__(self, metrics: Any) -> None:
        """`metrics`: the server's, see `kserve_v2.backend.ModelMetrics`; None where there is no server."""
        self._metrics = metrics
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._counted: dict[Key, float] = {}
        self._gauges: dict[Key, float] = {}
        self._observed: list[tuple[Key, float]] = []
        self._thread: Any = None
        self._bringing = False
        self._finishing = threading.Event()
        # Handles of the server's, only for the thread.
        self._made: dict[Key, int] = {}
        self._refused: set[Key] = set()

    def add(self, name: str, kind: Kind, unit: str, labels: Labels, value: float) -> None:
        """Count, set or observe a value."""
        if self._metrics is None:
            return
        key = (name, kind, unit, labels)
        # Not the condition, whose methods for this are written in Python.
        with self._lock:
            if kind == "counter":
                self._counted[key] = self._counted.get(key, 0.0) + value
            elif kind == "gauge":
                self._gauges[key] = value
            elif len(self._observed) < _MOST_WAITING:
                self._observed.append((key, value))
            if self._thread is None:
                self._thread = threading.Thread(target=self._bring, name="handler-metrics", daemon=True)
                self._thread.start()
            if not self._bringing:
                self._changed.notify_all()

    def finish(self) -> None:
        """Nothing more comes: wait, but not for long, until the server has all of it."""
        self._finishing.set()
        with self._changed:
            self._changed.wait_for(lambda: not (self._bringing or self._is_any()), _FINISH_S)

    def _is_any(self) -> bool:
        return bool(self._counted or self._gauges or self._observed)

    def _bring(self) -> None:
        while True:
            with self._changed:
                self._bringing = False
                self._changed.notify_all()
                while not self._is_any():
                    self._changed.wait()
                self._bringing = True
                counted, self._counted = self._counted, {}
                gauges, self._gauges = self._gauges, {}
                observed, self._observed = self._observed, []
            for key, value in [*counted.items(), *gauges.items(), *observed]:
                self._bring_one(key, value)
            self._finishing.wait(_PAUSE_S)

    def _bring_one(self, key: Key, value: float) -> None:
        if key in self._refused:
            return
        name, kind, unit, labels = key
        try:
            handle = self._made.get(key)
            if handle is None:
                text = f"Torchserve prometheus {kind} metric with unit: {unit}"
                family = self._metrics.family(name, text, kind)
                buckets = _BUCKETS if kind == "histogram" else None
                handle = self._made[key] = self._metrics.metric(family, dict(labels), buckets)
            act = {"counter": "increment", "gauge": "set", "histogram": "observe"}[kind]
            getattr(self._metrics, act)(handle, value)
        except Exception as error:  # noqa: BLE001 - what is counted must not break who counts it
            # Such as a name that the server has for itself, or too many series.
            self._refused.add(key)
            logger.warning("metric '%s' is not shown: %s", name, error)
