"""Parameters of a call: of its query, or of a JSON body with the same names. Of a name that is there twice, the first
counts; a number that is none is as good as nothing. Both is TorchServe's.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from kserve_v2.torchserve_api.errors import bad_request

_PAGE = 100
# Of a form: what is beyond that keeps a server busy, and no handler asks for it.
_MOST_FIELDS = 1000
# TorchServe's numbers have 32 bits.
LEAST, _MOST = -(2**31), 2**31 - 1


def parse_query(query: bytes) -> dict[str, str]:
    """The parameters of a query, by name."""
    found: dict[str, str] = {}
    for name, value in form_fields(query, bare=True):
        found.setdefault(name, value.decode("utf-8", "replace"))
    return found


def all_values(query: bytes, name: str) -> list[str]:
    """All values of one parameter."""
    return [value.decode("utf-8", "replace") for key, value in form_fields(query) if key == name]


def form_fields(text: bytes, *, bare: bool = False) -> list[tuple[str, bytes]]:
    """The fields of application/x-www-form-urlencoded, in their order. `bare`: also a last name without a `=`, which
    TorchServe passes over. Raises TorchServeError for more fields than any form has.
    """
    if text.count(b"&") >= _MOST_FIELDS:
        raise bad_request(f"the form has more than {_MOST_FIELDS} fields")
    fields = []
    *others, last = text.split(b"&")
    for pair in (*others, last if bare or b"=" in last else b""):
        name, _, value = pair.partition(b"=")
        if name:
            fields.append((_decoded(name).decode("utf-8", "replace"), _decoded(value)))
    return fields


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def parse_body(body: bytes | bytearray) -> dict[str, str]:
    """The parameters of a JSON object. Raises TorchServeError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise bad_request("Failed to parse JSON string") from None
    if not isinstance(document, dict):
        raise bad_request("Failed to parse JSON string")
    return {name: _text(value) for name, value in document.items() if value is not None}


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def number(parameters: Mapping[str, str], name: str, low: int = 0) -> int | None:
    """A whole number of at least `low`; None where there is none."""
    try:
        value = int(parameters.get(name, ""))
    except ValueError:
        return None
    return value if low <= value <= _MOST else None


def amount(parameters: Mapping[str, str], name: str) -> int | None:
    """How many there are to be: with less than none there are none. None where it is no whole number."""
    value = number(parameters, name, LEAST)
    return None if value is None else max(value, 0)


def flag(parameters: Mapping[str, str], name: str) -> bool:
    """Whether it is `true`."""
    return parameters.get(name, "").lower() == "true"


def page_of(
    names: Sequence[str], limit: int | None, token: int | None
) -> tuple[Sequence[str], dict[str, Any]]:
    """Some of the names, and a document with the token of the next page, if there is one."""
    size = min(limit, _PAGE) if limit is not None and limit > 0 else _PAGE
    begin = token if token is not None and token > 0 else 0
    end = begin + size
    # Also where what is left is nothing.
    return names[begin:end], {"nextPageToken": str(end)} if end <= len(names) else {}
