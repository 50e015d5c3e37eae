"""Latencies in bounded memory: quantiles are right to within a fifth of a percent, however many there are."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil

_BITS = 9
"""Leading bits of a value that are kept: below 2**9 ns every value has a bucket of its own, above it a bucket is at
most 1/256 of its values wide, and its middle at most 1/512 away from any of them.
"""

RELATIVE_ERROR = 1 / 2**_BITS
"""Of quantiles."""

QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
"""Those that are reported."""


class Histogram:
    """Counts of whole numbers from 0, of nanoseconds here. A value has at most 64 bits, so that there are at most some
    15,000 buckets; count, sum, least and largest are exact.
    """

    def __init__(self, values: Iterable[int] = ()) -> None:
        self.count = self.sum = self.largest = 0
        self.least = 0
        self._buckets: Counter[int] = Counter()
        for value in values:
            self.add(value)

    def add(self, value: int) -> None:
        """Count one value."""
        shift = max(0, value.bit_length() - _BITS)
        self._buckets[(shift << _BITS) + (value >> shift)] += 1
        if not self.count or value < self.least:
            self.least = value
        self.largest = max(self.largest, value)
        self.count += 1
        self.sum += value

    def merge(self, other: "Histogram") -> None:
        """Count all that another one has counted."""
        if not other.count:
            return
        self.least = min(self.least, other.least) if self.count else other.least
        self.largest = max(self.largest, other.largest)
        self.count += other.count
        self.sum += other.sum
        self._buckets.update(other._buckets)

    @property
    def mean(self) -> float:
        """0 where nothing was counted."""
        return self.sum / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The least value that `share` of all do not exceed, to within RELATIVE_ERROR; 0 where nothing was counted."""
        if not self.count:
            return 0.0
        rank = max(1, ceil(share * self.count))
        if rank == self.count:
            return float(self.largest)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(max(_middle(bucket), self.least), self.largest)
        raise AssertionError("there are fewer values than were counted")

    def quantiles(self) -> dict[str, float]:
        """Those that are reported, by name."""
        return {name: self.quantile(share) for name, share in QUANTILES.items()}

    @property
    def buckets(self) -> int:
        """How many are in use."""
        return len(self._buckets)


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """What all of them have counted."""
    result = Histogram()
    for each in histograms:
        result.merge(each)
    return result


def _middle(bucket: int) -> float:
    """The value that stands for those of a bucket."""
    shift, head = divmod(bucket, 2**_BITS)
    middle: float = (head << shift) + ((1 << shift) - 1) / 2
    return middle
