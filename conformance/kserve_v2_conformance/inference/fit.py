"""Fits the values of a case to the shape that a model wants."""

from collections.abc import Sequence
from itertools import cycle, islice
from math import ceil, prod

Shape = tuple[int, ...]


def suits(model_shape: Shape, shape: Shape) -> bool:
    """Whether a request may have `shape` where the metadata say `model_shape`."""
    return len(model_shape) == len(shape) and all(
        want in (-1, have) for want, have in zip(model_shape, shape, strict=True)
    )


def fitted_shape(model_shape: Shape, count: int) -> Shape:
    """A shape that the model accepts for about `count` elements: the last variable dimension takes them.

    >>> fitted_shape((-1, 4), 6), fitted_shape((-1, -1), 6), fitted_shape((2, 3), 4)
    ((2, 4), (1, 6), (2, 3))
    """
    variable = [index for index, size in enumerate(model_shape) if size == -1]
    shape = [1 if size == -1 else size for size in model_shape]
    if variable:
        shape[variable[-1]] = max(1, ceil(count / prod(shape)))
    return tuple(shape)


def fill(values: Sequence[object], count: int) -> list[object]:
    """`count` values, repeated as often as needed."""
    return list(islice(cycle(values), count))
