"""How the answers of two versions to the same request differ: a pure function."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kserve_v2.config.release import Shadow, Tolerance
from kserve_v2.tensors.datatypes import Array


@dataclass(frozen=True, slots=True)
class Difference:
    """One output that differs. `largest`: the largest difference of two of its elements; infinite where one is no
    number and the other is; None where there is nothing to subtract. `why`: in words.
    """

    output: str
    largest: float | None
    why: str


def differences(
    given: Mapping[str, Array], shadowed: Mapping[str, Array], rules: Shadow
) -> tuple[list[Difference], dict[str, float]]:
    """The outputs that differ, in the order of the answer that was `given`, and behind them those that only the shadow
    has; and the largest difference in each output of numbers, those within the tolerance included.
    """
    found: list[Difference] = []
    largest: dict[str, float] = {}
    for name, array in given.items():
        other = shadowed.get(name)
        if other is None:
            found.append(Difference(name, None, "the shadow does not have it"))
        elif (array.dtype, array.shape) != (other.dtype, other.shape):
            found.append(Difference(name, None, f"{_form(array)} here, {_form(other)} there"))
        elif array.dtype.kind == "O":
            count = sum(left != right for left, right in zip(array.flat, other.flat, strict=True))
            if count:
                found.append(Difference(name, None, f"{count} of {array.size} elements differ"))
        elif array.size:
            count, apart = _numbers(array, other, rules.outputs.get(name, rules.tolerance))
            largest[name] = apart
            if count:
                why = f"{count} of {array.size} elements differ, by up to {apart:g}"
                found.append(Difference(name, apart, why))
    found += [Difference(name, None, "only the shadow has it") for name in shadowed if name not in given]
    return found, largest


def _numbers(left: Array, right: Array, tolerance: Tolerance) -> tuple[int, float]:
    """How many elements differ by more than the tolerance, and the largest difference."""
    if left.tobytes() == right.tobytes():
        return 0, 0.0
    if left.dtype.kind in "biu":
        apart = _apart(left, right)
        return int(np.count_nonzero(apart > tolerance.absolute)), float(apart.max())
    return _floats(left.astype(np.float64), right.astype(np.float64), tolerance)


def _apart(left: Array, right: Array) -> Array:
    """The differences of integers. Without signs they are exact, however large."""
    a, b = left.astype(np.uint64), right.astype(np.uint64)
    return np.where(left >= right, a - b, b - a)


def _floats(left: Array, right: Array, tolerance: Tolerance) -> tuple[int, float]:
    """NaN equals NaN, and an infinity itself alone."""
    equal = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.where(equal, 0.0, np.abs(left - right))
        apart = np.where(np.isnan(apart), np.inf, apart)
        limit = tolerance.absolute + tolerance.relative * np.maximum(np.abs(left), np.abs(right))
        close = equal | (np.isfinite(apart) & (apart <= limit))
    return int(np.count_nonzero(~close)), float(apart.max())


def _form(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"
