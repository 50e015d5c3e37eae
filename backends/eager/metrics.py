"""Metrics that handlers make: `context.metrics`. They are shown in /metrics with the labels that the server's own
metrics of the model have.
"""

import itertools
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from kserve_v2.backend import ModelConfig, ModelMetrics
from kserve_v2.errors import ServingError

T = TypeVar("T")

DEFAULT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""For durations in seconds."""


class _Metric:
    def __init__(self, own: ModelMetrics, handle: int) -> None:
        self._own = own
        self._handle = handle

    def _value(self) -> float:
        return _ours(lambda: self._own.value(self._handle))


class Counter(_Metric):
    """What only grows."""

    def increment(self, value: float = 1) -> None:
        """Add something that is not negative."""
        _ours(lambda: self._own.increment(self._handle, _plain(value)))

    def value(self) -> float:
        """How much it has come to, since any of the model's versions began to count without a pause."""
        return self._value()


class Gauge(_Metric):
    """What goes up and down."""

    def set(self, value: float) -> None:
        """Make it this."""
        _ours(lambda: self._own.set(self._handle, _plain(value)))

    def increment(self, value: float = 1) -> None:
        """Add something."""
        _ours(lambda: self._own.increment(self._handle, _plain(value)))

    def decrement(self, value: float = 1) -> None:
        """Take something off."""
        self.increment(-value)

    def value(self) -> float:
        """What it is now."""
        return self._value()


class Histogram(_Metric):
    """Values, counted by size."""

    def observe(self, value: float) -> None:
        """Count one."""
        _ours(lambda: self._own.observe(self._handle, _plain(value)))

    @contextmanager
    def time(self) -> Iterator[None]:
        """Count how many seconds the block takes, also if it fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - started)


class Metrics:
    """Makes metrics, from any thread. The same name with the same labels is the same metric, also for the model's other
    instances. All of them go when the model is unloaded; a reload of the same version counts on.

    Wrong names and values are ValueErrors, or TypeErrors: they are the handler's mistakes, not its clients'.
    """

    def __init__(self, own: ModelMetrics | None, config: ModelConfig, version: int) -> None:
        """`own`: where they are kept; None where there is no server, and nobody sees them."""
        self._own = _Unseen() if own is None else own
        self._labels = {**config.metric_tags, "model": config.name, "version": str(version)}
        self._lock = threading.Lock()
        self._made: dict[Hashable, Any] = {}

    def counter(self, name: str, description: str, *, labels: Mapping[str, str] | None = None) -> Counter:
        """A counter of that name: of tokens, say, `tokens_total`."""
        return self._make(Counter, "counter", name, description, labels)

    def gauge(self, name: str, description: str, *, labels: Mapping[str, str] | None = None) -> Gauge:
        """A gauge of that name."""
        return self._make(Gauge, "gauge", name, description, labels)

    def histogram(
        self,
        name: str,
        description: str,
        *,
        buckets: Sequence[float] = DEFAULT_BUCKETS,
        labels: Mapping[str, str] | None = None,
    ) -> Histogram:
        """A histogram of that name. `buckets`: the largest value of each, ascending; by default such as suit durations
        in seconds.
        """
        return self._make(Histogram, "histogram", name, description, labels, buckets)

    def _make(
        self,
        metric: Callable[[ModelMetrics, int], T],
        kind: str,
        name: str,
        description: str,
        labels: Mapping[str, str] | None,
        buckets: Sequence[float] | None = None,
    ) -> T:
        more, bounds = dict(labels or {}), None if buckets is None else [_plain(each) for each in buckets]
        if taken := sorted(self._labels.keys() & more.keys()):
            raise ValueError(f"label '{taken[0]}' of metric '{name}' is the server's own: leave it out")
        key = kind, name, frozenset(more.items()), None if bounds is None else tuple(bounds)
        with self._lock:
            if key not in self._made:
                self._made[key] = metric(
                    self._own, _ours(lambda: self._new(kind, name, description, more, bounds))
                )
            made: T = self._made[key]
        return made

    def _new(
        self, kind: str, name: str, description: str, more: Mapping[str, str], buckets: Sequence[float] | None
    ) -> int:
        family = self._own.family(name, description, kind)
        try:
            return self._own.metric(family, {**self._labels, **more}, buckets)
        finally:
            # It stays for as long as the metric does.
            self._own.remove(family)


class _Unseen:
    """Keeps the metrics of a handler that no server has loaded."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._values: dict[int, float] = {}

    def family(self, name: str, description: str, kind: str) -> int:
        return next(self._numbers)

    def metric(self, family: int, labels: Mapping[str, str], buckets: Sequence[float] | None = None) -> int:
        return next(self._numbers)

    def increment(self, metric: int, value: float) -> None:
        self._values[metric] = self.value(metric) + value

    def set(self, metric: int, value: float) -> None:
        self._values[metric] = value

    def observe(self, metric: int, value: float) -> None:
        pass

    def value(self, metric: int) -> float:
        return self._values.get(metric, 0.0)

    def remove(self, handle: int) -> None:
        self._values.pop(handle, None)


def _plain(value: Any) -> float:
    """A number, of numpy's or torch's too, as one of Python's own."""
    if isinstance(value, int | float):
        return value
    if isinstance(value, str | bytes):
        raise TypeError(f"the value of a metric must be a number, got {value!r}")
    return float(value)


def _ours(operation: Callable[[], T]) -> T:
    try:
        return operation()
    except ServingError as error:
        raise ValueError(error.message) from None
