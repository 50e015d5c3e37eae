"""The metrics of models that have copies in several processes of the server, shown as those of one.

Counters and histograms are sums, in which those of a process that has ended stay for as long as the family is there.
What a gauge of several processes says together nobody can know: each is shown, with the process's number.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kserve_v2.metrics.series import Series, new_series
from kserve_v2.metrics.text import Family

PROCESS = "process"
"""The label that tells the gauges of processes apart."""

_Key = tuple[tuple[str, str], ...]

HOME = 0
"""The number of the process that shows them."""


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """One series. `state`: see `Series.state`."""

    labels: Mapping[str, str]
    bounds: Sequence[float]
    state: Sequence[float]


@dataclass(frozen=True, slots=True)
class FamilyReport:
    """A family in one process."""

    name: str
    kind: str
    description: str
    series: Sequence[SeriesReport]


class OtherProcesses:
    """What they have said. On one thread."""

    def __init__(self) -> None:
        self._said: dict[int, list[FamilyReport]] = {}
        # By the name and kind of a family, its series in processes that have ended.
        self._gone: dict[tuple[str, str], dict[_Key, Series]] = {}

    def say(self, process: int, families: list[FamilyReport]) -> None:
        """Take what a process has counted by now in place of what it has said before. What it does not name any more is
        gone: so are the models that made it.
        """
        self._said[process] = families

    def end(self, process: int) -> None:
        """A process has ended: what it has counted stays counted."""
        for report in self._said.pop(process, []):
            if report.kind != "gauge":
                _add(self._gone.setdefault((report.name, report.kind), {}), report)

    def together(self, own: Iterable[FamilyReport]) -> Iterator[Family]:
        """What is to be shown, in the order of this process's families: every copy of a model has one here."""
        families = list(own)
        there = {(each.name, each.kind) for each in families}
        self._gone = {family: series for family, series in self._gone.items() if family in there}
        for family in families:
            shown = self._gauges(family) if family.kind == "gauge" else self._sum(family)
            if shown.samples:
                yield shown

    def _sum(self, family: FamilyReport) -> Family:
        shown = Family(family.name, family.kind, family.description)
        sums: dict[_Key, Series] = {}
        for report in (family, *self._reports(family).values()):
            _add(sums, report)
        gone = [SeriesReport(each.labels, each.bounds, each.state()) for each in self._of_gone(family)]
        _add(sums, replace(family, series=gone))
        for series in sums.values():
            series.show(shown)
        return shown

    def _of_gone(self, family: FamilyReport) -> Iterable[Series]:
        return self._gone.get((family.name, family.kind), {}).values()

    def _reports(self, family: FamilyReport) -> dict[int, FamilyReport]:
        """What each process has said of a family."""
        return {
            process: each
            for process, reports in sorted(self._said.items())
            for each in reports
            if (each.name, each.kind) == (family.name, family.kind) and each.series
        }

    def _gauges(self, family: FamilyReport) -> Family:
        shown = Family(family.name, family.kind, family.description)
        others = self._reports(family)
        for process, report in {HOME: family, **others}.items():
            for each in report.series:
                # A model's own label of that name is more to it than ours.
                labels = {PROCESS: str(process), **each.labels} if others else each.labels
                _series(family.kind, replace(each, labels=labels)).show(shown)
        return shown


def _add(sums: dict[_Key, Series], report: FamilyReport) -> None:
    """Series with the same labels are one; of histograms, where they also have the same bounds."""
    for each in report.series:
        key = tuple(each.labels.items())
        series = sums.get(key)
        if series is None:
            sums[key] = _series(report.kind, each)
        elif tuple(series.bounds) == tuple(each.bounds):
            series.add(each.state)


def _series(kind: str, report: SeriesReport) -> Series:
    series = new_series(kind, report.labels, tuple(report.bounds))
    series.add(report.state)
    return series
