"""Another name for a metric."""

from ts.metrics.metrics_store import CachingMetric

MetricAbstract = CachingMetric
