"""Metrics of models: histograms, which the server shows among its own."""

from .context import Metric, log, register
from .errors import InvalidModelContext

__all__ = ["InvalidModelContext", "Metric", "log", "register"]
