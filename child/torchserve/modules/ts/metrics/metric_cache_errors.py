"""What handlers may catch of their metrics."""


class GeneralMetricsCacheError(Exception):
    """Any other error."""


class MetricsCacheKeyError(KeyError):
    """There is no metric of that name and type."""


class MetricsCacheTypeError(TypeError):
    """An argument has a type that it cannot have."""


class MetricsCacheValueError(ValueError):
    """An argument has a value that it cannot have."""
