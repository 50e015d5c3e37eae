"""KServe's version 1: the instances of one request are the handler's batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ts.torch_handler.request_envelope.base import BaseEnvelope, content


class KServeEnvelope(BaseEnvelope):
    """Of a batch there is one request only."""

    def parse_input(self, data: Sequence[Any]) -> Any:
        """Its instances."""
        body = content(data[0])
        if isinstance(body, (bytes, bytearray)):
            body = json.loads(bytes(body).decode())
        return body["instances"]

    def format_output(self, data: Any) -> Any:
        """In one object."""
        asked = self.context.get_request_header(0, "explain") == "True"
        return [{"explanations" if asked else "predictions": data}]
