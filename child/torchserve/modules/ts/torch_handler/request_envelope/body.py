"""A row is its body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ts.torch_handler.request_envelope.base import BaseEnvelope, content


class BodyEnvelope(BaseEnvelope):
    """A row is its body."""

    def parse_input(self, data: Sequence[Any]) -> Any:
        """Bodies, without the dicts."""
        return [content(row) for row in data]
