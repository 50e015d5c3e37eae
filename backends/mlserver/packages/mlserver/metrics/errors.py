"""What can be wrong with metrics."""

from ..errors import MLServerError


class MetricNotFound(MLServerError):
    """There is no such metric."""

    def __init__(self, metric_name: str) -> None:
        super().__init__(f"Metric '{metric_name}' not found")


class InvalidModelContext(MLServerError):
    """Nothing says which model a value is for."""

    def __init__(self) -> None:
        super().__init__("No model context was found when logging a metric")
