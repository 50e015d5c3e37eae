"""The metrics that models make themselves: one registry for the server, and of it a part for each loaded version.

Families and series are the server's: whoever makes one that is there shares it, as in Triton, and it is shown until the
last one who has made it has removed it. So what a model has counted outlives its reload, in which the new version is
made before the old one is closed, and goes with its unload.
"""

import itertools
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.metrics.reports import FamilyReport, OtherProcesses, SeriesReport
from kserve_v2.metrics.rules import (
    check_bounds_of,
    check_description,
    check_kind,
    check_name,
    checked_bounds,
    checked_labels,
    checked_value,
    sample_names,
)
from kserve_v2.metrics.series import Series, new_series
from kserve_v2.metrics.text import Family

MAX_SHOWN_BYTES = 1024 * 1024
"""About how much text the metrics of one loaded version may be: some 10,000 samples."""

# A line has a number behind name and labels; an object of a model's costs memory here, too.
_LINE_BYTES = 32
_OBJECT_BYTES = 100

Key = tuple[tuple[str, str], ...]


class _Family:
    """A family, and who uses it."""

    def __init__(self, name: str, kind: str, description: str) -> None:
        self.name = name
        self.kind = kind
        self.description = description
        self.series: dict[Key, _Shared] = {}
        self.users = 0


class _Shared:
    """A series, and who uses it."""

    def __init__(self, family: _Family, key: Key, series: Series) -> None:
        self.family = family
        self.key = key
        self.series = series
        self.users = 0


def shown_bytes(family: _Family, key: Key, series: Series) -> int:
    """About how much text the samples of a series are."""
    samples = len(series.bounds) + 3 if family.kind == "histogram" else 1
    return samples * (len(family.name) + sum(len(name) + len(text) + 4 for name, text in key) + _LINE_BYTES)


class MetricsRegistry:
    """The metrics of all models. From any thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.handles = itertools.count(1)
        self._families: dict[str, _Family] = {}
        # The names of their samples, each with that of the family.
        self._names: dict[str, str] = {}
        self._removed: deque[tuple[MetricsOfModel, int]] = deque()
        self.others = OtherProcesses()
        """What the models' copies in other processes have counted."""

    def of_model(self, model: str) -> "MetricsOfModel":
        """The part of one version that is loaded."""
        return MetricsOfModel(self, model)

    def families(self) -> list[Family]:
        """What is to be shown, in the order in which the families were made."""
        with self.lock:
            self.sweep()
            return list(self.others.together(self._own_families()))

    def report(self) -> list[FamilyReport]:
        """What there is, for a process that shows it together with its own."""
        with self.lock:
            self.sweep()
            return list(self._own_families())

    def _own_families(self) -> Iterator[FamilyReport]:
        for family in self._families.values():
            series = [
                SeriesReport(each.series.labels, each.series.bounds, each.series.state())
                for each in family.series.values()
            ]
            yield FamilyReport(family.name, family.kind, family.description, series)

    def remove(self, owner: "MetricsOfModel", handle: int) -> None:
        """One user of something fewer: now, or by whoever holds the lock or takes it next. Finalizers come here, and
        they may run at any time, also while their own thread holds it.
        """
        self._removed.append((owner, handle))
        if self.lock.acquire(blocking=False):
            try:
                self.sweep()
            finally:
                self.lock.release()

    # --- with the lock held -----------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Remove what is to be removed."""
        while self._removed:
            owner, handle = self._removed.popleft()
            owner.forget(handle)

    def family(self, name: str, kind: str, description: str) -> _Family:
        """The family of that name; a new one, which has not joined, if there is none. Raises InvalidArgumentError if it
        is of another kind.
        """
        family = self._families.get(name)
        if family is not None:
            if family.kind != kind:
                raise InvalidArgumentError("Family name already exists with different type")
            return family
        if taken := [each for each in sample_names(name, kind) if each in self._names]:
            owner = self._families[self._names[taken[0]]]
            raise InvalidArgumentError(
                f"Family name already exists with different type: '{taken[0]}' is of {owner.kind} '{owner.name}'"
            )
        return _Family(name, kind, description)

    def join(self, made: _Family | _Shared) -> None:
        """One user more."""
        made.users += 1
        if isinstance(made, _Shared):
            made.family.series[made.key] = made
            made = made.family
            made.users += 1
        self._families[made.name] = made
        self._names |= dict.fromkeys(sample_names(made.name, made.kind), made.name)

    def leave(self, made: _Family | _Shared) -> None:
        """One user fewer."""
        made.users -= 1
        if isinstance(made, _Shared):
            if not made.users:
                del made.family.series[made.key]
            made = made.family
            made.users -= 1
        if not made.users:
            del self._families[made.name]
            for name in sample_names(made.name, made.kind):
                del self._names[name]


