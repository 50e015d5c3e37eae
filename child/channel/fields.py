"""The fields of a message as JSON, and back: NaN, integers of any size and any text survive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..json_text import dumps, loads
from .messages import MessageError, ProtocolError


def encode(fields: Mapping[str, Any]) -> bytes:
    """Raises MessageError for what JSON does not have."""
    try:
        return dumps(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"the fields of a message cannot be written as JSON: {error}") from error


def decode(encoded: memoryview) -> dict[str, Any]:
    """Raises ProtocolError for anything but an object."""
    try:
        fields = loads(bytes(encoded))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the fields of a message are not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ProtocolError("the fields of a message are not a JSON object")
    return fields
