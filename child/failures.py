"""Errors on their way to the server."""

from __future__ import annotations

import traceback
from typing import Any

Json = dict[str, Any]

# Of a text, or a traceback, the first and the last so many characters go over.
_MAX_PART = 32 * 1024


def told(error: BaseException, kind: str = "", message: str = "") -> Json:
    """What the server is told of an error. `kind`: the name of the class of `kserve_v2.errors` that it is for clients,
    with that message; "" if it is for none, and is told by its type and text, or as it says itself.
    """
    return {
        "kind": kind or getattr(error, "told_as", ""),
        "type": _name(type(error)),
        "text": message or text_of(error),
        "traceback": traceback_of(error),
        "caused": error.__cause__ is not None,
    }


def text_of(error: BaseException) -> str:
    """The text of any exception: to make it runs code of the model's, which may raise."""
    try:
        return _sendable(error.msg if isinstance(error, SyntaxError) else str(error))
    except BaseException:  # noqa: BLE001 - see above
        return "(it has no text)"


def traceback_of(error: BaseException) -> str:
    """The traceback of any exception, its causes among it."""
    try:
        return _sendable("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    except BaseException:  # noqa: BLE001 - as in `text_of`
        return ""


def _sendable(text: str) -> str:
    # An exact str: a subclass of it may be anything.
    text = str.__str__(text)
    left_out = len(text) - 2 * _MAX_PART
    return text if left_out <= 0 else f"{text[:_MAX_PART]}... ({left_out} characters) ...{text[-_MAX_PART:]}"


def _name(kind: type) -> str:
    return str.__str__(type.__dict__["__name__"].__get__(kind))
