"""From requests to what a handler gets of them: a dict for each, and what is said of it in headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional
from uuid import uuid4

from ..json_text import loads
from .packing import CONTENT_TYPE, INPUT, Field, unpack

Json = dict[str, Any]


class Row(NamedTuple):
    """One element of `data`. `request`: the place of the request that it came with. `alone`: it is not handled together
    with others, as its answer is of another kind.
    """

    values: Json
    headers: Json
    id: str
    request: int
    alone: bool = False


def rows_of(requests: Sequence[Any], tensors: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Those of a batch, in their order."""
    found: list[Row] = []
    for place, (request, inputs) in enumerate(zip(requests, tensors)):
        packed = request.packed
        if packed is None:
            found += _plain_rows(request, inputs[INPUT].reshape(-1).tolist(), place)
        else:
            found.append(_packed_row(packed, inputs[INPUT].item(), place))
    return found


def _packed_row(packed: Json, element: bytes, place: int) -> Row:
    decode = packed.get("decode", True)
    headers: Json = dict(packed["headers"])
    values: Json = {}
    for field in unpack(element, packed["fields"]):
        headers[field.name] = {"content-type": field.content_type or ""}
        values[field.name] = _value(field, decode)
    return Row(values, headers, packed["id"], place, _is_apart(headers))


def _plain_rows(request: Any, elements: Sequence[bytes], place: int) -> Iterator[Row]:
    """Of a request of the v2 protocol: each element is the body of a request, and parameters are its headers."""
    content_type = request.parameters.get(CONTENT_TYPE)
    kind = content_type if isinstance(content_type, str) else None
    # Handlers tell requests apart by their ids: rows of one request are as many of them to a handler.
    several = len(elements) > 1
    for number, element in enumerate(elements):
        name = request.id or str(uuid4())
        headers: Json = {name: str(value) for name, value in request.parameters.items()}
        headers[INPUT] = {"content-type": kind or ""}
        values = {INPUT: _value(Field(INPUT, element, kind), True)}
        yield Row(values, headers, f"{name}-{number}" if several else name, place, _is_apart(headers))


def _is_apart(headers: Mapping[str, Any]) -> bool:
    return headers.get("explain") == "True" or headers.get("describe") == "True"


def _value(field: Field, decode: bool) -> Any:
    """JSON and texts as what they mean, if they can be read; anything else as bytes that may be written to."""
    kind: Optional[str] = field.content_type
    if decode and kind:
        kind = kind.partition(";")[0].strip().lower()
        try:
            if kind == "application/json":
                return loads(bytes(field.value))
            if kind.startswith("text"):
                return bytes(field.value).decode("utf-8")
        except (ValueError, RecursionError):
            pass
    return bytearray(field.value)
