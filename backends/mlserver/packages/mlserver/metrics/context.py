"""Metrics by name. Who shows them is set by whoever runs the model."""

from collections.abc import Callable, Mapping

from ..context import model_name_var, model_version_var
from .errors import InvalidModelContext

LABELS = ("model_name", "model_version")

Observe = Callable[[str, str, Mapping[str, str], float], None]


class Metric:
    """A metric: a histogram with the labels of the model that logs."""

    def __init__(self, name: str, description: str) -> None:
        self.name = name
        self.description = description

    def observe(self, value: float) -> None:
        """Count a value."""
        try:
            labels = dict(zip(LABELS, (model_name_var.get(), model_version_var.get()), strict=True))
        except LookupError:
            raise InvalidModelContext from None
        _show[0](self.name, self.description, labels, float(value))


def _nowhere(*_: object) -> None: ...


_show: list[Observe] = [_nowhere]
_metrics: dict[str, Metric] = {}


def show_with(observe: Observe) -> None:
    """Have values shown: by name, description, labels and value."""
    _show[0] = observe


def register(name: str, description: str) -> Metric:
    """A metric of that name: the one that is there, or a new one."""
    return _metrics.setdefault(name, Metric(name, description))


def log(**values: float) -> None:
    """Count a value for each of some metrics, which are made if they are not there."""
    for name, value in values.items():
        register(name, f"Values of {name}, logged by models.").observe(value)
