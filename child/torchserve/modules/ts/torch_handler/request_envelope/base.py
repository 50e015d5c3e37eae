"""What envelopes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable


class BaseEnvelope:
    """Opens what has come, and closes what is answered."""

    context: Any = None

    def __init__(self, handle_fn: Callable[[Any, Any], Any]) -> None:
        self._handle_fn = handle_fn

    def handle(self, data: Any, context: Any) -> Any:
        """As a handler's."""
        self.context = context
        if not data:
            # That it is loaded.
            return self._handle_fn(data, context)
        return self.format_output(self._handle_fn(self.parse_input(data), context))

    def parse_input(self, data: Sequence[Any]) -> Any:
        """From rows to what the handler gets."""
        return data

    def format_output(self, data: Any) -> Any:
        """From what the handler gives to an answer for each row."""
        return data


def content(row: Any) -> Any:
    """The body of a row, whatever it is called."""
    found = row.get("data")
    return row.get("body") if found is None else found
