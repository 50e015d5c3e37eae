"""Members of a JSON object, each with the type that it has to have. The texts of the errors are Triton's.

Many clients write null for what they leave out: an optional member that is null is not there.
"""

from collections.abc import Mapping
from typing import Any

from kserve_v2.errors import InvalidArgumentError


def string(document: Mapping[str, Any], member: str, default: str | None = None) -> str:
    """The member `member`, a string, or `default` where there is none or null."""
    value = document.get(member)
    if isinstance(value, str):
        return value
    if value is None and default is not None:
        return default
    if member in document:
        raise InvalidArgumentError(f"Unable to parse '{member}': attempt to access JSON non-string as string")
    raise InvalidArgumentError(
        f"Unable to parse '{member}': attempt to access non-existing object member '{member}'"
    )


def optional(document: Mapping[str, Any], member: str, default: Any) -> Any:
    """The member `member`, whatever it is, or `default` where there is none or null."""
    value = document.get(member)
    return default if value is None else value


def boolean(value: Any, member: str) -> bool:
    """`value`, which is true or false."""
    if isinstance(value, bool):
        return value
    raise InvalidArgumentError(f"Unable to parse '{member}': attempt to access JSON non-boolean as boolean")


def unsigned(value: Any, member: str, purpose: str = "parse") -> int:
    """`value`, which is an integer and not negative. `purpose`: what it was to be used for, in the error."""
    if type(value) is int and value >= 0:
        return value
    raise InvalidArgumentError(
        f"Unable to {purpose} '{member}': attempt to access JSON non-unsigned-integer as unsigned-integer"
    )
