"""`{"instances": [...]}` in, `{"predictions": [...]}` out: the form of TensorFlow Serving."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, Callable

from ts.torch_handler.request_envelope.base import BaseEnvelope, content


class JSONEnvelope(BaseEnvelope):
    """The instances of all requests come one behind the other."""

    def __init__(self, handle_fn: Callable[[Any, Any], Any]) -> None:
        super().__init__(handle_fn)
        self._lengths: list[int] = []

    def parse_input(self, data: Sequence[Any]) -> Any:
        """All instances; of what is base64, the bytes."""
        groups = [_instances(content(row)) for row in data]
        self._lengths = [len(group) for group in groups]
        return [_decoded(each) for group in groups for each in group]

    def format_output(self, data: Any) -> Any:
        """To each request the answers to its own."""
        answers, start = [], 0
        for length in self._lengths:
            answers.append(json.dumps({"predictions": data[start : start + length]}))
            start += length
        if start != len(data):
            raise ValueError(f"the handler gave {len(data)} answers to {start} instances")
        return answers


def _instances(body: Any) -> list[Any]:
    if isinstance(body, (bytes, bytearray, str)):
        body = json.loads(bytes(body).decode() if not isinstance(body, str) else body)
    found: list[Any] = body["instances"]
    return found


def _decoded(instance: Any) -> Any:
    if isinstance(instance, dict):
        if list(instance) == ["b64"]:
            return base64.b64decode(instance["b64"])
        return {name: _decoded(value) for name, value in instance.items()}
    return instance
