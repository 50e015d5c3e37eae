"""How the fields of one of TorchServe's requests travel in one element of a BYTES tensor: their values one behind the
other, and beside it, in the request's `packed`, what tells them apart. That is set by the server's own front ends and
never by what a client sends, so a client's bytes are never taken for such fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

Json = dict[str, Any]

INPUT = "body"
"""The one input of such a model: a row is the body of one request."""

OUTPUT = "prediction"
"""Its one output: the body of the answer."""

# Parameters of an answer.
CONTENT_TYPE, STATUS, REASON, HEADERS, REFUSED = "content_type", "status", "reason", "headers", "refused"

# What TorchServe says of answers that are none; the texts are part of its interface.
MISMATCHED = "number of batch response mismatched"
NO_LIST = "Invalid model predict output"
UNSUPPORTED_OUTPUT = "Unsupported model output data type."
OUT_OF_RESOURCES = "Out of resources"


class Field(NamedTuple):
    """One field of a request. `content_type`: None if it is to arrive as bytes, whatever they are."""

    name: str
    value: Union[bytes, bytearray, memoryview]
    content_type: Optional[str] = None


def pack(
    fields: Iterable[Field], headers: Mapping[str, str], request_id: str, *, decode: bool
) -> tuple[bytes, Json]:
    """The element, and what is to be `packed`. Of several fields of one name the last one counts."""
    last = {field.name: field for field in fields}
    told = [(name, field.content_type, len(field.value)) for name, field in last.items()]
    packed: Json = {"fields": told, "headers": dict(headers), "id": request_id}
    if not decode:
        packed["decode"] = False
    values = [field.value for field in last.values()]
    # Most requests have one.
    element = values[0] if len(values) == 1 and type(values[0]) is bytes else b"".join(values)
    return element, packed


def unpack(element: bytes, fields: Sequence[Sequence[Any]]) -> list[Field]:
    """The fields again. Raises ValueError where the element is not of the length that they have."""
    start, found = 0, []
    for name, content_type, length in fields:
        found.append(Field(name, element[start : start + length], content_type))
        start += length
    if start != len(element):
        raise ValueError(f"the fields of the request have {start} bytes, and {len(element)} have come")
    return found