class MetricsOfModel:
    """What one loaded version has made: a `ModelMetrics`."""

    def __init__(self, registry: MetricsRegistry, model: str) -> None:
        self._registry = registry
        self._model = model
        self._made: dict[int, _Family | _Shared] = {}
        # Of each of them its handle, how many times it was made, and what it counts for. A process that has died does
        # not remove what it has made, and the next one makes it once more.
        self._own: dict[_Family | _Shared, tuple[int, int, int]] = {}
        self._bytes = 0
        self._closed = False

    def family(self, name: str, description: str, kind: str) -> int:
        """See `ModelMetrics.family`."""
        check_name(name)
        check_description(description)
        check_kind(kind)
        with self._registry.lock:
            self._registry.sweep()
            if self._closed:
                raise InternalError("Could not create metric family. The model is unloaded.")
            family = self._registry.family(name, kind, description)
            handle = self._add(family, len(description))
            family.description = description
            return handle

    def metric(self, family: int, labels: Mapping[str, str], buckets: Sequence[float] | None = None) -> int:
        """See `ModelMetrics.metric`."""
        checked, bounds = checked_labels(labels), checked_bounds(buckets)
        key = tuple(checked.items())
        with self._registry.lock:
            self._registry.sweep()
            of = self._made.get(family)
            if not isinstance(of, _Family):
                raise InternalError("Could not create metric. Metric family has been invalidated.")
            check_bounds_of(of.kind, checked, bounds)
            series = new_series(of.kind, checked, bounds or ())
            shared = of.series.get(key) or _Shared(of, key, series)
            if shared in self._own and shared.series.bounds != series.bounds:
                raise InvalidArgumentError(
                    f"'{of.name}' with these labels exists with other buckets: {list(shared.series.bounds)}, got "
                    f"{list(series.bounds)}"
                )
            handle = self._add(shared, shown_bytes(of, key, series))
            if shared.series.bounds != series.bounds:
                # The model has been loaded anew, with other buckets.
                shared.series = series
            return handle

    def increment(self, metric: int, value: float) -> None:
        """See `ModelMetrics.increment`."""
        checked = checked_value(value)
        with self._registry.lock:
            self._series(metric, "increment").increment(checked)

    def set(self, metric: int, value: float) -> None:
        """See `ModelMetrics.set`."""
        checked = checked_value(value)
        with self._registry.lock:
            self._series(metric, "set").set(checked)

    def observe(self, metric: int, value: float) -> None:
        """See `ModelMetrics.observe`."""
        checked = checked_value(value)
        with self._registry.lock:
            self._series(metric, "set").observe(checked)

    def value(self, metric: int) -> float:
        """See `ModelMetrics.value`."""
        with self._registry.lock:
            return self._series(metric, "get").value()

    def remove(self, handle: int) -> None:
        """See `ModelMetrics.remove`."""
        self._registry.remove(self, handle)

    def close(self) -> None:
        """The version is unloaded: remove all that it has made. May be called again."""
        with self._registry.lock:
            self._closed = True
            for made in self._made.values():
                self._registry.leave(made)
            self._made.clear()
            self._own.clear()

    # --- with the lock held -----------------------------------------------------------------------------------------

    def forget(self, handle: int) -> None:
        """Remove what has that handle, if anything has, or one time of several that it was made."""
        made = self._made.get(handle)
        if made is None:
            return
        _, times, its_bytes = self._own[made]
        self._own[made] = handle, times - 1, its_bytes
        if times == 1:
            del self._made[handle], self._own[made]
            self._bytes -= its_bytes
            self._registry.leave(made)

    def _series(self, metric: int, doing: str) -> Series:
        shared = self._made.get(metric)
        if not isinstance(shared, _Shared):
            raise InternalError(f"Could not {doing} metric value. Metric has been invalidated.")
        return shared.series

    def _add(self, made: _Family | _Shared, its_bytes: int) -> int:
        """The handle of something, which counts for so much. Raises InvalidArgumentError if there is no room."""
        if made not in self._own:
            its_bytes += _OBJECT_BYTES
            if self._bytes + its_bytes > MAX_SHOWN_BYTES:
                raise InvalidArgumentError(
                    f"the metrics of model '{self._model}' are too many: about {MAX_SHOWN_BYTES} bytes of text are the "
                    "most. Labels must not take their values from what clients send"
                )
            handle = next(self._registry.handles)
            self._registry.join(made)
            self._made[handle] = made
            self._own[made] = handle, 0, its_bytes
            self._bytes += its_bytes
        handle, times, its_bytes = self._own[made]
        self._own[made] = handle, times + 1, its_bytes
        return handle
