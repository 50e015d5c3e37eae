"""`context.metrics`."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional, Union

from ts.metrics.dimension import Dimension
from ts.metrics.metric_cache_errors import MetricsCacheKeyError, MetricsCacheValueError
from ts.metrics.metric_type_enum import MetricTypes

logger = logging.getLogger(__name__)

_HOSTNAME = "Hostname"
# It is asked for with every value.
_HOST = socket.gethostname()
# Metrics that are kept to be used again: a handler may name each of its values differently.
_MOST_KEPT = 1000
_MODEL, _LEVEL = "ModelName", "Level"
_TIMES = {"ms": "Milliseconds", "s": "Seconds"}
_SIZES = {"MB": "Megabytes", "kB": "Kilobytes", "GB": "Gigabytes", "B": "Bytes"}
Number = Union[int, float]


class CachingMetric:
    """A metric with names for its labels."""

    def __init__(
        self, name: str, unit: str, dimension_names: Sequence[str], metric_type: MetricTypes, sink: Any
    ) -> None:
        self.metric_name = name
        self.unit = unit
        self.dimension_names = [*dimension_names, *([] if _HOSTNAME in dimension_names else [_HOSTNAME])]
        self.metric_type = metric_type
        self._given = len(dimension_names)
        self._sink = sink

    def add_or_update(
        self, value: Number, dimension_values: Sequence[str] = (), request_id: str = ""
    ) -> None:
        """Count, set or observe a value. What cannot be counted is logged."""
        values = [str(each) for each in dimension_values]
        if len(values) == self._given < len(self.dimension_names):
            values.append(_HOST)
        if len(values) != len(self.dimension_names):
            logger.error(
                "Metric %s: expected values for the dimensions %s, got %s",
                self.metric_name, self.dimension_names, values,
            )  # fmt: skip
            return
        number = _number(value)
        if number is None or (self.metric_type is MetricTypes.COUNTER and number < 0):
            logger.error("Metric %s: a %s cannot take %r", self.metric_name, self.metric_type.value, value)
            return
        labels = tuple(zip(self.dimension_names, values))
        self._sink.add(self.metric_name, self.metric_type.value, self.unit, labels, number)

    update = add_or_update


class MetricsStore:
    """Takes metrics of a handler."""

    def __init__(self, model_name: str, sink: Any) -> None:
        """`sink`: see `kserve_v2_child.torchserve.metrics.MetricsSink`."""
        self.model_name = model_name
        self.request_ids: Any = None
        self._sink = sink
        self._cached: dict[tuple[str, MetricTypes], CachingMetric] = {}
        # Those that handlers do not keep themselves.
        self._known: dict[tuple[str, str, tuple[str, ...], MetricTypes], CachingMetric] = {}

    def add_counter(
        self,
        name: str,
        value: Number,
        idx: Optional[int] = None,
        dimensions: Optional[Iterable[Dimension]] = None,
    ) -> None:
        """Count."""
        self.add_metric(name, value, "count", idx, dimensions, MetricTypes.COUNTER)

    def add_time(
        self,
        name: str,
        value: Number,
        idx: Optional[int] = None,
        unit: str = "ms",
        dimensions: Optional[Iterable[Dimension]] = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """How long something has taken."""
        self.add_metric(name, value, _known(unit, _TIMES), idx, dimensions, metric_type)

    def add_size(
        self,
        name: str,
        value: Number,
        idx: Optional[int] = None,
        unit: str = "MB",
        dimensions: Optional[Iterable[Dimension]] = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """How large something is."""
        self.add_metric(name, value, _known(unit, _SIZES), idx, dimensions, metric_type)

    def add_percent(
        self,
        name: str,
        value: Number,
        idx: Optional[int] = None,
        dimensions: Optional[Iterable[Dimension]] = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """A share of 100."""
        self.add_metric(name, value, "percent", idx, dimensions, metric_type)

    def add_error(self, name: str, value: Any, dimensions: Optional[Iterable[Dimension]] = None) -> None:
        """An error: of one with a number, that is counted; any other one is logged."""
        number = _number(value)
        if number is None:
            logger.error("%s: %s", name, value)
            return
        given = [*(dimensions or ()), Dimension(_LEVEL, "Error")]
        self.add_metric(name, number, "", None, given, MetricTypes.COUNTER)

    def add_metric(
        self,
        name: str,
        value: Number,
        unit: str = "",
        idx: Optional[int] = None,
        dimensions: Optional[Iterable[Dimension]] = None,
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> None:
        """Any of them."""
        labels = {each.name: str(each.value) for each in dimensions or ()}
        labels.setdefault(_MODEL, self.model_name)
        labels.setdefault(_LEVEL, "Model")
        self._metric(name, unit, tuple(labels), metric_type).add_or_update(value, list(labels.values()))

    def add_metric_to_cache(
        self,
        metric_name: str,
        unit: str = "",
        dimension_names: Sequence[str] = (),
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> CachingMetric:
        """A metric to be kept."""
        made = CachingMetric(metric_name, unit, list(dimension_names), metric_type, self._sink)
        self._cached[metric_name, metric_type] = made
        return made

    def get_metric(self, metric_name: str, metric_type: MetricTypes = MetricTypes.COUNTER) -> CachingMetric:
        """One that is kept."""
        try:
            return self._cached[metric_name, metric_type]
        except KeyError:
            raise MetricsCacheKeyError(
                f"there is no {metric_type.value} '{metric_name}': add_metric_to_cache makes one"
            ) from None

    @property
    def cache(self) -> Mapping[tuple[str, MetricTypes], CachingMetric]:
        """Those that are kept."""
        return self._cached

    def _metric(self, name: str, unit: str, names: tuple[str, ...], kind: MetricTypes) -> CachingMetric:
        key = (name, unit, names, kind)
        found = self._known.get(key)
        if found is None:
            found = CachingMetric(name, unit, names, kind, self._sink)
            if len(self._known) < _MOST_KEPT:
                self._known[key] = found
        return found


def _known(unit: str, units: Mapping[str, str]) -> str:
    if unit not in units and unit not in units.values():
        raise MetricsCacheValueError(f"unit '{unit}': expected one of {', '.join(units)}")
    return unit


def _number(value: Any) -> Optional[float]:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
