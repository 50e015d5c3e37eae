"""Elements of BYTES tensors, which are lists of texts, or one text alone."""

from collections.abc import Iterator
from typing import Any

ListElement = bytes | str


def is_list_of(payload: Any, instance_type: type[Any]) -> bool:
    """Whether it is a list of nothing but that."""
    return isinstance(payload, list) and all(isinstance(each, instance_type) for each in payload)


def as_list(payload: Any) -> Iterator[Any]:
    """The elements of a list, or the one that stands alone."""
    if isinstance(payload, list):
        yield from payload
    else:
        yield payload
