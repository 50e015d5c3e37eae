"""Work in slices, done in one go."""

from typing import TypeVar

from kserve_v2.scheduling.slices import Slices

T = TypeVar("T")


def counted(slices: Slices[T]) -> tuple[int, T]:
    """How many slices there are before the last one, and what comes of all."""
    count = 0
    while True:
        try:
            next(slices)
        except StopIteration as end:
            found: T = end.value
            return count, found
        count += 1
