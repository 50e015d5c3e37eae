"""A metric with names for its labels."""

from ts.metrics.metrics_store import CachingMetric

__all__ = ["CachingMetric"]
