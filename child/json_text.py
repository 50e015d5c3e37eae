"""Texts in JSON, read as Python's `json` reads them: by orjson where the interpreter has that, which takes a tenth of
the time for many numbers.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Optional

_quick: Optional[Callable[[bytes], Any]]  # noqa: UP045 - Python 3.9
try:
    from orjson import loads as _quick
except ImportError:
    _quick = None

# Integers beyond 64 bits, which have 19 digits at least, are floats to orjson. Fractions may have as many.
_KINDS = bytes(
    ord("0") if chr(byte) in "0123456789" else ord("." if byte == ord(".") else " ") for byte in range(256)
)
_LONG = b"0" * 19


def read(text: bytes) -> Any:
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
