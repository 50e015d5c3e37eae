"""Metrics of releases: what labels stand for, how requests were split, and how the answers of shadows differ. Of models
without a release there are none.
"""

from collections.abc import Iterable, Iterator

from kserve_v2.config.release import Release
from kserve_v2.metrics.text import Family
from kserve_v2.repository.routing.routes import RouteCounts
from kserve_v2.repository.routing.shadowing import OUTCOMES

Released = tuple[str, Release, RouteCounts]
"""A model by its name, what holds for it, and what has been counted."""


def release_families(released: Iterable[Released]) -> Iterator[Family]:
    """The metrics, one family after the other, those without a sample left out."""
    models = list(released)
    for family in (*_labels_and_shares(models), *_split(models), *_shadows(models)):
        if family.samples:
            yield family


def _labels_and_shares(models: list[Released]) -> Iterator[Family]:
    labels = Family("kserve_v2_version_label", "gauge", "1 for the version that a label stands for")
    shares = Family(
        "kserve_v2_split_percent", "gauge", "Share of a version of the requests that name none, in per cent"
    )
    for name, release, _ in models:
        for label, version in sorted(release.labels.items()):
            labels.add({"model": name, "version": str(version), "label": label}, 1)
        for version, share in sorted(release.split.shares.items()) if release.split else ():
            shares.add({"model": name, "version": str(version)}, share)
    yield from (labels, shares)


def _split(models: list[Released]) -> Iterator[Family]:
    chosen = Family(
        "kserve_v2_split_requests", "counter", "Requests without a version that a split has given to this one"
    )
    diverted = Family(
        "kserve_v2_split_diverted_requests",
        "counter",
        "Requests of the share of a version that went to others, because it was not ready",
    )
    for name, _, counts in models:
        for family, numbers in ((chosen, counts.split.chosen), (diverted, counts.split.diverted)):
            for version, number in sorted(numbers.items()):
                family.add({"model": name, "version": str(version)}, number)
    yield from (chosen, diverted)


def _shadows(models: list[Released]) -> Iterator[Family]:
    copies = Family(
        "kserve_v2_shadow_requests",
        "counter",
        "Copies of answered requests for a shadow, by what became of them",
    )
    differing = Family(
        "kserve_v2_shadow_differing_outputs",
        "counter",
        "Outputs of shadows that differed by more than the tolerance",
    )
    largest = Family(
        "kserve_v2_shadow_largest_difference", "gauge", "Largest difference of an output of a shadow so far"
    )
    for name, _, counts in models:
        for (version, shadow), these in sorted(counts.shadows.items()):
            labels = {"model": name, "version": str(version), "shadow_version": str(shadow)}
            for outcome in OUTCOMES:
                copies.add({**labels, "outcome": outcome}, these.outcomes[outcome])
            for output, number in sorted(these.differing.items()):
                differing.add({**labels, "output": output}, number)
            for output, apart in sorted(these.largest.items()):
                largest.add({**labels, "output": output}, apart)
    yield from (copies, differing, largest)
