"""What a handler has given for one request, as the body of an answer."""

from __future__ import annotations

import io
import json
import sys
from typing import Any, NamedTuple

from ..answers import ModelError
from .packing import MISMATCHED, NO_LIST, UNSUPPORTED_OUTPUT

JSON = "application/json"

# With `indent`, Python's encoder writes each element by itself, and is many times slower.
_PLAIN = frozenset({str, int, float, bool, type(None)})
# What is JSON whatever else there is.
_OFTEN = frozenset({int, float, bool, list, dict})
_flat = json.JSONEncoder(separators=(",\n  ", ": ")).encode


class Body(NamedTuple):
    """`content_type`: what it is to be called if the handler does not say; "" for nothing."""

    data: bytes
    content_type: str = ""


def checked(results: Any, rows: int) -> list[Any]:
    """What `handle` has returned for a batch. Raises ModelError if that is no answer to it."""
    if not isinstance(results, list):
        raise ModelError(
            f"{NO_LIST}: handle returned {_kind(results)}, expected a list with one element per request"
        )
    if len(results) != rows:
        raise ModelError(
            f"{MISMATCHED}: handle returned {len(results)} elements for a batch of {rows} requests"
        )
    return results


def body_of(result: Any) -> Body:
    """Raises ModelError for what cannot be sent."""
    if type(result) in _OFTEN:
        return _in_json(result)
    if isinstance(result, str):
        try:
            return Body(str.encode(result))
        except UnicodeEncodeError as error:
            raise ModelError(f"{UNSUPPORTED_OUTPUT} A text has no form in UTF-8") from error
    if isinstance(result, (bytes, bytearray, memoryview)):
        return Body(bytes(result))
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(result, torch.Tensor):
        written = io.BytesIO()
        torch.save(result, written)
        return Body(written.getvalue())
    return _in_json(result)


def _in_json(result: Any) -> Body:
    try:
        return Body(_json(result).encode(), JSON)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{UNSUPPORTED_OUTPUT} {_kind(result)}: {error}") from error


def _json(result: Any) -> str:
    """As `json.dumps` has it with an indent of 2."""
    kind = type(result)
    if kind is int:
        return int.__repr__(result)
    if kind in _PLAIN:
        return _flat(result)
    if (kind is list or kind is dict) and result:
        elements = result.values() if kind is dict else result
        if all(type(each) in _PLAIN for each in elements):
            text = _flat(result)
            return f"{text[0]}\n  {text[1:-1]}\n{text[-1]}"
    return json.dumps(result, indent=2)


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
