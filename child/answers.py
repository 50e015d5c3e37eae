"""What the code of a model answers with that is not tensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional


class ModelError(Exception):
    """The outcome of a request in place of tensors, as its client is to get it. `code`: the name of one of the server's
    error codes.
    """

    def __init__(self, message: str, code: str = "INTERNAL") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True)
class StreamedResponse:
    """One response of a stream, with what plain tensors cannot say of it.

    `error`: it is an error, which need not be the last response. `final`: the last response is this one; otherwise that
    shows when the stream ends. `parameters`: those of this response.
    """

    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: Optional[BaseException] = None  # noqa: UP045 - Python 3.9
    final: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
