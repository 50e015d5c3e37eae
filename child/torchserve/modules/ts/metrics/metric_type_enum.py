"""The kinds of metrics."""

from enum import Enum


class MetricTypes(Enum):
    """The kinds of metrics."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
