"""Errors that a model's process tells of, as they would have been raised here."""

from collections.abc import Mapping
from typing import Any

from kserve_v2 import errors
from kserve_v2.errors import ServingError, without_directories


class ModelProcessError(Exception):
    """What the model has raised, by the name of its own class; or the cause of what it has raised, as a traceback."""


def remote_error(told: Mapping[str, Any]) -> Exception:
    """The error that was told. Its traceback in the model's process is a note, which only the log shows."""
    kind = getattr(errors, told["kind"], None) if told["kind"] else None
    error: Exception
    if isinstance(kind, type) and issubclass(kind, ServingError):
        error = kind(told["text"])
        if told["caused"]:
            error.__cause__ = _noted(ModelProcessError(without_directories(told["text"])), told)
        return error
    named = type(told["type"], (ModelProcessError,), {"__module__": "model"})
    return _noted(named(told["text"]), told)


def _noted(error: Exception, told: Mapping[str, Any]) -> Exception:
    if told["traceback"]:
        error.add_note(f"In the model's process:\n{told['traceback'].rstrip()}")
    return error
