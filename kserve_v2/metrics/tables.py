"""Metrics as rows of a table: what each is called, and where its samples are found."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from kserve_v2.metrics.text import Family, Labels

T = TypeVar("T")

NONE: Labels = {}
"""Of a sample that has no labels beside those of its subject."""

Sample = tuple[Labels, float, str]
"""Labels beside those of its subject, the value, and what a histogram appends to the name."""


class Metric(NamedTuple, Generic[T]):
    """One metric. `samples`: those of one subject, such as a model; none where the subject has no such thing."""

    name: str
    kind: str
    help: str
    samples: Callable[[T], Iterable[Sample]]


def read(metrics: Sequence[Metric[T]], subjects: Sequence[tuple[Labels, T]]) -> Iterator[Family]:
    """The families, in the order of the table. `subjects`: each with the labels that all of its samples have."""
    for name, kind, text, samples in metrics:
        family = Family(name, kind, text)
        for labels, subject in subjects:
            for own, value, suffix in samples(subject):
                family.add({**labels, **own}, value, suffix)
        yield family


def one(value: Callable[[T], float | None]) -> Callable[[T], Iterable[Sample]]:
    """A value of each subject; None for a subject that has none."""

    def samples(subject: T) -> Iterable[Sample]:
        found = value(subject)
        return () if found is None else ((NONE, found, ""),)

    return samples


def each(label: str, values: Callable[[T], Iterable[tuple[str, float]]]) -> Callable[[T], Iterable[Sample]]:
    """Several values of each subject, told apart by a label."""
    return lambda subject: [({label: key}, value, "") for key, value in values(subject)]


def histogram(buckets: Iterable[tuple[str, int]], total: float, count: int) -> Iterable[Sample]:
    """The samples of one. `buckets`: upper bounds, without that of all, and how many are not above them."""
    for bound, number in (*buckets, ("+Inf", count)):
        yield {"le": bound}, number, "_bucket"
    yield NONE, total, "_sum"
    yield NONE, count, "_count"
