"""How the deliberately wrong server spoils the values of its outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
from wrongserver.requests import Refused


def spoiled(defects: frozenset[str], datatype: str, values: Any) -> Any:
    """With a defect of values, the values that it leaves."""
    spoil = {
        f"values:{datatype}": _without_last,
        **({"values:NAN": np.nan_to_num, "values:NEGATIVE-ZERO": np.abs} if values.dtype.kind == "f" else {}),
        **({"values:NUL": _without_nul, "values:BINARY": _as_text} if datatype == "BYTES" else {}),
    }
    for name in defects & spoil.keys():
        values = spoil[name](values)
    if "values:EMPTY" in defects and not values.size:
        raise Refused("a tensor has no elements")
    return values


def _without_last(values: Any) -> Any:
    """The last element is lost: it becomes what an empty one is."""
    values = values.copy()
    if values.size:
        last = values.reshape(-1)
        last[-1] = b"" if values.dtype == object else last[-1] == 0
    return values


def _elementwise(values: Any, change: Callable[[bytes], bytes]) -> Any:
    result = values.copy()
    for index in np.ndindex(values.shape):
        result[index] = change(values[index])
    return result


def _without_nul(values: Any) -> Any:
    """As numpy's fixed-width strings: NULs at the end are lost."""
    return _elementwise(values, lambda each: each.rstrip(b"\0"))


def _as_text(values: Any) -> Any:
    return _elementwise(values, lambda each: each.decode(errors="replace").encode())
