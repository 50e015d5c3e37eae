"""Which model the code that runs belongs to."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .settings import ModelSettings

model_name_var: ContextVar[str] = ContextVar("model_name")
model_version_var: ContextVar[str] = ContextVar("model_version")


@contextmanager
def model_context(model_settings: ModelSettings) -> Iterator[None]:
    """In here, code runs for a model."""
    tokens = model_name_var.set(model_settings.name), model_version_var.set(model_settings.version or "")
    try:
        yield
    finally:
        model_name_var.reset(tokens[0])
        model_version_var.reset(tokens[1])
