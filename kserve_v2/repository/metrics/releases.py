"""Metrics of releases: what labels stand for, how requests were split, and how the answers of shadows differ. Of models
without a release there are none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from kserve_v2.config.release import Release
from kserve_v2.metrics.tables import Metric, Sample, each, read
from kserve_v2.metrics.text import Family
from kserve_v2.repository.routing.routes import RouteCounts
from kserve_v2.repository.routing.shadowing import OUTCOMES, ShadowCounts

Released = tuple[str, Release, RouteCounts]
"""A model by its name, what holds for it, and what has been counted."""


def release_families(released: Iterable[Released]) -> Iterator[Family]:
    """The metrics, one family after the other, those without a sample left out."""
    subjects = [({"model": found[0]}, found) for found in released]
    return (family for family in read(_METRICS, subjects) if family.samples)


def _by_version(numbers: Callable[[Released], Mapping[int, float]]) -> Callable[[Released], Iterable[Sample]]:
    return each("version", lambda found: ((str(key), n) for key, n in sorted(numbers(found).items())))


def _labels(found: Released) -> Iterable[Sample]:
    for label, version in sorted(found[1].labels.items()):
        yield {"version": str(version), "label": label}, 1, ""


def _of_shadows(
    label: str, numbers: Callable[[ShadowCounts], Iterable[tuple[str, float]]]
) -> Callable[[Released], Iterable[Sample]]:
    """What has been counted of each pair of a version and its shadow, told apart by `label`."""
    return lambda found: [
        ({"version": str(version), "shadow_version": str(shadow), label: key}, number, "")
        for (version, shadow), counts in sorted(found[2].shadows.items())
        for key, number in numbers(counts)
    ]


_METRICS: Sequence[Metric[Released]] = [
    Metric("kserve_v2_version_label", "gauge", "1 for the version that a label stands for", _labels),
    Metric(
        "kserve_v2_split_percent", "gauge", "Share of a version of the requests that name none, in per cent",
        _by_version(lambda found: found[1].split.shares if found[1].split else {}),
    ),
    Metric(
        "kserve_v2_split_requests", "counter", "Requests without a version that a split has given to this one",
        _by_version(lambda found: found[2].split.chosen),
    ),
    Metric(
        "kserve_v2_split_diverted_requests", "counter",
        "Requests of the share of a version that went to others, because it was not ready",
        _by_version(lambda found: found[2].split.diverted),
    ),
    Metric(
        "kserve_v2_shadow_requests", "counter", "Copies of answered requests for a shadow, by what became of them",
        _of_shadows("outcome", lambda counts: ((outcome, counts.outcomes[outcome]) for outcome in OUTCOMES)),
    ),
    Metric(
        "kserve_v2_shadow_differing_outputs", "counter", "Outputs of shadows that differed by more than the tolerance",
        _of_shadows("output", lambda counts: sorted(counts.differing.items())),
    ),
    Metric(
        "kserve_v2_shadow_largest_difference", "gauge", "Largest difference of an output of a shadow so far",
        _of_shadows("output", lambda counts: sorted(counts.largest.items())),
    ),
]  # fmt: skip
