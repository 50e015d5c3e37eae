"""Another name for what `context.metrics` is."""

from ts.metrics.metrics_store import MetricsStore

MetricCacheAbstract = MetricsStore
