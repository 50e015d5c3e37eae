"""One series of a model's own metrics: its value, and what may be done to it. Errors are in Triton's words."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from kserve_v2.errors import InvalidArgumentError, UnsupportedError
from kserve_v2.metrics.text import Family, number


class Series:
    """A counter or gauge with its labels, and the base of a histogram. Not thread-safe: the registry is."""

    __slots__ = ("kind", "labels", "total")

    def __init__(self, kind: str, labels: Mapping[str, str]) -> None:
        self.kind = kind
        self.labels = labels
        self.total = 0.0

    @property
    def bounds(self) -> tuple[float, ...]:
        """Those of a histogram's buckets."""
        return ()

    def increment(self, value: float) -> None:
        """Add to a counter or gauge. Raises InvalidArgumentError, UnsupportedError."""
        if self.kind == "counter" and not value >= 0:
            raise InvalidArgumentError(
                "TRITONSERVER_METRIC_KIND_COUNTER can only be incremented monotonically by non-negative values."
            )
        self.total += value

    def set(self, value: float) -> None:
        """Set a gauge. Raises UnsupportedError."""
        if self.kind != "gauge":
            raise self._unsupported("Set")
        self.total = value

    def observe(self, value: float) -> None:
        """Count a value in a histogram. Raises InvalidArgumentError, UnsupportedError."""
        raise self._unsupported("Observe")

    def value(self) -> float:
        """That of a counter or gauge. Raises UnsupportedError."""
        return self.total

    def state(self) -> list[float]:
        """All that has been counted, for a process that shows it together with its own."""
        return [self.total]

    def add(self, state: Sequence[float]) -> None:
        """Count what another series of that kind, with the same bounds, has counted."""
        self.total += state[0]

    def show(self, family: Family) -> None:
        """Add the samples."""
        family.add(self.labels, self.total)

    def _unsupported(self, operation: str) -> UnsupportedError:
        return UnsupportedError(f"TRITONSERVER_METRIC_KIND_{self.kind.upper()} does not support {operation}")


class Histogram(Series):
    """Values counted by size."""

    __slots__ = ("_bounds", "_counts")

    def __init__(self, labels: Mapping[str, str], bounds: tuple[float, ...]) -> None:
        """`bounds`: the largest value of each bucket but the last, which takes all."""
        super().__init__("histogram", labels)
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)

    @property
    def bounds(self) -> tuple[float, ...]:
        """Those it was made with."""
        return self._bounds

    def increment(self, value: float) -> None:
        """No histogram can do that."""
        raise self._unsupported("Increment")

    def value(self) -> float:
        """A histogram has no single one."""
        raise self._unsupported("Value")

    def observe(self, value: float) -> None:
        """Count a value."""
        if math.isnan(value):
            raise InvalidArgumentError("a histogram cannot observe NaN: it is in no bucket")
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def state(self) -> list[float]:
        """The sum, and what is in each bucket."""
        return [self.total, *self._counts]

    def add(self, state: Sequence[float]) -> None:
        """Count what another one has counted."""
        self.total += state[0]
        self._counts = [own + int(other) for own, other in zip(self._counts, state[1:], strict=True)]

    def show(self, family: Family) -> None:
        """Add the samples: of each bucket what is in it and in those below, the sum, and the count."""
        count = 0
        for bound, within in zip(self._texts(), self._counts, strict=True):
            count += within
            family.add({**self.labels, "le": bound}, count, "_bucket")
        family.add(self.labels, self.total, "_sum")
        family.add(self.labels, count, "_count")

    def _texts(self) -> Iterator[str]:
        yield from map(number, self._bounds)
        yield "+Inf"


def new_series(kind: str, labels: Mapping[str, str], bounds: tuple[float, ...]) -> Series:
    """One that has counted nothing yet."""
    return Histogram(labels, bounds) if kind == "histogram" else Series(kind, labels)
