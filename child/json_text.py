"""Texts in JSON, read and written as Python's `json` does it: by orjson where the interpreter has that, which takes a
tenth of the time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, Callable, Optional
from uuid import UUID

_quick: Optional[Callable[[bytes], Any]]  # noqa: UP045 - Python 3.9
_quick_text: Optional[Callable[[Any, None, int], bytes]]  # noqa: UP045
try:
    from orjson import OPT_PASSTHROUGH_DATACLASS, OPT_PASSTHROUGH_DATETIME, OPT_PASSTHROUGH_SUBCLASS
    from orjson import dumps as _quick_text
    from orjson import loads as _quick

    # What would be none of JSON's to Python, or may override any method.
    _OPTIONS = OPT_PASSTHROUGH_DATACLASS | OPT_PASSTHROUGH_DATETIME | OPT_PASSTHROUGH_SUBCLASS
except ImportError:
    _quick = _quick_text = None
    _OPTIONS = 0

# Integers beyond 64 bits, which have 19 digits at least, are floats to orjson. Fractions may have as many.
_KINDS = bytes(
    ord("0") if chr(byte) in "0123456789" else ord("." if byte == ord(".") else " ") for byte in range(256)
)
_LONG = b"0" * 19


def loads(text: bytes) -> Any:
    """What a text in UTF-8 means. Raises ValueError, as `json.loads` and `bytes.decode`, and RecursionError."""
    if _quick is not None and not _has_long_integer(text):
        try:
            return _quick(text)
        except ValueError:
            # NaN, numbers beyond those of 64 bits and lone surrogates are none of orjson's.
            pass
    return json.loads(text.decode("utf-8"))


def _has_long_integer(text: bytes) -> bool:
    """Whether there are so many digits that do not follow a point, or may be."""
    kinds = text.translate(_KINDS)
    return _LONG in kinds and (kinds.startswith(_LONG) or b" " + _LONG in kinds)


def dumps(value: Mapping[str, Any]) -> bytes:
    """The text, in UTF-8. Raises TypeError, ValueError and RecursionError, as `json.dumps`."""
    if _quick_text is not None:
        try:
            text = _quick_text(value, None, _OPTIONS)
        except TypeError:
            # Such as large integers, lone surrogates, and what is not JSON at all.
            pass
        else:
            # It writes NaN and the infinities as null.
            if b"null" not in text:
                return text
    # Characters beyond ASCII are escaped, lone surrogates as well.
    return _plain_text(value).encode("ascii")


def _as_orjson(value: Any) -> Any:
    """What orjson makes of what `json` does not know."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_plain_text = json.JSONEncoder(separators=(",", ":"), default=_as_orjson).encode
