"""What is tried: values of four fields of a configuration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

NO_BATCHING = -1
"""As a delay: no dynamic batching at all."""

OWN_CHOICE = -2
"""As a delay: the server chooses it, by the parameter latency_budget_ms."""

DEFAULT_THREADS = 0
"""The machine's CPUs, divided among the instances."""


class Dimension(StrEnum):
    """In the order in which they are searched. The values are the names of `Candidate`'s fields."""

    BATCH = "max_batch_size"
    DELAY = "delay_us"
    INSTANCES = "instances"
    THREADS = "threads"


class Candidate(NamedTuple):
    """One configuration. `max_batch_size`: 0 of models without a batch dimension. `delay_us`: see above."""

    max_batch_size: int
    delay_us: int
    instances: int
    threads: int

    def with_value(self, dimension: Dimension, value: int) -> "Candidate":
        """Another one. Larger batches mean nothing unless requests are merged, so they are then."""
        changed = self._replace(**{dimension.value: value})
        if dimension not in (Dimension.BATCH, Dimension.DELAY):
            # Of a model that must not batch, this changes nothing.
            return changed
        merges = changed.max_batch_size > 1 and changed.delay_us == NO_BATCHING
        return changed._replace(delay_us=0) if merges else changed

    def __str__(self) -> str:
        parts = []
        if self.max_batch_size:
            delay = {
                NO_BATCHING: "no batching",
                OWN_CHOICE: "delay chosen by the server",
            }.get(self.delay_us, f"delay {self.delay_us:,} us")
            parts += [f"batch {self.max_batch_size}", delay]
        parts.append(f"{self.instances} instance{'s' if self.instances > 1 else ''}")
        if self.threads != DEFAULT_THREADS:
            parts.append(f"{self.threads} thread{'s' if self.threads > 1 else ''}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Space:
    """The values of each dimension, ascending; one value: it stays as it is."""

    values: Mapping[Dimension, Sequence[int]]

    def __contains__(self, candidate: Candidate) -> bool:
        return all(getattr(candidate, each) in values for each, values in self.values.items())

    @property
    def size(self) -> int:
        """How many candidates there are."""
        total = 1
        for values in self.values.values():
            total *= len(values)
        return total

    def outward(self, candidate: Candidate, dimension: Dimension, step: int) -> Iterator[Candidate]:
        """The candidates with the larger values of a dimension (`step` 1), or the smaller ones (-1), nearest first."""
        if dimension is Dimension.DELAY and candidate.max_batch_size == 1:
            # There is nothing to wait for.
            return
        values = self.values[dimension]
        at = values.index(getattr(candidate, dimension)) + step
        while 0 <= at < len(values):
            yield candidate.with_value(dimension, values[at])
            at += step


class Limits(NamedTuple):
    """What a space is made within. `rows`: of one request. `budget_ms`: of latency, None for none. `thread_parameter`:
    how the model's backend calls it, "" if it has none.
    """

    rows: int
    cpus: int
    on_gpu: bool
    budget_ms: float | None
    thread_parameter: str
    batches: bool
    one_group: bool


_LARGEST_BATCH = 64
_DELAYS_US = (0, 500, 1000, 2000, 5000)
_GPU_INSTANCES = 4


def space_around(start: Candidate, limits: Limits, given: Mapping[Dimension, Sequence[int]]) -> Space:
    """Everything that is worth a try, the current configuration in it. `given`: values of the user's choice. Batches
    are not made smaller than they are: that would refuse requests that are accepted now.
    """
    doubled = [2**power for power in range(17)]
    batches: Sequence[int] = [start.max_batch_size]
    delays: Sequence[int] = [start.delay_us]
    if limits.batches:
        most = max(_LARGEST_BATCH, 4 * start.max_batch_size)
        batches = [size for size in doubled if max(start.max_batch_size, limits.rows) <= size <= most]
        delays = [each for each in _DELAYS_US if limits.budget_ms is None or each <= limits.budget_ms * 500]
        if limits.budget_ms is not None:
            delays = [OWN_CHOICE, *delays]
    most_instances = _GPU_INSTANCES if limits.on_gpu else limits.cpus
    instances = [count for count in doubled if count <= most_instances] if limits.one_group else []
    threads: Sequence[int] = [DEFAULT_THREADS]
    if limits.thread_parameter and not limits.on_gpu:
        threads = [DEFAULT_THREADS, *(count for count in doubled if count <= limits.cpus)]
    chosen: dict[Dimension, Sequence[int]] = {
        Dimension.BATCH: batches, Dimension.DELAY: delays, Dimension.INSTANCES: instances, Dimension.THREADS: threads,
    }  # fmt: skip
    chosen |= given
    return Space({each: sorted({*values, getattr(start, each)}) for each, values in chosen.items()})
